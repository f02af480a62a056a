from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.partition import MAX_TOKEN, PARTITIONS, event_subject, partition_of, tenant_token, token

names = st.text(min_size=1, max_size=300)


@given(names)
def test_a_token_is_one_word_of_a_subject(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_%~-]+", token(name))
    assert len(token(name)) <= MAX_TOKEN


@given(names, names)
def test_different_names_have_different_tokens(one: str, other: str) -> None:
    assert (token(one) == token(other)) is (one == other)


def test_a_name_cannot_pose_as_the_hash_of_another() -> None:
    hashed = token("x" * 500)
    assert hashed.startswith("~")
    assert token(hashed) != hashed


@given(names, names, names)
def test_the_tenant_can_be_read_back(tenant: str, user: str, event_type: str) -> None:
    subject = event_subject("my.events", tenant, user, event_type)
    assert all(subject.split("."))
    assert tenant_token("my.events", subject) == token(tenant)


@pytest.mark.parametrize("subject", ["events", "events.a", "events.a.b", "eventsx.a.b.c", "other.a.b.c", ""])
def test_other_subjects_name_no_tenant(subject: str) -> None:
    assert tenant_token("events", subject) is None


def test_dots_of_an_event_type_stay() -> None:
    assert event_subject("events", "pallets/flask", "u.1", "lesson.completed") == (
        "events.pallets%2Fflask.u%2E1.lesson.completed"
    )
    assert event_subject("events", "t", "u", "a..b") == "events.t.u.a%2E%2Eb"


def test_partitions_are_stable() -> None:
    # Written down: a changed hash would let two releases work on one subject at a time.
    assert [partition_of("t", "user", f"u{i}") for i in range(6)] == [22, 41, 48, 3, 34, 53]
    assert [partition_of("t", "team", f"u{i}") for i in range(6)] == [26, 12, 54, 32, 3, 21]


def test_partitions_are_even() -> None:
    found = Counter(partition_of("t", "user", f"user-{i}") for i in range(6400))
    assert len(found) == PARTITIONS
    assert max(found.values()) < 200

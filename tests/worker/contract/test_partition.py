from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.partition import (
    ELSEWHERE,
    MAX_TOKEN,
    PARTITIONS,
    UNBOUND,
    Bound,
    are_tokens,
    bound_by,
    event_subject,
    partition_of,
    raw_subject,
    shared_subject,
    token,
)

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


@given(st.lists(names | st.from_regex(r"[A-Za-z0-9_-]{1,130}", fullmatch=True), max_size=4))
def test_names_that_are_tokens_as_they_are(some: list[str]) -> None:
    assert not are_tokens(some) or [*map(token, some)] == some
    assert are_tokens(["u-1", "U_2"])


@given(names, names, names)
def test_the_user_of_a_subject_can_be_read_back(tenant: str, user: str, event_type: str) -> None:
    subject = event_subject("my.events", tenant, user, event_type)
    assert all(subject.split("."))
    assert bound_by("my.events", subject) == Bound(token(tenant), token(user))
    assert bound_by("my.events", shared_subject("my.events", tenant)) == Bound(token(tenant), None)
    assert bound_by("my.events", raw_subject("my.events")) == UNBOUND


@pytest.mark.parametrize("subject", ["events", "eventsx.a.b.c", "other.a.b.c", ""])
def test_subjects_outside_of_the_prefix_are_nobodys(subject: str) -> None:
    assert bound_by("events", subject) == ELSEWHERE


@given(names, names)
def test_no_name_is_encoded_to_a_reserved_token(name: str, other: str) -> None:
    """A permission for all subjects of a user reaches no subject that binds none."""
    assert bound_by("events", f"events.t.{token(name)}.x").user == token(name)
    assert not ELSEWHERE.fits_tenant(other)


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

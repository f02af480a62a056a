"""What a consumer allows, what makes it useless, and what makes it slow."""

from __future__ import annotations

import msgspec
import pytest

from worker.broker.consumer import Allowed, Existing, Wanted, allowed, doubts, enough_pending, unfit
from worker.settings import Settings

SECOND = 1_000_000_000
SETTINGS = Settings()
WANTED = Wanted(max_bytes=16 * 1024 * 1024, expires=30)
OURS = Existing(ack_policy="explicit", ack_wait=30 * SECOND, max_ack_pending=enough_pending(SETTINGS), max_waiting=512)


def changed(**changes: object) -> Existing:
    return msgspec.structs.replace(OURS, **changes)


def test_ours_is_all_that_is_wished_for() -> None:
    assert unfit(OURS) is None
    assert doubts(OURS, SETTINGS) == []
    assert allowed(OURS, SETTINGS, WANTED) == Allowed(
        batch=8000, requests=2, max_bytes=WANTED.max_bytes, expires=30, ack_wait=30
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ack_policy": "none"}, "ack policy is none"),
        ({"ack_policy": "all"}, "ack policy is all"),
        ({"deliver_subject": "x"}, "push consumer"),
        ({"headers_only": True}, "headers only"),
        ({"priority_policy": "pinned_client"}, "priority policy is pinned_client"),
    ],
)
def test_no_use(changes: dict[str, object], said: str) -> None:
    found = unfit(changed(**changes))
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"max_batch": 10}, {"batch": 10, "requests": 16}),
        ({"max_batch": 10_000}, {"batch": 8000, "requests": 2}),
        ({"max_batch": -1}, {"batch": 8000, "requests": 2}),
        ({"max_batch": 10, "max_waiting": 3}, {"batch": 10, "requests": 3}),
        ({"max_waiting": 1}, {"requests": 1}),
        ({"max_bytes": 1000}, {"max_bytes": 1000}),
        ({"max_expires": 2 * SECOND}, {"expires": 2.0}),
        ({"max_expires": 60 * SECOND}, {"expires": 30.0}),
        ({"ack_wait": 5 * SECOND}, {"ack_wait": 5.0}),
        ({"ack_wait": 0}, {"ack_wait": 30.0}),
        ({"backoff": (20 * SECOND, 2 * SECOND)}, {"ack_wait": 2.0}),
    ],
)
def test_what_is_allowed(changes: dict[str, object], wanted: dict[str, object]) -> None:
    found = allowed(changed(**changes), SETTINGS, WANTED)._asdict()
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("changes", "value", "better"),
    [
        ({"max_ack_pending": 10}, "max_ack_pending is 10", "256000"),
        ({"max_batch": 10}, "max_batch is 10", "8000"),
        ({"max_waiting": 1}, "max_waiting is 1", "512"),
        ({"max_deliver": 5}, "max_deliver is 5", "-1"),
        ({"deliver_policy": "last"}, "deliver_policy is last", "all"),
        ({"replay_policy": "original"}, "replay_policy is original", "instant"),
        ({"ack_wait": 60 * SECOND}, "ack_wait is 60 s", "ACH_ACK_WAIT"),
        ({"ack_wait": 2 * SECOND}, "ack_wait is 2 s: what takes longer", "30 s"),
    ],
)
def test_doubts_name_the_value_and_a_better_one(changes: dict[str, object], value: str, better: str) -> None:
    assert [one for one in doubts(changed(**changes), SETTINGS) if value in one.said and better in one.said] != []


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_is_no_doubt(limit: int) -> None:
    unlimited = changed(max_ack_pending=limit, max_batch=limit, max_waiting=limit, max_bytes=limit, max_deliver=limit)
    assert doubts(unlimited, SETTINGS) == []

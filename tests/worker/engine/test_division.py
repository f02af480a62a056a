from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dsl.fold import walk
from dsl.outcome import Subject
from worker.contract.message import Message
from worker.contract.partition import partition_of
from worker.engine import folding
from worker.engine.decoding import decode
from worker.engine.division import Division, Trust, divide
from worker.engine.long_way import LongWay
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.engine.state_cache import Hold, StateCache, SubjectState
from worker.engine.subject_events import events_of_users

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.progress import Grant, State

RULES = 'event a {}\nachievement two { title "Two" when count(event=a, >= 2) }\n'
DEPLOYED = Deployed(1, read_rules([RuleFile("r.ach", RULES)]), since={}, prefix="events", skew=10**15)
USERS = ("ada", "bob", "cal")


@pytest.fixture
def cache() -> StateCache:
    """A memory of users that have done nothing yet."""
    made, hold = StateCache("me", 100), Hold()
    for name in USERS:
        subject = Subject("t", "user", name)
        made.locked(hold, partition_of(*subject), 7, "me")
        made.add_locked(hold, subject, SubjectState(partition_of(*subject)))
    made.committed(hold)
    return made


def divided(cache: StateCache, *events: tuple[str, int]) -> Division:
    """Divide a batch of events: user and minute of each."""
    bodies: list[dict[str, object]] = [
        {
            "event_id": f"{user}{minute}",
            "event_type": "a",
            "user_id": user,
            "tenant_id": "t",
            "occurred_at": f"2026-01-01T00:{minute:02d}:00Z",
            "payload": {},
        }
        for user, minute in events
    ]
    messages = [Message("events.raw", json.dumps(body).encode(), b"", seq, "") for seq, body in enumerate(bodies, 1)]
    batch = decode(messages, DEPLOYED, now=2 * 10**15)
    return divide(batch, events_of_users(batch.groups), cache, trusting=True)


def test_what_takes_the_fast_path_holds_its_partitions(cache: StateCache) -> None:
    fast, rest, reasons = divided(cache, ("ada", 1), ("ada", 2), ("bob", 1), ("dan", 1))
    assert fast is not None
    assert {user.subject for user in fast.states} == {"ada", "bob"}
    assert set(fast.hold.generations) == {partition_of("t", "user", name) for name in ("ada", "bob")}
    assert [item.event.user for item in rest.items] == ["dan"]
    assert [*reasons] in ([LongWay.PARTITION_NOT_OURS], [LongWay.UNKNOWN_USER])
    assert [grant.achievement for _, grant in fast.look.earned] == ["two"]


def test_less_than_half_of_a_batch_is_not_worth_it(cache: StateCache) -> None:
    fast, rest, reasons = divided(cache, ("ada", 1), *(("dan", minute) for minute in range(2, 5)))
    assert (fast, len(rest.items), reasons[-1]) == (None, 4, LongWay.NOT_WORTH_IT)
    state = cache.expected_state(Subject("t", "user", "ada"))
    assert state is not None
    assert (state.state, state.latest) == (None, None)


def test_a_user_whose_events_cannot_be_folded_is_left_out(cache: StateCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a void state, so that the long way folds the user from the ledger and finds out which event it is."""

    def failing(plan: Plan, state: State, events: Iterable[Event]) -> list[Grant]:
        events = list(events)
        if any(event.user == "bob" for event in events):
            raise ZeroDivisionError
        return walk(plan, state, events)

    monkeypatch.setattr(folding, "walk", failing)
    fast, rest, reasons = divided(cache, ("ada", 1), ("bob", 1), ("cal", 1))
    assert fast is not None
    assert {user.subject for user in fast.states} == {"ada", "cal"}
    assert [item.event.user for item in rest.items] == ["bob"]
    assert [*reasons] == [LongWay.UNFOLDABLE]
    state = cache.expected_state(Subject("t", "user", "bob"))
    assert state is not None
    assert (state.state, state.latest) == (None, None)


def test_trust_that_was_broken_comes_back_by_and_by() -> None:
    trust = Trust()
    assert trust.given()

    def withheld() -> int:
        trust.broken()
        return next(n for n in range(1000) if trust.given())

    assert [withheld() for _ in range(10)] == [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]
    for _ in range(20):
        trust.kept()
    assert withheld() == 2

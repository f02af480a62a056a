from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dsl.compile import USER
from dsl.fold import start, walk
from dsl.outcome import Subject
from worker.contract.message import Message
from worker.contract.partition import partition_of
from worker.engine import fast_users, folding
from worker.engine.decoding import decode
from worker.engine.fast_users import Division, Trust, divide
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


def divided(cache: StateCache, *events: tuple[str, int], trusting: bool = True) -> Division:
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
    return divide(batch, events_of_users(batch.groups), cache, trusting=trusting)


def test_what_takes_the_fast_path_holds_its_partitions(cache: StateCache) -> None:
    fast, rest, reasons = divided(cache, ("ada", 1), ("ada", 2), ("bob", 1), ("dan", 1))
    assert fast is not None
    assert {user.subject for user in fast.states} == {"ada", "bob"}
    assert set(fast.hold.generations) == {partition_of("t", "user", name) for name in ("ada", "bob")}
    assert [item.event.user for item in rest.items] == ["dan"]
    assert [*reasons] in ([LongWay.PARTITION_NOT_OURS], [LongWay.UNKNOWN_USER])
    assert [grant.achievement for _, grant in fast.look.earned] == ["two"]


@pytest.mark.parametrize(("first", "trusting"), [(3, False), (3, True), (7, False)])
def test_only_trust_lets_late_events_take_the_fast_path(cache: StateCache, first: int, *, trusting: bool) -> None:
    """What is behind in its batch alone, and later than all that is known, needs no trust."""
    state = cache.expected_state(Subject("t", "user", "ada"))
    assert state is not None
    state.latest = (int(datetime(2026, 1, 1, 0, 5, tzinfo=UTC).timestamp()) * 1_000_000, "ada5")
    fast, _, reasons = divided(cache, ("ada", 9), ("ada", first), trusting=trusting)
    if first < 5 and not trusting:
        assert (fast, [*reasons]) == (None, [LongWay.LATE_WITHOUT_TRUST])
    else:
        assert fast is not None
        assert not reasons


@pytest.mark.parametrize("stamp", ["", "by other rules"])
def test_a_state_of_other_rules_takes_the_long_way(cache: StateCache, stamp: str) -> None:
    """And so does a user with a past and without a state."""
    state = cache.expected_state(Subject("t", "user", "ada"))
    assert state is not None
    state.known, state.stamp = True, stamp
    state.state = start(DEPLOYED.program.scopes[USER]) if stamp else None
    fast, rest, reasons = divided(cache, ("ada", 1), ("bob", 1))
    assert fast is not None
    assert ([item.event.user for item in rest.items], [*reasons]) == (["ada"], [LongWay.OTHER_RULES])


def test_late_events_that_move_no_grant_are_noted_by_the_earliest(cache: StateCache) -> None:
    """Checkpoints from there on have not seen them."""
    fast, _, _ = divided(cache, ("ada", 1), ("ada", 2), ("ada", 10))
    assert fast is not None
    cache.committed(fast.hold)
    fast, _, _ = divided(cache, ("ada", 7), ("ada", 5), ("ada", 11))
    assert fast is not None
    assert [(user.subject, place.id) for user, place in fast.look.absorbed.items()] == [("ada", "ada5")]
    assert (fast.look.folded, fast.look.late) == ({Subject("t", "user", "ada"): 1}, 2)


def test_a_bounded_number_of_users_is_folded_again(cache: StateCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_users, "MOST_REFOLDS", 2)
    fast, _, _ = divided(cache, *((user, minute) for user in USERS for minute in (5, 6)))
    assert fast is not None
    cache.committed(fast.hold)
    # Each of them moves a grant.
    fast, rest, reasons = divided(cache, *((user, 3) for user in USERS))
    assert fast is not None
    assert {user.subject for user in fast.look.refolds} == {"ada", "bob"}
    assert ([item.event.user for item in rest.items], [*reasons]) == (["cal"], [LongWay.TOO_MANY_REFOLDS])


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


ROLES = """
event a { to: user? }
achievement two { title "Two" when count(event=[a, a as to], >= 2) }
"""
WITH_ROLES = Deployed(1, read_rules([RuleFile("r.ach", ROLES)]), since={}, prefix="events", skew=10**15)


def test_an_event_goes_with_all_users_that_it_names_or_not_at_all(cache: StateCache) -> None:
    """Nothing is known of dan: what names dan takes the long way, with what else its user did."""
    pairs = (("ada", "dan"), ("ada", "bob"), ("bob", "cal"), ("cal", "bob"), ("bob", "bob"))
    bodies = [
        {
            "event_id": f"e{number}",
            "event_type": "a",
            "user_id": user,
            "tenant_id": "t",
            "occurred_at": f"2026-01-01T00:0{number}:00Z",
            "payload": {"to": to},
        }
        for number, (user, to) in enumerate(pairs)
    ]
    messages = [Message("events.raw", json.dumps(body).encode(), b"", seq, "") for seq, body in enumerate(bodies, 1)]
    batch = decode(messages, WITH_ROLES, now=2 * 10**15)
    fast, rest, _ = divide(batch, events_of_users(batch.groups), cache, trusting=True)
    assert fast is not None
    assert {user.subject for user in fast.states} == {"bob", "cal"}
    assert {item.event.id for item in fast.batch.items} == {"e2", "e3", "e4"}
    assert [item.event.id for item in rest.items] == ["e0", "e1"]


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

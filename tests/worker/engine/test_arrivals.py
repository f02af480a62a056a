"""Which events of a batch are new, and what becomes of copies, other bodies under one id, and erased users."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dsl.outcome import Subject
from worker.contract.message import Message
from worker.contract.partition import partition_of
from worker.contract.reasons import Reason
from worker.contract.sameness import stored_body
from worker.engine.arrivals import Arrivals, arrivals_of, screen
from worker.engine.decoding import decode
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.engine.state_cache import SubjectState

if TYPE_CHECKING:
    from worker.engine.batch import Batch, Item

RULES = Deployed(1, read_rules([RuleFile("r.ach", "event a { n: int }\n")]), since={}, prefix="events", skew=10**15)


def batch_of(*events: tuple[str, str, int]) -> Batch:
    """Return a batch of events: id, user and payload of each."""
    bodies: list[dict[str, object]] = [
        {
            "event_id": name,
            "event_type": "a",
            "user_id": user,
            "tenant_id": "t",
            "occurred_at": "2026-01-01T00:00:00Z",
            "payload": {"n": number},
        }
        for name, user, number in events
    ]
    messages = [Message("events.raw", json.dumps(body).encode(), b"", seq, "") for seq, body in enumerate(bodies, 1)]
    return decode(messages, RULES, now=2 * 10**15)


def arrived(batch: Batch, *, before: Item | None = None, erased: str = "") -> tuple[list[int], Arrivals]:
    """Return the sequences of the new messages, and what the others are; the ledger had one event before."""
    users = {item.audience.user for item in batch.items}
    states = {user: SubjectState(partition_of(*user), erased=user.subject == erased) for user in users}
    known = {} if before is None else {before.key: stored_body(before.event, before.written)}
    new, arrivals = arrivals_of(batch, screen(batch.items, states), known)
    return [item.message.seq for item in new], arrivals


def test_the_first_copy_in_a_batch_is_the_event() -> None:
    new, arrivals = arrived(batch_of(("e1", "u1", 1), ("e1", "u1", 2), ("e1", "u1", 1), ("e2", "u1", 1)))
    assert (new, arrivals.new, arrivals.duplicates) == ([1, 4], 2, 1)
    assert [(letter.message.seq, letter.reason) for letter in arrivals.letters] == [(2, Reason.ID_CONFLICT)]


def test_what_the_ledger_had_decides_what_a_copy_is() -> None:
    (before,) = batch_of(("e1", "u1", 2)).items
    new, arrivals = arrived(batch_of(("e1", "u1", 1), ("e1", "u1", 2)), before=before)
    assert (new, arrivals.new, arrivals.duplicates) == ([], 0, 1)
    assert [letter.message.seq for letter in arrivals.letters] == [1]


def test_events_of_erased_users_are_counted_and_left_out() -> None:
    new, arrivals = arrived(batch_of(("e1", "u1", 1), ("e2", "u2", 1), ("e2", "u2", 2)), erased="u2")
    assert (new, arrivals.new, arrivals.duplicates, arrivals.erased) == ([1], 1, 0, 2)
    assert not arrivals.letters
    assert Subject("t", "user", "u2") in {group.audience.user for group in arrivals.groups}

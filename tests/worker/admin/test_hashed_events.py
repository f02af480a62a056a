"""A page of a sweep, divided into users."""

from __future__ import annotations

from dsl.event import Event
from dsl.outcome import Subject
from worker.admin.hashed_events import runs_of

ROWS = [
    (3, 10, "t", "u", "e1", "a", 0, None),
    (3, 11, "t", "u", "e2", "b", 60, "two"),
    (5, 12, "t", "v", "e3", "a", 0, None),
    (5, 12, "s", "v", "e4", "a", 0, None),
    (5, 13, "t", "v", "e5", "a", 0, None),
    (7, 14, "t", "~erased~0", "e6", "a", 0, None),
    (9, 15, "t", "w", "e7", "a", 0, None),
]
"""Hash, instant, tenant, user, id, type, offset, payload."""


def test_users_with_one_hash_have_their_own_events_and_pseudonyms_none() -> None:
    page = [*zip(*ROWS, strict=True)]
    runs = [*runs_of(page, lambda event_type, payloads: [{event_type: payload} for payload in payloads])]
    assert [(number, subject) for number, subject, _ in runs[:1] + runs[3:]] == [
        (3, Subject("t", "user", "u")),
        (9, Subject("t", "user", "w")),
    ]
    assert runs[0][2] == [Event("t", "e1", "a", "u", 10, 0, {}), Event("t", "e2", "b", "u", 11, 60, {"b": "two"})]
    same = {subject: [event.id for event in events] for number, subject, events in runs if number == 5}
    assert same == {Subject("t", "user", "v"): ["e3", "e5"], Subject("s", "user", "v"): ["e4"]}

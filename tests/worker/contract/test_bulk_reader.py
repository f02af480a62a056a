"""Messages that are read many at a time, which must not show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.worker.contract.test_strict_reader import CONTRACT, DEEP, NOW, event
from worker.contract.bulk_reader import Plain
from worker.contract.fields import MAX_DEPTH, MAX_ID_BYTES, MAX_MESSAGE_BYTES
from worker.contract.partition import event_subject, token
from worker.contract.strict_reader import Accepted
from worker.contract.transport import region_of

ANYBODYS = "events.raw"
MINE = event_subject("events", "t1", "u1", "lesson.completed")
THEIRS = event_subject("events", "t2", "u1", "lesson.completed")


def quickly(*bodies: bytes, subjects: list[str] | None = None) -> Plain | None:
    ends = [*map(end, range(1, 1 + len(bodies)))]
    return CONTRACT.plain.read(subjects or [ANYBODYS] * len(bodies), bodies, now=NOW, ends=ends)


def end(seq: int) -> str:
    return f"{seq}\x1f1795456090983915045\x1feu"


def one_by_one(*bodies: bytes) -> Plain | None:
    """Return what a closer look finds, None where it refuses something, or finds arrays beside what is none."""
    each = [CONTRACT.look_closely(ANYBODYS, body, now=NOW, end=end(seq)) for seq, body in enumerate(bodies, start=1)]
    accepted = [one for found in each for one in found if isinstance(one, Accepted)]
    arrays = {body.lstrip()[:1] == b"[" for body in bodies}
    if len(accepted) < sum(map(len, each)) or len(arrays) != 1:
        return None
    sizes = [*map(len, each)] if arrays == {True} else None
    named = any(b'"region"' in body for body in bodies)
    regions = {region_of(one.row) for one in accepted} if named else set[str]()
    return Plain([one.event for one in accepted], [one.row for one in accepted], sizes, regions)


def arrays(bodies: list[bytes]) -> list[bytes]:
    """Return events as arrays of one, two, and the rest, with an empty one between."""
    return [b"[" + b",".join(part) + b"]" for part in (bodies[:1], bodies[1:3], [], bodies[3:])]


def lot(*others: dict[str, Any]) -> list[bytes]:
    return [json.dumps(one).encode() for one in (*(event(event_id=f"e{n}") for n in range(3)), *others)]


PLAIN: list[dict[str, Any]] = [
    {"occurred_at": "2026-04-13T09:00:00.000001Z"},
    {"occurred_at": "2026-04-13T09:00:00+02:00"},
    {"event_type": "free", "payload": ...},
    {"event_type": "free", "payload": None},
    {"event_type": "free", "payload": {"tags": [[{}] * 20, [1]]}},
    {"source": ...},
    {"source": ""},
    {"region": "us-east-1"},
    {"region": None},
    {"region": ""},
    {"region": "n o"},
    {"region": 7},
    {"region": {"a": [1]}},
    {"region": "r" * 65},
    {"event_id": "e" * 36, "user_id": "u" * 36, "source": "é" * 36},
    {"user_id": "u" * MAX_ID_BYTES},
    {"user_id": 'a\t"b\\'},
    {"payload": {"lesson_id": "\\u00e9 é"}},
    {"payload": {"lesson_id": "l", "minutes": 5.0}},
]
ODD: list[dict[str, Any]] = [
    {"user_id": ""},
    {"user_id": "u" * (MAX_ID_BYTES + 1)},
    {"source": "é" * (MAX_ID_BYTES // 2 + 1)},
    {"user_id": "\0"},
    {"user_id": "\ud800"},
    {"payload": "no object"},
    {"payload": {"lesson_id": 5}},
    {"payload": DEEP | {"more": [DEEP]}},
    {"event_type": "free", "payload": ..., "elsewhere": [[DEEP]]},
    {"occurred_at": "2026-04-13"},
    {"occurred_at": "2026-04-13T09:00:00." + "0" * 60 + "Z"},
    {"occurred_at": "2999-01-01T00:00:00.000000Z"},
]


@pytest.mark.parametrize("changes", PLAIN)
def test_what_is_plain_is_read_quickly(changes: dict[str, Any]) -> None:
    for bodies in (each := lot(event(**changes), event(event_id="last")), arrays(each)):
        read = quickly(*bodies)
        assert read is not None
        assert read == one_by_one(*bodies)


@pytest.mark.parametrize("changes", ODD)
def test_what_is_not_asks_for_a_closer_look(changes: dict[str, Any]) -> None:
    for bodies in (each := lot(event(**changes), event(event_id="last")), arrays(each)):
        assert quickly(*bodies) is None
        assert one_by_one(*bodies) is None


def test_nesting_is_bounded_for_each() -> None:
    def deep(depth: int) -> dict[str, Any]:
        return event(payload={"lesson_id": "l", "more": json.loads("[" * depth + "]" * depth)})

    flat, most, more = lot(*[deep(MAX_DEPTH - 2)] * 3), deep(MAX_DEPTH - 2), deep(MAX_DEPTH - 1)
    for bodies in (flat, arrays(flat)):
        assert quickly(*bodies) is not None
    for bodies in (each := [*lot(most, most, more), *lot(more)], each[6:], arrays(each), arrays(each[6:])):
        assert quickly(*bodies) is None


def test_each_event_belongs_to_the_user_of_its_subject() -> None:
    bodies = lot()
    assert quickly(*bodies, subjects=[MINE, ANYBODYS, MINE]) is not None
    assert quickly(*bodies, subjects=[MINE, "events.t1", "events.t1.~batch"]) is not None
    for wrong in (THEIRS, "events.t2", "events.t1.u2", "events", "elsewhere", "events.batch"):
        assert quickly(*bodies, subjects=[MINE, wrong, MINE]) is None

    both = b"[" + bodies[0] + b"," + json.dumps(event(tenant_id="t2")).encode() + b"," + bodies[1] + b"]"
    assert quickly(both, both, subjects=[ANYBODYS, ANYBODYS]) is not None
    for subject in (MINE, THEIRS, "events.t1.~batch"):
        assert quickly(both, both, subjects=[ANYBODYS, subject]) is None


NAMES = ["a", "b", "a.b", "a%2Eb", "~b", "%7Eb", "raw", "é", "a-_9", "A", "x" * 119, "x" * 121]
TOKENS = [*dict.fromkeys([*map(token, NAMES), *NAMES[2:9], "~", "~batch", "~" + "0" * 32, "", "*", ">"])]
subjects_of_any_form = st.tuples(
    st.sampled_from(["events"] * 7 + ["other"]), st.lists(st.sampled_from(TOKENS), max_size=6)
).map(lambda pair: ".".join([pair[0], *pair[1]]))


@settings(max_examples=300)
@example([("events.a.a%2Eb.x", [("a", "a%2Eb")])], False)
@example([("events.a%2Eb.a", [("a%2Eb", "a")])], True)
@example([("events.a.b", [("a", "b"), ("a", "a")])], True)
@example([("events.a.~b", [("a", "b"), ("a", "a"), ("b", "a")])], True)
@example([("events.raw", [("a", "b"), ("b", "a")]), ("events.a.~b", [("a", "b")])], True)
@given(
    st.lists(
        st.tuples(
            subjects_of_any_form, st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=4)
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_however_it_is_read_nothing_gets_past_its_subject(
    messages: list[tuple[str, list[tuple[str, str]]]], arrays: bool
) -> None:
    """Whatever is accepted is of the tenant and the user that the subject's tokens name, by a definition of its own."""
    if not arrays:
        messages = [(subject, whose[:1]) for subject, whose in messages if whose]
    bodies: list[bytes] = []
    for number, (_, whose) in enumerate(messages):
        events = [event(event_id=f"e{number}-{at}", tenant_id=t, user_id=u) for at, (t, u) in enumerate(whose)]
        bodies.append(json.dumps(events if arrays else events[0]).encode())
    subjects = [subject for subject, _ in messages]
    good = [[may_carry(subject, *each) for each in whose] for subject, whose in messages]
    for subject, body, wanted in zip(subjects, bodies, good, strict=True):
        close = CONTRACT.look_closely(subject, body, now=NOW, end=end(1))
        assert [isinstance(one, Accepted) for one in close] == wanted
        assert [isinstance(one, Accepted) for one in CONTRACT.read(subject, body, now=NOW)] == wanted
    if bodies:
        assert (quickly(*bodies, subjects=subjects) is not None) is all(map(all, good))


def may_carry(subject: str, tenant: str, user: str) -> bool:
    match subject.split("."):
        case ["events", "raw"]:
            return True
        case ["events", first]:
            return first == token(tenant)
        case ["events", first, second, *_]:
            hashed = len(second) == 33 and set(second[1:]) <= set("0123456789abcdef")
            reserved = second[:1] == "~" and not hashed
            return first == token(tenant) and (reserved or second == token(user))
        case _:
            return False


def test_what_is_no_event_by_itself_is_none_with_its_neighbours() -> None:
    good = lot()
    head, tail = json.dumps(event(payload={"lesson_id": "l", "more": "X"})).encode().split(b'"X"')
    for bodies in (
        (head + b"[{}", b"{}]" + tail, *good),
        (head + b"[{}", b"{}]" + tail, b",".join(good[:2]), good[2]),
        (head + b"[{}", b"{}]" + tail, b",".join(good), good[2]),
        (head + b'"', b'"' + tail, good[0]),
        (b",".join(good), *good),
        (good[0] + b",", *good),
        (b"", *good),
        (b"5", *good),
        (good[0], b"[" + good[1] + b"]"),
        (b"[" + good[1] + b"]", good[0]),
        (good[0] + b"]", b"[" + good[1]),
        (b"[" + good[0] + b"],[" + good[1], good[2] + b"]"),
        (b"[" + good[0], b"[" + good[1] + b"]" + good[2] + b"]"),
        (b"[" + good[0] + b"]", b"[5]"),
        (b"[" + good[0] + b"]", b"[[" + good[1] + b"]]"),
        (b"\xff", *good),
        (json.dumps(event(payload={"lesson_id": "x" * MAX_MESSAGE_BYTES})).encode(), *good),
    ):
        assert quickly(*bodies) is None
    assert quickly() is None


tokens = st.sampled_from([b"{", b"}", b"[", b"]", b'"', b",", b":", b"0", b'"a":', *lot(event(user_id="u2"))])
shards = st.builds(b"".join, st.lists(tokens, max_size=4))


@given(st.lists(shards | st.sampled_from(lot()), max_size=5))
def test_whatever_is_read_quickly_is_what_each_is_alone(bodies: list[bytes]) -> None:
    for each in (bodies, [b"[" + body + b"]" for body in bodies], arrays(bodies)):
        read = quickly(*each)
        assert read is None or read == one_by_one(*each)


changes = st.sampled_from([*PLAIN, *ODD])


@given(st.lists(changes, min_size=1, max_size=5))
def test_a_closer_look_is_asked_for_where_anything_is_refused(which: list[dict[str, Any]]) -> None:
    bodies = lot(*[event(**each) for each in which])
    assert quickly(*bodies) == one_by_one(*bodies)
    assert quickly(*arrays(bodies)) == one_by_one(*arrays(bodies))

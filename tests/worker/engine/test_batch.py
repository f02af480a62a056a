from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.compile import USER
from dsl.ruleset import build
from worker.broker.deliveries import parse_deliveries, parse_delivery
from worker.contract.message import Message
from worker.contract.partition import partition_of
from worker.contract.reasons import Reason
from worker.engine.batch import Batch, terminations
from worker.engine.decoding import decode, decoded_again
from worker.engine.rule_set import Deployed
from worker.engine.subject_events import events_of_users

RULES = b"""
event a.done { team: string? }
achievement one { title "One" when count(event=a.done, >= 1) }
achievement many { title "Many" scope team when count(event=a.done, >= 1) }
"""
DEPLOYED = Deployed(1, build([("rules.ach", RULES)]), since={}, prefix="events", skew=0)
NOW = 1_800_000_000_000_000


def event(number: int, **payload: object) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "event_type": "a.done",
        "user_id": "u",
        "tenant_id": "t",
        "occurred_at": "2026-01-01T00:00:00Z",
        "payload": payload,
    }


def message(seq: int, body: object) -> Message:
    return Message("events.raw", json.dumps(body).encode(), b"", seq, "reply")


def batch(*bodies: object) -> Batch:
    return decode([message(seq, body) for seq, body in enumerate(bodies, start=1)], DEPLOYED, now=NOW)


def test_decoding_finds_the_audience_of_an_event() -> None:
    (item,) = batch(event(1, team="red")).items
    assert item.audience.user == ("t", "user", "u")
    assert set(item.audience.subjects) == {("t", "user", "u"), ("t", "team", "red")}


def test_a_message_is_ended_when_nothing_of_it_lives() -> None:
    one = batch(event(1), 5, [event(2), 5], [5, 6], [])
    assert terminations(one, one.letters) == {2: Reason.INVALID_EVENT, 4: Reason.INVALID_EVENT}
    condemned = one.condemned(Reason.ID_CONFLICT, "")
    assert terminations(one, condemned.letters)[1] == Reason.ID_CONFLICT


@pytest.mark.parametrize("odd", [{2}, {0, 63}, {31, 32, 64, 99}, set(range(100))])
@pytest.mark.parametrize("per", [1, 3, 0])
def test_odd_messages_are_separated_from_their_neighbours(odd: set[int], per: int) -> None:
    """In whatever turn it comes: alone, in an array, or with arrays and events that come alone side by side."""
    events = [5 if n in odd else event(n, team=f"t{n % 3}") for n in range(100)]
    if per == 1:
        bodies: list[object] = [*events]
    elif per:
        bodies = [events[at : at + per] for at in range(0, 100, per)]
    else:
        bodies = [*events[:50], *([one] for one in events[50:])]
    one = batch(*bodies)
    assert {item.event.id for item in one.items} == {f"e{n}" for n in range(100) if n not in odd}
    assert [item.place for item in one.items] == sorted(item.place for item in one.items)
    assert [letter.reason for letter in one.letters] == [Reason.INVALID_EVENT] * len(odd)
    each = [decode([message(seq, body)], DEPLOYED, now=NOW) for seq, body in enumerate(bodies, start=1)]
    assert [item.place for item in one.items] == [item.place for alone in each for item in alone.items]
    assert one.letters == tuple(letter for alone in each for letter in alone.letters)


def test_writers_share_the_users_of_a_batch() -> None:
    one = batch(*(event(n) | {"user_id": f"u{n % 50}"} for n in range(200)), "no event")
    pieces = one.split(3)
    assert sorted(pieces) == [0, 1, 2]
    assert sum(len(piece.items) for piece in pieces.values()) == 200
    assert [len(piece.letters) for piece in pieces.values()] == [1, 0, 0]
    users = [{item.audience.user for item in piece.items} for piece in pieces.values()]
    assert sum(map(len, users)) == 50
    # A worker that gets every other partition from the broker has work for all of its writers.
    even = [n for n in range(200) if partition_of("t", "user", f"u{n}") % 2 == 0]
    assert sorted(batch(*(event(n) | {"user_id": f"u{n}"} for n in even)).split(2)) == [0, 1]
    # What holds nothing but dead letters, or nothing, is a piece all the same.
    assert [len(piece.letters) for piece in batch("no event").split(2).values()] == [1]
    assert len(batch([]).split(2)) == 1


def test_pieces_hold_everything_once() -> None:
    one = batch(*(event(n) for n in range(10)), "no event")
    pieces = list(one.pieces(3))
    assert [len(piece.items) for piece in pieces] == [3, 3, 3, 1]
    assert sum(len(piece.letters) for piece in pieces) == 1
    # Under other rules a piece is still that piece.
    assert [len(decoded_again(piece, DEPLOYED).items) for piece in pieces] == [3, 3, 3, 1]
    assert sum(len(decoded_again(piece, DEPLOYED).letters) for piece in pieces) == 1


def test_pieces_of_a_message_that_came_twice_become_smaller() -> None:
    twice = [message(1, [event(1), event(2)]), message(2, event(3)), message(1, [event(1), event(2)])]
    one = decode(twice, DEPLOYED, now=NOW)
    assert [[item.event.id for item in piece.items] for piece in one.pieces(2)] == [["e1", "e1"], ["e2", "e2"], ["e3"]]
    same = next(iter(one.pieces(2)))
    assert [piece.size for piece in same.pieces(1)] == [1, 1]


ROLES = b"""
event like { author: user }
event share { author: user }
event login {}
achievement liked { title "Liked" when count(event=like as author, >= 1) }
achievement active { title "Active" when any(count(event=login, >= 1), count(event=like, >= 1)) }
"""


def liked(number: int, actor: str, author: str, kind: str = "like") -> dict[str, Any]:
    payload = {} if kind == "login" else {"author": author}
    said = {"event_type": kind, "user_id": actor, "occurred_at": f"2026-01-01T00:{number:02d}:00Z"}
    return event(number, **payload) | said


def test_users_that_events_name_have_them_in_the_order_of_the_stream() -> None:
    deployed = Deployed(1, build([("rules.ach", ROLES)]), since={}, prefix="events", skew=0)
    kinds = ("like", "share", "login")
    bodies = [liked(n, "abc"[n % 3], "abcd"[(n * 7) % 4], kinds[n % 5 % 3]) for n in range(40)]
    one = decode([message(seq, body) for seq, body in enumerate(bodies, 1)], deployed, now=NOW)
    found = events_of_users(one.groups)
    for (_, _, user), own in found.items():
        numbers = [int(event.id[1:]) for event in own.events]
        named = [n for n, said in enumerate(bodies) if user in {said["user_id"], said["payload"].get("author")}]
        assert numbers == named
        assert [event for event in own.events if event.type in deployed.program.scopes[USER].types] == own.heard
        assert own.put_in_order((0, ""))
        assert own.behind == 0
    # A piece has what its events are to each user, too.
    pieces = list(one.pieces(7))
    assert [piece.size for piece in pieces] == [7, 7, 7, 7, 7, 5]
    of_pieces = [item for piece in pieces for item in piece.items]
    assert [(item.event, item.audience.views) for item in of_pieces] == [(i.event, i.audience.views) for i in one.items]


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.EVENTS.ach.3.17.9.1795456090983915045.5",
        "$JS.ACK._.hash.EVENTS.ach.3.17.9.1795456090983915045.5",
        "$JS.ACK.domain.hash.EVENTS.ach.3.17.9.1795456090983915045.5.random",
    ],
)
def test_deliveries(reply: str) -> None:
    found = parse_delivery("s", b"", b"", reply)
    assert found is not None
    assert (found.seq, found.deliveries, found.sent_at) == (17, 3, 1_795_456_090_983_915)


REPLIES = [
    "$JS.ACK.EVENTS.ach.3.17.9.1795456090983915045.5",
    "$JS.ACK._.hash.EVENTS.ach.3.18.9.1795456090983915045.5",
    "$JS.ACK.domain.hash.EVENTS.ach.3.19.9.1795456090983915045.5.random",
    "$JS.ACK.EVENTS.ach.1.20.10.1795456090983915046.0",
    "_INBOX.a.b",
    "",
]


@given(st.lists(st.sampled_from(REPLIES), min_size=1, max_size=12))
def test_deliveries_at_once_are_those_one_by_one(replies: list[str]) -> None:
    frames = [(f"s{number}", reply, b"%d" % number, b"") for number, reply in enumerate(replies)]
    found = parse_deliveries(frames)
    one_by_one = [parse_delivery(subject, body, block, reply) for subject, reply, body, block in frames]
    assert found is None or found == one_by_one
    assert (found is not None) == all(reply in (REPLIES[0], REPLIES[3]) for reply in replies)


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        (b"", {}),
        (b"no headers", {}),
        (b"NATS/1.0\r\n\r\n", {}),
        (b"NATS/1.0\r\nNats-Msg-Id: t:e1\r\nX:  a: b \r\n\r\n", {"Nats-Msg-Id": "t:e1", "X": "a: b"}),
        (b"NATS/1.0 100 Idle Heartbeat\r\nA: 1\r\n\r\n", {"Status": "100", "Description": "Idle Heartbeat", "A": "1"}),
        (b"NATS/1.0 404\r\n\r\n", {"Status": "404"}),
        (b"NATS/1.0\r\nX: \xff\x00\r\n\r\n", {"X": "\\xff\x00"}),
        (b"NATS/1.0\r\n: nameless\r\nnothing\r\n\r\n", {}),
    ],
)
def test_headers_are_read_on_demand(block: bytes, headers: dict[str, str]) -> None:
    assert Message("s", b"", block, 1, "").headers == headers


@pytest.mark.parametrize("reply", ["", "_INBOX.a.b", "$JS.ACK.short"])
def test_what_is_no_delivery(reply: str) -> None:
    assert parse_delivery("s", b"", b"", reply) is None

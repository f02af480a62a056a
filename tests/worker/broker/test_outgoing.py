"""Subjects that recorded messages are published on: those that bind them, so that a worker takes them."""

from __future__ import annotations

import json

import pytest

from tests.worker.contract.test_strict_reader import CONTRACT, NOW, event
from worker.broker.outgoing import outgoing
from worker.contract.partition import token
from worker.contract.strict_reader import Accepted


@pytest.mark.parametrize(
    ("line", "subject"),
    [
        (event(user_id="u.1"), "events.t1.u%2E1.lesson.completed"),
        (event(tenant_id="raw"), "events.raw.u1.lesson.completed"),
        (event(user_id="u" * 200), f"events.t1.{token('u' * 200)}.lesson.completed"),
        ([event(), event(user_id="u2")], "events.t1.~batch.batch"),
        ([event(tenant_id="a.b")], "events.a%2Eb.~batch.batch"),
        ([event(), event(tenant_id="t2")], "events.raw"),
        ([event(), 7], "events.raw"),
        ([event(tenant_id="")], "events.raw"),
        ([], "events.raw"),
        ({"no": "event"}, "events.raw"),
        (event(user_id=""), "events.raw"),
    ],
)
def test_every_message_goes_where_it_may(line: object, subject: str) -> None:
    body = json.dumps(line).encode()
    (sent,) = outgoing([body], "events")
    assert (sent.subject, sent.body) == (subject, body)
    wanted = [isinstance(one, Accepted) for one in CONTRACT.read_trusted(body, now=NOW)]
    assert [isinstance(one, Accepted) for one in CONTRACT.read(sent.subject, body, now=NOW)] == wanted


def test_what_is_no_json_goes_where_anything_may() -> None:
    assert [sent.subject for sent in outgoing([b"nope", b"[nope", b"\xff"], "lane.0")] == ["lane.0.raw"] * 3

"""What a line of the log says of a dead letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.loose_event import MOST_BYTES, MOST_CHARACTERS, LooseEvent, loose_event


@given(st.text(), st.binary())
def test_no_bytes_raise_anything(subject: str, body: bytes) -> None:
    loose_event("events", subject, body)


@pytest.mark.parametrize(
    ("subject", "body", "found"),
    [
        ("events.t1.u1.a", b'{"event_id": "e", "tenant_id": "t2"}', LooseEvent("e", "t1")),
        ("events.raw", b'{"event_id": "e", "tenant_id": "t2", "payload": {"x": 1}}', LooseEvent("e", "t2")),
        ("events.raw", b'{"event_id": 7, "tenant_id": ["t"]}', LooseEvent(None, None)),
        ("events.raw", b"\xff\x00 nonsense", LooseEvent(None, None)),
        ("events.raw", b'{"event_id": "%s"}' % (b"x" * 1000), LooseEvent("x" * MOST_CHARACTERS, None)),
        ("events.raw", b'{"event_id": "e", "payload": "%s"}' % (b"x" * MOST_BYTES), LooseEvent(None, None)),
        ("events.raw", b"[" * 5000, LooseEvent(None, None)),
    ],
)
def test_id_and_tenant_are_read_as_far_as_they_can_be(subject: str, body: bytes, found: LooseEvent) -> None:
    assert loose_event("events", subject, body) == found

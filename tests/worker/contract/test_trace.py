"""The trace of an event: what counts as one, from where it comes, and that nothing else is passed on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.broker.protocol import header_block
from worker.contract.message import Message, parse_headers, translated
from worker.contract.trace import MOST_HEADER_BYTES, MOST_STATE, Trace, read_trace, trace_in, trace_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ID, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{ID}-{SPAN}-01"
OTHER = f"00-{ID[::-1]}-{SPAN}-01"


def message(headers: Mapping[str, str] | bytes = b"", body: bytes = b"{}") -> Message:
    block = headers if isinstance(headers, bytes) else header_block(dict(headers))
    return Message("events.t1.u1.a", body, block, 1, "")


def cloud(**more: object) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "a", **more}).encode()


def test_a_trace_is_read_and_written_alike() -> None:
    found = read_trace(PARENT, "a=1 , b@c=2,,")
    assert found == Trace(ID, SPAN, 1, "a=1,b@c=2")
    assert found is not None
    assert found.headers == {"traceparent": PARENT, "tracestate": "a=1,b@c=2"}
    assert found.lines == f"traceparent: {PARENT}\r\ntracestate: a=1,b@c=2\r\n"
    assert found.is_sampled
    assert read_trace(f"00-{ID}-{SPAN}-00") == Trace(ID, SPAN, 0)


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert read_trace(f"cc-{ID}-{SPAN}-ff-what-the-future-holds") == Trace(ID, SPAN, 3)
    assert read_trace(f"cc-{ID}-{SPAN}-ff") == Trace(ID, SPAN, 3)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        f"{PARENT}\n",
        f" {PARENT}",
        f"{PARENT}-more",
        f"ff-{ID}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"00-{ID}-{SPAN}-0g",
        f"00-{ID[:-1]}٣-{SPAN}-01",
        PARENT * 20_000,
        f"cc-{ID}-{SPAN}-01-{'x' * 1_000_000}",
        f"cc-{ID}-{SPAN}-01-x\r\nNats-Msg-Id: forged",
    ],
)
def test_what_is_malformed_is_no_trace(parent: str) -> None:
    assert read_trace(parent) is None


@pytest.mark.parametrize(
    "state",
    [
        "a=1\r\nNats-Rollup: all",
        "a",
        "=1",
        "A=1",
        "a=1=2",
        "a=\x1b[2J",
        "a=é",
        "a=1,a=2",
        ",".join(f"k{n}=1" for n in range(33)),
        f"a={'x' * 257}",
        f"a={'x' * 200},b={'x' * 200},c={'x' * 200}",
        "x" * 1_000_000,
    ],
)
def test_a_malformed_state_is_left_out(state: str) -> None:
    assert read_trace(PARENT, state) == Trace(ID, SPAN, 1)


@given(st.text(), st.text())
def test_nothing_but_the_grammar_is_passed_on(parent: str, state: str) -> None:
    for found in (read_trace(parent, state), read_trace(PARENT, state)):
        if found is not None:
            assert found.lines.isascii()
            assert found.lines.replace("\r\n", "").isprintable()
            assert len(found.state) <= MOST_STATE
            assert parse_headers(f"NATS/1.0\r\n{found.lines}\r\n".encode()) == found.headers


@given(st.binary(), st.binary())
def test_no_bytes_raise_anything(block: bytes, body: bytes) -> None:
    trace_of(message(block, body), 0)
    trace_of(message(b"NATS/1.0\r\ntraceparent: " + block + b"\r\n\r\n", b'[{"traceparent":' + body), 0)


def test_headers_are_found_in_any_case() -> None:
    for name in ("traceparent", "Traceparent", "TRACEPARENT"):
        assert trace_of(message({"Nats-Msg-Id": "1", name: PARENT, "Tracestate": "a=1"}), 0) == read_trace(
            PARENT, "a=1"
        )


def test_a_header_that_is_given_twice_is_no_ones_word() -> None:
    block = f"NATS/1.0\r\ntraceparent: {PARENT}\r\nTraceparent: {OTHER}\r\n\r\n".encode()
    assert trace_of(message(block), 0) is None
    block = f"NATS/1.0\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: b=1\r\n\r\n".encode()
    assert trace_of(message(block), 0) == Trace(ID, SPAN, 1)


def test_headers_beyond_the_first_ones_are_not_looked_at() -> None:
    block = header_block({"x": "y" * MOST_HEADER_BYTES, "traceparent": PARENT})
    assert trace_of(message(block), 0) is None


def test_the_extension_of_a_cloudevent_goes_first() -> None:
    assert trace_of(message({"ce-traceparent": OTHER, "traceparent": PARENT}), 0) == read_trace(OTHER)
    assert trace_of(message({"traceparent": PARENT}, cloud(traceparent=OTHER)), 0) == read_trace(OTHER)
    assert trace_of(message({"traceparent": PARENT}, cloud(traceparent="x")), 0) == read_trace(PARENT)
    assert trace_of(message({"traceparent": PARENT}, cloud(traceparent=7)), 0) == read_trace(PARENT)
    assert trace_in({"traceparent": PARENT, "tracestate": "a=1"}, cloud(traceparent=OTHER)) == read_trace(OTHER)


def test_each_element_of_a_batch_has_its_own() -> None:
    body = b"[%s,%s]" % (cloud(traceparent=OTHER), cloud())
    whole = message({"traceparent": PARENT}, body)
    for one in (whole, translated(whole, b"{}")):
        assert trace_of(one, 0) == read_trace(OTHER)
        assert trace_of(one, 1) == read_trace(PARENT)


def test_a_payload_names_no_trace() -> None:
    body = json.dumps({"event_id": "1", "payload": {"traceparent": PARENT, "specversion": "1.0"}}).encode()
    assert trace_of(message(body=body), 0) is None
    assert trace_of(message(body=b'{"traceparent":"%s"}' % PARENT.encode()), 0) is None

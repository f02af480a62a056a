"""What a round of answers says about announcements."""

from __future__ import annotations

import pytest

from worker.broker.announce import SILENCE, Announced, Announcement, judge
from worker.broker.errors import BrokerAwayError
from worker.broker.window import read_answer

ONE, TWO, THREE = (Announcement(f"s.{name}", b"1", name) for name in ("one", "two", "three"))
TAKEN = read_answer(b'{"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence: 1"}}')
NEW = read_answer(b'{"stream": "S", "seq": 1}')
COPY = read_answer(b'{"stream": "S", "seq": 1, "duplicate": true}')
TOO_LARGE = read_answer(b'{"error": {"code": 400, "err_code": 10054, "description": "message size exceeds maximum"}}')
FULL = read_answer(b'{"error": {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}}')
NO_STREAM = read_answer(b"")
GARBLED = read_answer(b"{")


def test_new_ones_and_copies() -> None:
    said = judge([ONE, TWO, THREE], [NEW, COPY, TAKEN])
    assert said == Announced({"one": True, "two": False}, {}, {"three"})


def test_what_is_refused_is_refused_alone() -> None:
    refused = {"two": "10054 message size exceeds maximum"}
    assert judge([ONE, TWO], [NEW, TOO_LARGE]) == Announced({"one": True}, refused)
    # Whatever became of others: it is the message that is at fault.
    assert judge([TWO], [TOO_LARGE]) == Announced({}, refused)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (FULL, "10077 maximum bytes exceeded"),
        (NO_STREAM, "no stream keeps what is published there"),
        (GARBLED, "its answer cannot be read: Input data was truncated"),
        (None, SILENCE),
    ],
)
def test_a_fault_of_the_server_is_of_one_alone_if_others_came_through(answer: object, said: str) -> None:
    assert judge([ONE, TWO], [NEW, answer]) == Announced({"one": True}, {"two": said})  # type: ignore[list-item]
    assert judge([ONE, TWO], [answer, TAKEN]) == Announced({}, {"one": said}, {"two"})  # type: ignore[list-item]
    with pytest.raises(BrokerAwayError):
        judge([ONE, TWO], [answer, answer])  # type: ignore[list-item]
    # A refusal for the message's own sake says nothing about the server.
    with pytest.raises(BrokerAwayError):
        judge([ONE, TWO], [answer, TOO_LARGE])  # type: ignore[list-item]


def test_silence_is_counted() -> None:
    with pytest.raises(BrokerAwayError, match="2 announcements were not answered"):
        judge([ONE, TWO], [None, None])
    with pytest.raises(BrokerAwayError, match="10077"):
        judge([ONE, TWO], [None, FULL])

"""A message of the input stream, as the rest of the worker sees it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.frames import Frame

STATUS: Final = "Status"
DESCRIPTION: Final = "Description"
_VERSION: Final = "NATS/1.0"
_SHORT: Final = 9
"""Tokens of the shortest reply subject of JetStream."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One delivery of one message.

    `reply` is where the broker waits for its acknowledgement, and tells what it knows of the delivery; `block` is the
    block of headers as received. Both are read when somebody asks, which is seldom.
    """

    subject: str
    body: bytes
    block: bytes
    seq: int
    """Sequence in the stream, from 1."""
    reply: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name, the last of each."""
        return parse_headers(self.block)

    @property
    def deliveries(self) -> int:
        """How often it was delivered by now, from 1."""
        tokens = _tokens(self.reply)
        return int(tokens[0]) if tokens else 1

    @property
    def sent_at(self) -> int:
        """When the broker stored it, microseconds since the epoch; 0 where nobody knows."""
        tokens = _tokens(self.reply)
        return int(tokens[3]) // 1000 if tokens else 0


def parse_delivery(subject: str, body: bytes, block: bytes, reply: str) -> Message | None:
    """Return a delivery of JetStream, whose reply subject carries what the broker knows of it; else None.

    The subject is `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>`, with
    `<domain>.<account>` in front of the stream on newer servers that say so.
    """
    if not reply.startswith("$JS.ACK."):
        return None
    tokens = reply.split(".")
    if len(tokens) < _SHORT:
        return None
    return Message(subject, body, block, int(tokens[5 if len(tokens) == _SHORT else 7]), reply)


def parse_deliveries(frames: Sequence[Frame]) -> list[Message] | None:
    """Return what `parse_delivery` does of each, at half the price; None where one of them asks for that."""
    number = len(frames)
    subjects, replies, bodies, blocks = zip(*frames, strict=True)
    tokens = ".".join(replies).split(".")
    if (
        len(tokens) != number * _SHORT
        or tokens[0::_SHORT].count("$JS") != number
        or tokens[1::_SHORT].count("ACK") != number
    ):
        return None
    return [*map(Message, subjects, bodies, blocks, map(int, tokens[5::_SHORT]), replies)]


def _tokens(reply: str) -> list[str]:
    """Return deliveries, stream sequence, consumer sequence, nanoseconds and the rest; nothing of another subject."""
    tokens = reply.split(".")
    return tokens[4 if len(tokens) == _SHORT else 6 :] if len(tokens) >= _SHORT else []


def parse_headers(block: bytes) -> dict[str, str]:
    """Return the headers of a block: `NATS/1.0[ <status>[ <description>]]`, then a line for each; {} of anything else.

    A status is the broker's own, under the names `Status` and `Description`. Bytes that are no UTF-8 are shown escaped.
    """
    first, *lines = block.decode(errors="backslashreplace").split("\r\n")
    if not first.startswith(_VERSION):
        return {}
    status, _, description = first[len(_VERSION) :].strip().partition(" ")
    headers = {STATUS: status} if status.isdigit() else {}
    if headers and description:
        headers[DESCRIPTION] = description.strip()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and name:
            headers[name.strip()] = value.strip()
    return headers

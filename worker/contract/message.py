"""A message of the input stream, as the rest of the worker sees it. Pure.

Measured and tried: docs/decisions/0008-hot-path/frame-parser.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

STATUS: Final = "Status"
DESCRIPTION: Final = "Description"
_VERSION: Final = "NATS/1.0"
SHORT: Final = 9
"""Tokens of the shortest reply subject of JetStream."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One delivery of one message.

    The broker waits for the acknowledgement on the subject `reply`, which also describes the delivery; `block` is the
    block of headers as received. Both are parsed only when asked for, which is seldom; `sent` is the part of `reply`
    that the ledger keeps of every message.
    """

    subject: str
    body: bytes
    block: bytes
    seq: int
    """Sequence in the stream, from 1."""
    reply: str
    sent: str = ""
    """When the broker stored it, nanoseconds since the epoch, as the reply subject has it; empty if unknown."""

    @property
    def as_sent(self) -> bytes:
        """The body as the producer sent it."""
        return self.body

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name, the last of each."""
        return parse_headers(self.block)

    @property
    def deliveries(self) -> int:
        """Number of deliveries so far, from 1."""
        tokens = delivery_tokens(self.reply)
        return int(tokens[0]) if tokens else 1

    @property
    def sent_at(self) -> int:
        """When the broker stored it, microseconds since the epoch; 0 if unknown."""
        return int(self.sent) // 1000 if self.sent else 0


class Translated(Message, frozen=True, gc=False):
    """A message that held something else than our envelope, and holds it now: the whole, or one element of an array."""

    original: bytes = b""

    @property
    def as_sent(self) -> bytes:
        """The body as the producer sent it."""
        return self.original


def translated(message: Message, envelope: bytes) -> Translated:
    """Return a message with our envelope in the place of what it held."""
    return Translated(
        message.subject, envelope, message.block, message.seq, message.reply, message.sent, original=message.body
    )


def delivery_tokens(reply: str) -> list[str]:
    """Return deliveries, stream sequence, consumer sequence, nanoseconds and the rest; nothing of another subject."""
    tokens = reply.split(".")
    return tokens[4 if len(tokens) == SHORT else 6 :] if len(tokens) >= SHORT else []


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

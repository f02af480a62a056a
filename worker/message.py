"""A message of the input stream, as the rest of the worker sees it. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """One delivery of one message. `reply` is where the broker waits for its acknowledgement."""

    subject: str
    body: bytes
    headers: dict[str, str]
    seq: int
    """Sequence in the stream, from 1."""
    deliveries: int
    """How often it was delivered by now, from 1."""
    sent_at: int
    """When the broker stored it, microseconds since the epoch."""
    reply: str


def parse_delivery(subject: str, body: bytes, headers: dict[str, str] | None, reply: str) -> Message | None:
    """Return a delivery of JetStream, whose reply subject carries what the broker knows of it; else None.

    The subject is `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>`, with
    `<domain>.<account>` in front of the stream on newer servers that say so.
    """
    tokens = reply.split(".")
    if len(tokens) < _SHORT or tokens[:2] != ["$JS", "ACK"]:
        return None
    at = 4 if len(tokens) == _SHORT else 6
    deliveries, seq, _, nanoseconds = tokens[at : at + 4]
    return Message(subject, body, headers or {}, int(seq), int(deliveries), int(nanoseconds) // 1000, reply)


_SHORT = 9

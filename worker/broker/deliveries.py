"""Deliveries of JetStream, as messages of the input stream. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.broker.shares import MARK, MODULI
from worker.contract.message import SHORT, Message

_MARK: Final = f"{MARK}."
_MARKS: Final = 1 + len(MODULI)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.broker.protocol import Frame


def parse_delivery(subject: str, body: bytes, block: bytes, reply: str, *, partitioned: bool = False) -> Message | None:
    """Return the message of a delivery of JetStream, None for anything else.

    `partitioned` takes the partition from its subject, which the stream of a group has put there.

    A delivery's reply subject is `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<nanoseconds>.
    <pending>`; newer servers may put `<domain>.<account>` in front of the stream.
    """
    if not reply.startswith("$JS.ACK."):
        return None
    tokens = reply.split(".")
    if len(tokens) < SHORT:
        return None
    at = 5 if len(tokens) == SHORT else 7
    if partitioned:
        subject = unmarked(subject)
    return Message(subject, body, block, int(tokens[at]), reply, tokens[at + 2])


def unmarked(subject: str) -> str:
    """Return the subject that a message was published on."""
    return subject.split(".", _MARKS)[_MARKS] if subject.startswith(_MARK) else subject


def parse_deliveries(frames: Sequence[Frame], *, partitioned: bool = False) -> list[Message] | None:
    """Return what `parse_delivery` returns for each, at half the price; None if one of them needs that function."""
    number = len(frames)
    subjects, replies, bodies, blocks = zip(*frames, strict=True)
    tokens = ".".join(replies).split(".")
    if (
        len(tokens) != number * SHORT
        or tokens[0::SHORT].count("$JS") != number
        or tokens[1::SHORT].count("ACK") != number
    ):
        return None
    if partitioned:
        subjects = [*map(unmarked, subjects)]
    return [*map(Message, subjects, bodies, blocks, map(int, tokens[5::SHORT]), replies, tokens[7::SHORT])]

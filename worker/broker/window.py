"""The one way to publish with an acknowledgement: many messages on their way, and one inbox for all answers.

A message gets a reply subject of its own below the inbox, and its answer is found by the last token of that. A window
does not wait, and does not send again: `announce.py` gives a round five seconds, `publish.py` sends again what has no
answer. Waiting for each answer by itself would cost a round trip a message.

Who publishes keeps the number on their way bounded: 500 unlocks or corrections, 4,096 messages in bulk.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

from worker.broker.api import SERVER_AT_FAULT, WRONG_LAST_SEQUENCE, Fault
from worker.broker.protocol import Sent, header_block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.broker.client import BrokerClient, Msg
    from worker.broker.connection import Connection

    Parts = tuple[str, bytes, bytes]
    """Subject, block of headers (b"" for none) and body of a message."""

MESSAGE_ID: Final = "Nats-Msg-Id"
"""The header by which the broker drops copies, for as long as the stream's duplicate window."""
EXPECTED_STREAM: Final = "Nats-Expected-Stream"
EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"
LOST: Final = "the connection was lost"


class Outgoing(NamedTuple):
    """A message to publish; without a message id the broker keeps every copy of it."""

    subject: str
    body: bytes
    id: str | None = None
    headers: Mapping[str, str] = {}
    """Others than the message id. We make their names and values: they hold no line end."""

    @property
    def parts(self) -> Parts:
        """What a window sends."""
        headers = self.headers if self.id is None else {MESSAGE_ID: self.id, **self.headers}
        return self.subject, header_block(headers), self.body


class Fate(Enum):
    """What the broker did with a message."""

    NEW = auto()
    """The stream has it now."""
    COPY = auto()
    """The stream has had it before, by its message id."""
    TAKEN = auto()
    """Its subject holds another message than it expected: most likely itself."""
    REFUSED = auto()
    """It is at fault: too large, for example. It was not even sent where `err_code` is 0."""
    FAULT = auto()
    """The server may be at fault."""
    UNHEARD = auto()
    """No stream listens on its subject."""


class Answer(NamedTuple):
    """The broker's answer to a message; a refusal has the error's number and description."""

    fate: Fate
    err_code: int = 0
    description: str = ""

    @property
    def said(self) -> str:
        """The number of the error, if it has one, and its description."""
        return f"{self.err_code} {self.description}" if self.err_code else self.description


class _Ack(msgspec.Struct):
    duplicate: bool = False
    error: Fault | None = None


_read = msgspec.json.Decoder(_Ack).decode
NEW: Final = Answer(Fate.NEW)
_COPY: Final = Answer(Fate.COPY)
_UNHEARD: Final = Answer(Fate.UNHEARD, 0, "no stream keeps what is published there")


def read_answer(body: bytes) -> Answer:
    """Read an acknowledgement; it is empty where no stream listens."""
    if not body:
        return _UNHEARD
    try:
        ack = _read(body)
    except msgspec.DecodeError as error:
        return Answer(Fate.FAULT, 0, f"its answer cannot be read: {error}")
    fault = ack.error
    if fault is None:
        return _COPY if ack.duplicate else NEW
    if fault.err_code == WRONG_LAST_SEQUENCE:
        fate = Fate.TAKEN
    else:
        fate = Fate.FAULT if fault.code >= SERVER_AT_FAULT else Fate.REFUSED
    return Answer(fate, fault.err_code, fault.description)


class Round:
    """Messages that were sent together, until each has its answer or the connection is lost."""

    def __init__(self, first: int, size: int) -> None:
        self.first = first
        """The number of the first message; the others follow."""
        self.missing = size
        self.answers: list[Answer | None] = [None] * size
        """In the order of the messages; None for no answer yet."""
        self.is_lost = False
        """Whether the connection was lost, so that no more answers come."""
        self._done = anyio.Event()
        if not size:
            self._done.set()

    def take(self, place: int, answer: Answer) -> None:
        """Take the answer to the message at a place."""
        self.answers[place] = answer
        self.missing -= 1
        if not self.missing:
            self._done.set()

    def lose(self) -> None:
        """End the waiting."""
        self.is_lost = True
        self._done.set()

    async def wait(self, seconds: float) -> None:
        """Wait until all answers are there or none comes, for so many seconds at most."""
        with anyio.move_on_after(seconds):
            await self._done.wait()


class Window:
    """Messages on their way over a connection, or one client, and the answers that are waited for."""

    def __init__(self, link: Connection | BrokerClient) -> None:
        self._link = link
        self._inbox = ""
        self._waiting: dict[str, tuple[Round, int]] = {}
        self._number = 0

    async def send(self, messages: Sequence[Parts]) -> Round:
        """Send messages, in order and together; `forget` the round when it is over.

        Raises:
            nats.errors.Error, OSError: the broker is away. Some of the messages may have arrived.
        """
        if not self._inbox:
            inbox = self._link.new_inbox()
            await self._link.subscribe(f"{inbox}.*", cb=self._on_answer)  # pyright: ignore[reportUnknownMemberType]
            self._inbox = inbox
        this = Round(self._number, len(messages))
        self._number += len(messages)
        sent: list[Sent] = []
        for place, (subject, block, body) in enumerate(messages):
            key = str(this.first + place)
            self._waiting[key] = (this, place)
            sent.append(Sent(subject, f"{self._inbox}.{key}", block, body))
        try:
            unsent = await self._link.publish_all(sent)
        except BaseException:
            self.forget(this)
            raise
        for reply, said in unsent.items():
            self._take(reply, Answer(Fate.REFUSED, 0, said))
        return this

    async def answers(self, messages: Sequence[Parts], seconds: float) -> Round:
        """Send messages and wait for all answers, for so many seconds at most.

        Raises:
            nats.errors.Error, OSError: as `send` does.
        """
        this = await self.send(messages)
        try:
            await this.wait(seconds)
        finally:
            self.forget(this)
        return this

    def forget(self, one: Round) -> None:
        """Wait for no more answers to a round."""
        if one.missing:
            for place in range(len(one.answers)):
                self._waiting.pop(str(one.first + place), None)

    def lose(self) -> None:
        """End all rounds: the connection is lost, and what was asked on it is not answered."""
        for one, _ in self._waiting.values():
            one.lose()

    async def _on_answer(self, msg: Msg) -> None:
        self._take(msg.subject, read_answer(msg.data))

    def _take(self, subject: str, answer: Answer) -> None:
        """Take the answer that arrived on a subject below the inbox; one that comes too late belongs to no round."""
        waiting = self._waiting.pop(subject.rpartition(".")[2], None)
        if waiting is not None:
            one, place = waiting
            one.take(place, answer)

"""Publishing many messages: a bounded number on their way, and again what is not acknowledged in time.

With a message id a second copy is harmless: the broker knows it.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import anyio.lowlevel

from worker.broker.api import ApiError, ask
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.broker.once import connected_once
from worker.broker.window import Answer, Fate, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.broker.client import Msg
    from worker.broker.connection import Connection
    from worker.broker.window import Round, Window
    from worker.settings import Settings

__all__ = ["Outgoing", "Published", "Publisher", "Refused", "announcement_limit", "listen"]

CHUNK: Final = 256
"""Messages that are sent together."""
ROUNDS: Final = 16
"""Chunks on their way at most: 4,096 messages."""
RESEND_SECONDS: Final = 5.0
"""After which a message that is not acknowledged is sent again."""
RETRY_SECONDS: Final = 0.1
"""Before the next try to send while the broker is away."""
LIMIT_SECONDS: Final = 2
"""For asking a broker what it takes, where the command can do without."""
GIVE_UP_SECONDS: Final = 60.0
"""After so long without any acknowledgement the broker counts as gone."""


class Refused(NamedTuple):
    """A message that the broker does not take, and what it said."""

    message: Outgoing
    said: str


async def announcement_limit(settings: Settings) -> int | None:
    """Return the bytes that one announcement may have, with headers; None where no broker says so within seconds."""
    limit = None
    with suppress(BrokerAwayError, *OUT_OF_REACH):
        async with connected_once(settings, seconds=LIMIT_SECONDS) as client:
            limit = client.max_payload
            with suppress(ApiError):  # no stream yet: the worker makes it without a limit
                info = await ask(client, f"STREAM.INFO.{settings.unlock_stream}", dict[str, Any])
                if (most := int(info["config"].get("max_msg_size", -1))) >= 0:
                    limit = min(limit, most)
    return limit


async def listen(connection: Connection, subject: str, tell: Callable[[bytes], None]) -> None:
    """Call `tell` with the body of every message on a subject, from now on."""

    async def on_message(msg: Msg) -> None:
        tell(msg.data)

    await connection.subscribe(subject, cb=on_message)


class Published(NamedTuple):
    """What became of messages: new to the broker, known to it already, refused by it."""

    stored: int
    duplicates: int
    refused: tuple[Refused, ...]


class Publisher:
    """Publishes through a window; `stored` and `duplicates` count what the broker said."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._answered_at = monotonic()
        self.stored = 0
        self.duplicates = 0
        self.refused: list[Refused] = []

    async def publish(self, messages: Iterable[Outgoing], on_progress: Callable[[int], None]) -> None:
        """Publish messages in order, and wait until the broker has answered for each.

        Raises:
            BrokerAwayError: the broker has not answered for GIVE_UP_SECONDS.
        """
        self._answered_at = monotonic()
        under_way: deque[tuple[Sequence[Outgoing], Round]] = deque()
        source = iter(messages)
        while chunk := [*islice(source, CHUNK)]:
            under_way.append((chunk, await self._send(chunk)))
            if len(under_way) >= ROUNDS:
                await self._finish(*under_way.popleft())
            on_progress(self.stored + self.duplicates)
            # Sending to a socket that takes everything never yields.
            await anyio.lowlevel.checkpoint()
        while under_way:
            await self._finish(*under_way.popleft())
            on_progress(self.stored + self.duplicates)

    async def _send(self, messages: Sequence[Outgoing]) -> Round:
        """Send messages together; while the broker is away, try again."""
        while True:
            try:
                return await self._window.send([one.parts for one in messages])
            except OUT_OF_REACH as error:
                self._check_patience(in_words(error))
            await anyio.sleep(RETRY_SECONDS)

    async def _finish(self, messages: Sequence[Outgoing], this: Round) -> None:
        """Wait for all answers to messages, and send again those that have none."""
        while True:
            try:
                await this.wait(RESEND_SECONDS)
            finally:
                self._window.forget(this)
            messages = [one for one, answer in zip(messages, this.answers, strict=True) if not self._count(one, answer)]
            if not messages:
                return
            if not this.missing:  # no stream listens yet: the answers came at once
                await anyio.sleep(RETRY_SECONDS)
            self._check_patience("")
            this = await self._send(messages)

    def _count(self, message: Outgoing, answer: Answer | None) -> bool:
        """Count what became of a message; tell whether that is final."""
        if answer is None or answer.fate is Fate.UNHEARD:
            return False
        self._answered_at = monotonic()
        match answer.fate:
            case Fate.NEW:
                self.stored += 1
            case Fate.COPY:
                self.duplicates += 1
            case _:
                self.refused.append(Refused(message, answer.description))
        return True

    def _check_patience(self, said: str) -> None:
        if monotonic() - self._answered_at > GIVE_UP_SECONDS:
            raise BrokerAwayError(f"no acknowledgement for {GIVE_UP_SECONDS:.0f} s {said}".rstrip())

"""Publishing many messages fast: one inbox for all acknowledgements, a bounded number on their way.

Awaiting each acknowledgement costs a round trip a message; here they arrive as they come, and what is not acknowledged
in time is sent again. With a message id that is harmless: the broker knows it. The `pyright: ignore` comments are for
parameters that nats-py leaves without a type.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import anyio.lowlevel
import msgspec
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.errors import NotFoundError

from worker.broker.connection import connected_once
from worker.broker.streams import BrokerAwayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from worker.broker.connection import Connection
    from worker.settings import Settings

WINDOW: Final = 4096
"""Messages on their way at the most."""
RESEND_SECONDS: Final = 5.0
"""After which a message that is not acknowledged is sent again."""
LIMIT_SECONDS: Final = 2
"""For asking a broker what it takes, where that is a favour and not what was asked for."""
GIVE_UP_SECONDS: Final = 60.0
"""Without any acknowledgement for so long, the broker counts as gone."""


class Outgoing(NamedTuple):
    """One message to publish; without an id the broker keeps every copy of it."""

    subject: str
    body: bytes
    id: str | None = None


class Refused(NamedTuple):
    """A message that the broker will not take, and what it said."""

    message: Outgoing
    said: str


class _Fault(msgspec.Struct):
    code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Fault | None = None


_ack = msgspec.json.Decoder(_Ack)


async def announcement_limit(settings: Settings) -> int | None:
    """Return the bytes that one announcement may have, with headers; None where no broker says so within seconds."""
    limit = None
    with suppress(NatsError, OSError, TimeoutError):
        async with connected_once(settings, seconds=LIMIT_SECONDS) as client:
            limit = client.max_payload
            with suppress(NotFoundError):  # the worker makes it, without a limit
                config = (await client.jetstream(timeout=LIMIT_SECONDS).stream_info(settings.unlock_stream)).config  # pyright: ignore[reportUnknownMemberType]
                if config.max_msg_size is not None and config.max_msg_size >= 0:
                    limit = min(limit, config.max_msg_size)
    return limit


async def listen(client: Client | Connection, subject: str, tell: Callable[[bytes], None]) -> None:
    """Call `tell` with the body of every message on a subject, from now on, for as long as the connection stands."""

    async def on_message(msg: Msg) -> None:
        tell(msg.data)

    await client.subscribe(subject, cb=on_message)  # pyright: ignore[reportUnknownMemberType]


class Published(NamedTuple):
    """What became of messages: new to the broker, known to it already, refused by it."""

    stored: int
    duplicates: int
    refused: tuple[Refused, ...]


class Publisher:
    """Publishes over one connection, and the next; `stored` and `duplicates` count what the broker said."""

    def __init__(self, client: Client | Connection) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._waiting: dict[int, tuple[Outgoing, float]] = {}
        self._heard = monotonic()
        self._moved = anyio.Event()
        self.stored = 0
        self.duplicates = 0
        self.refused: list[Refused] = []
        self._said = ""
        """Why something could not be sent, last of all."""

    async def publish(self, messages: Iterable[Outgoing], on_progress: Callable[[int], None]) -> None:
        """Publish messages in order, and wait until the broker has answered for each.

        Raises:
            BrokerAwayError: the broker has not answered for GIVE_UP_SECONDS.
        """
        self._heard = monotonic()
        subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._on_ack)  # pyright: ignore[reportUnknownMemberType]
        try:
            for number, message in enumerate(messages):
                while len(self._waiting) >= WINDOW:
                    await self._wait()
                await self._send(number, message)
                if number % 256 == 0:
                    on_progress(self.stored + self.duplicates)
                    # Sending to a socket that takes everything never yields.
                    await anyio.lowlevel.checkpoint()
            while self._waiting:
                await self._wait()
            on_progress(self.stored + self.duplicates)
        finally:
            with suppress(NatsError, OSError):
                await subscription.unsubscribe()

    async def _send(self, number: int, message: Outgoing) -> None:
        self._waiting[number] = (message, monotonic())
        headers = None if message.id is None else {"Nats-Msg-Id": message.id}
        try:
            await self._client.publish(message.subject, message.body, reply=f"{self._inbox}.{number}", headers=headers)
        except MaxPayloadError:
            del self._waiting[number]
            self.refused.append(Refused(message, f"{len(message.body)} bytes are more than the broker takes"))
        except (NatsError, OSError) as error:
            # Away for the moment: it is sent again, as what gets no acknowledgement.
            self._said = f"{type(error).__name__}: {error}"

    async def _wait(self) -> None:
        """Wait for acknowledgements; send again what has waited too long."""
        moved = self._moved = anyio.Event()
        with anyio.move_on_after(RESEND_SECONDS):
            await moved.wait()
        now = monotonic()
        if now - self._heard > GIVE_UP_SECONDS:
            raise BrokerAwayError(f"no acknowledgement for {GIVE_UP_SECONDS:.0f} s {self._said}".rstrip())
        if now - self._heard > RESEND_SECONDS:
            for number, (message, sent) in list(self._waiting.items()):
                if now - sent > RESEND_SECONDS:
                    await self._send(number, message)

    async def _on_ack(self, msg: Msg) -> None:
        number = int(msg.subject.rpartition(".")[2])
        if not msg.data:  # 503: nobody listens on the subject yet; it is sent again
            return
        known = self._waiting.pop(number, None)
        self._heard = monotonic()
        if known is not None:
            ack = _ack.decode(msg.data)
            if ack.error is not None:
                self.refused.append(Refused(known[0], ack.error.description))
            elif ack.duplicate:
                self.duplicates += 1
            else:
                self.stored += 1
        self._moved.set()

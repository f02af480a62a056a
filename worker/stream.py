"""JetStream, as the rest of the worker sees it.

Messages are pulled by requests of our own to one inbox, with two batches requested ahead: several times faster than the
client's `fetch`, and nothing that must not be cancelled. A lone message is handed on at once; under load whatever has
arrived meanwhile makes a batch. What is requested and what is buffered never exceeds two batches, so a slow database
holds the broker back, not the heap.

The `pyright: ignore` comments are for parameters that nats-py leaves without a type.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import APIError, NotFoundError

from worker.announcing import Announcer, Unanswered
from worker.client import TappingClient
from worker.message import DESCRIPTION, STATUS, Message, parse_deliveries, parse_delivery, parse_headers
from worker.retry import delays
from worker.settings import ENCODED, Settings
from worker.urls import is_clear, redacted, servers_of, shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

    from worker.announcing import Announcement
    from worker.frames import Frame

    Worth = Callable[[int, int], bool]
    """Tells whether so many messages, of so many bytes, are worth to be taken."""

CONNECT_SECONDS: Final = 5.0
"""For one attempt at a first connection, with everything that belongs to it."""
PING_SECONDS: Final = 5
"""Between two pings; two that are not answered, and the connection counts as lost."""
RECONNECT_SECONDS: Final = 0.25
REQUEST_SECONDS: Final = 5.0
"""For one request to the broker's API, an announcement included."""
PULL_SECONDS: Final = 30
"""Life of one pull request."""
HEARTBEAT_SECONDS: Final = 5
"""The broker says at least this often that a pull request lives."""
SILENCE_SECONDS: Final = 2.5 * HEARTBEAT_SECONDS
"""After which a pull request counts as lost."""
REMAKE_SECONDS: Final = 0.5
"""Before a stream or consumer is made again, at most. The broker tells of a deletion before it has deleted the files;
what is made meanwhile under the same name loses its own, and is broken until it is deleted in turn."""
CLOSE_SECONDS: Final = 5.0
TRIES: Final = 10
"""To announce what something else has come before, again and again."""
PULL_BYTES: Final = 16 * 1024 * 1024
"""Of one pull request, so that two of them are a bounded load however large the messages are."""
BATCH_BYTES: Final = 2 * 1024 * 1024
"""Of the bodies that are taken at a time, but for a single message that is larger. A batch that has so many is full."""

_SERVED: Final = frozenset({"409 Message Size Exceeds MaxBytes", "409 Batch Completed"})
_OUT_OF_REACH: Final = (NatsError, OSError, TimeoutError)
_NANOSECONDS: Final = 1_000_000_000
_UNREADABLE: Final = f"NATS_URL cannot be read: expected nats://user:password@host:port; {ENCODED}"

log = structlog.get_logger()


class BrokerAwayError(Exception):
    """The broker did not answer, or cannot at the moment: the same may be tried again."""


class BrokerMismatchError(Exception):
    """The broker has something else under a name that we need; the message says what."""


def _anything(messages: int, _size: int) -> bool:
    return messages > 0


class Broker:
    """One connection. Made by `open_broker`; it comes back by itself when the broker does."""

    def __init__(self, client: TappingClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._jetstream: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)  # pyright: ignore[reportUnknownMemberType]
        self._buffer: deque[Message] = deque()
        self._bytes = 0
        """Of the bodies in the buffer."""
        self._arrived = anyio.Event()
        self._waiting = False
        """Whether somebody waits for the next arrival: setting an event for each message of a full load costs."""
        self._worth: Worth = _anything
        self._requested = 0
        """Messages asked for and not delivered yet, as far as we know."""
        self._heard = monotonic()
        self._trouble: str | None = None
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._answers = client.new_inbox()
        self._answering = False
        self._announcer = Announcer(
            self._answers,
            {api.Header.EXPECTED_STREAM.value: settings.unlock_stream},
            id_header=api.Header.MSG_ID.value,
            after_header=api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value,
        )
        self._stopped = False

    @property
    def client(self) -> Client:
        """The connection itself, for whoever publishes in bulk."""
        return self._client

    @property
    def connected(self) -> bool:
        """Whether the connection stands at the moment."""
        return self._client.is_connected

    @property
    def buffered(self) -> int:
        """Messages that have arrived and were not handed on yet."""
        return len(self._buffer)

    # -- streams -------------------------------------------------------------------------------------------------------

    async def ensure(self) -> None:
        """Make the streams and the consumer where they are missing; leave what an operator made as it is.

        Raises:
            BrokerAwayError: try again.
            BrokerMismatchError: no use to try again.
        """
        wanted = self._settings
        try:
            await self._ensure_stream(wanted.input_stream, wanted.input_prefix)
            await self._ensure_stream(wanted.unlock_stream, wanted.unlock_prefix)
            await self._ensure_consumer()
        except APIError as error:
            if error.code is None or error.code >= 500:  # noqa: PLR2004 - as in HTTP
                raise BrokerAwayError(_said(error)) from error
            raise BrokerMismatchError(_said(error)) from error
        except _OUT_OF_REACH as error:
            raise BrokerAwayError(_said(error)) from error

    async def _ensure_stream(self, name: str, prefix: str) -> None:
        try:
            await self._jetstream.stream_info(name)
        except NotFoundError:
            await self._jetstream.add_stream(  # pyright: ignore[reportUnknownMemberType]
                api.StreamConfig(
                    name=name,
                    subjects=[f"{prefix}.>"],
                    retention=api.RetentionPolicy.LIMITS,
                    storage=api.StorageType.FILE,
                    duplicate_window=self._settings.duplicate_window,
                )
            )
            log.info("made stream", stream=name, subjects=f"{prefix}.>")

    async def _ensure_consumer(self) -> None:
        wanted = self._settings
        await self._jetstream.add_consumer(  # pyright: ignore[reportUnknownMemberType]
            wanted.input_stream,
            api.ConsumerConfig(
                durable_name=wanted.consumer,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=wanted.ack_wait,
                max_deliver=-1,  # poison is ended with a reason, by us
                # One batch in the database, one decoded, two on their way; times eight workers.
                max_ack_pending=max(1000, 32 * wanted.batch_size),
            ),
        )

    async def backlog(self) -> int:
        """Return how many messages are not acknowledged yet, delivered or not, by the broker's own count.

        Raises:
            BrokerAwayError: try again.
        """
        wanted = self._settings
        try:
            info = await self._jetstream.consumer_info(wanted.input_stream, wanted.consumer)
        except _OUT_OF_REACH as error:
            raise BrokerAwayError(_said(error)) from error
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    # -- pulling -------------------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Listen on the inbox that pull requests are answered to; it survives reconnections."""
        self._subscription = await self._client.tap(self._inbox, self._on_frames)

    def stop_pulling(self) -> None:
        """Let `next_batch` return None from now on."""
        self._stopped = True
        self._arrived.set()

    async def next_batch(
        self, worth: Worth = _anything, *, most: int | None = None, most_bytes: int = BATCH_BYTES
    ) -> list[Message] | None:
        """Wait for messages and return what has arrived, at most one batch, or `most`; None once we are stopped.

        `most_bytes` are of bodies, but for a single message that is larger. `worth` tells whether to return with so
        many messages of so many bytes; `look_again` says that it may have changed its mind.
        """
        self._worth = worth
        while not self._stopped:
            await self._revive()
            arrived = self._arrived = anyio.Event()
            self._waiting = True
            await self._request()
            if worth(len(self._buffer), self._bytes):
                break
            if self._trouble is None or not self._client.is_connected:
                with anyio.move_on_after(HEARTBEAT_SECONDS):
                    await arrived.wait()
        if self._stopped:
            return None
        batch = self._take(self._settings.batch_size if most is None else most, most_bytes)
        await self._request()
        return batch

    def look_again(self) -> None:
        """Let `next_batch` ask again whether what has arrived is worth taking."""
        self._arrived.set()

    def _take(self, most: int, most_bytes: int) -> list[Message]:
        batch: list[Message] = []
        size = 0
        while self._buffer and len(batch) < most:
            more = len(self._buffer[0].body)
            if batch and size + more > most_bytes:
                break
            size += more
            batch.append(self._buffer.popleft())
        self._bytes -= size
        return batch

    def _on_frames(self, frames: list[Frame]) -> None:
        self._heard = monotonic()
        messages = parse_deliveries(frames)
        if messages is not None:
            self._take_up(messages)
        else:
            for subject, reply, body, block in frames:
                message = parse_delivery(subject, body, block, reply)
                if message is not None:
                    self._take_up((message,))
                else:
                    self._on_status(parse_headers(block))
        if self._waiting and (self._trouble is not None or self._worth(len(self._buffer), self._bytes)):
            self._waiting = False
            self._arrived.set()

    def _take_up(self, messages: Sequence[Message]) -> None:
        self._requested = max(0, self._requested - len(messages))
        self._bytes += sum([len(message.body) for message in messages])
        self._buffer.extend(messages)

    def _on_status(self, headers: dict[str, str]) -> None:
        status = headers.get(STATUS, "")
        if status == "100":  # a heartbeat
            return
        unserved = headers.get("Nats-Pending-Messages", "")
        if unserved.isdigit():
            self._requested = max(0, self._requested - int(unserved))
        else:
            self._requested = 0
        said = f"{status} {headers.get(DESCRIPTION, '')}".strip()
        # A request that ran out, or was served as far as its bytes allow, is how things go.
        if status not in {"404", "408"} and said not in _SERVED:
            self._trouble = said

    def lost_requests(self) -> None:
        """After a reconnection: the broker has forgotten what was asked."""
        self._requested = 0
        self._heard = monotonic()
        self._arrived.set()
        self._announcer.lost()

    def look_after(self) -> None:
        """Make sure of streams and consumer before anything else is pulled: somebody has missed one of them."""
        self._trouble = self._trouble or "an announcement failed"
        self._arrived.set()

    async def _request(self) -> None:
        size = self._settings.batch_size
        if not self._client.is_connected:
            return
        while self._requested + len(self._buffer) <= size:
            want = {
                "batch": size,
                "max_bytes": PULL_BYTES,
                "expires": PULL_SECONDS * _NANOSECONDS,
                "idle_heartbeat": HEARTBEAT_SECONDS * _NANOSECONDS,
            }
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._settings.input_stream}.{self._settings.consumer}"
            if not await self._send(subject, json.dumps(want).encode(), reply=self._inbox):
                return
            self._requested += size

    async def _revive(self) -> None:
        """Look after the consumer where requests are refused, or nothing at all is heard any more."""
        silent = monotonic() - self._heard > SILENCE_SECONDS
        if not self._client.is_connected or (self._trouble is None and not silent):
            return
        log.warning("pulling again", because=self._trouble or "the broker is silent")
        self._trouble = None
        self._requested = 0
        self._heard = monotonic()
        for delay in delays(first=REMAKE_SECONDS):
            await anyio.sleep(delay)
            if self._stopped:
                return
            try:
                await self.ensure()
            except BrokerAwayError as error:
                log.warning("no answer from nats", server=shown(self._settings.nats_url), said=str(error))
            else:
                return

    # -- acknowledging -------------------------------------------------------------------------------------------------

    async def ack(self, messages: Iterable[Message]) -> None:
        """Tell the broker that messages are done with. Should that get lost, they come again as duplicates."""
        await self._send_each(messages, b"+ACK")

    async def terminate(self, message: Message, reason: str) -> None:
        """Tell the broker never to deliver a message again, and why."""
        await self._send(message.reply, f"+TERM {reason}".encode())

    def give_back(self, messages: Iterable[Message]) -> None:
        """Take messages back that will not be worked on; `release` returns them to the broker."""
        self._buffer.extend(messages)
        self._bytes = sum([len(message.body) for message in self._buffer])

    async def keep(self, messages: Iterable[Message]) -> None:
        """Tell the broker that messages are still being worked on."""
        await self._send_each(messages, b"+WPI")

    async def keep_buffered(self) -> None:
        """The same of what has arrived and was not handed on yet."""
        await self.keep(self._buffer)

    async def _send_each(self, messages: Iterable[Message], body: bytes) -> None:
        try:
            await self._client.publish_each([message.reply for message in messages], body)
        except _OUT_OF_REACH as error:
            log.debug("not sent", body=body, said=_said(error))

    async def _send(self, subject: str, body: bytes, reply: str = "") -> bool:
        """Send without an answer; False where even that is impossible now. Whatever is lost is asked for again."""
        try:
            await self._client.publish(subject, body, reply=reply)
        except _OUT_OF_REACH as error:
            log.debug("not sent", subject=subject, said=_said(error))
            return False
        return True

    # -- publishing ----------------------------------------------------------------------------------------------------

    async def publish(
        self, subject: str, body: bytes, *, message_id: str | None = None, headers: dict[str, str] | None = None
    ) -> bool:
        """Publish one message; return False where the broker knows its id already.

        Raises:
            BrokerAwayError: it may have arrived or not; try again with the same id.
        """
        headers = {**(headers or {}), **({api.Header.MSG_ID.value: message_id} if message_id else {})}
        try:
            ack = await self._jetstream.publish(subject, body, headers=headers or None)
        except _OUT_OF_REACH as error:
            raise BrokerAwayError(_said(error)) from error
        return not ack.duplicate

    async def announce(self, announcements: Sequence[Announcement]) -> dict[str, bool]:
        """Publish messages on subjects of their own; return per id whether it was news to the broker.

        Raises:
            BrokerAwayError: they may have arrived or not; try again.
        """
        try:
            if not self._answering:
                await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                    f"{self._answers}.*", cb=self._on_answer
                )
                self._answering = True
            news: dict[str, bool] = {}
            for _ in range(TRIES):
                said = await self._announcer.announce(announcements, self._client.publish_all)
                if isinstance(said, Unanswered):
                    raise BrokerAwayError(said.said)
                news |= {name: bool(new) for name, new in said.items()}
                refused = [one for one in announcements if said[one.id] is None] if None in said.values() else []
                announcements = [behind for one in refused if (behind := await self._forestalled(one)) is not None]
                if not announcements:
                    return news
        except _OUT_OF_REACH as error:
            raise BrokerAwayError(_said(error)) from error
        raise BrokerAwayError(f"something else comes to {announcements[0].subject} again and again")

    async def _forestalled(self, refused: Announcement) -> Announcement | None:
        """Return an announcement that was refused for something that is none, to be made behind that; else None.

        A producer can name the subject of an unlock as the one to be answered on. The broker writes its answer there
        and asks for no permission.
        """
        try:
            there = await self._jetstream.get_last_msg(self._settings.unlock_stream, refused.subject)
        except NotFoundError:
            return None  # it was purged since
        # An answer has none. What has one came from a publisher with permission.
        if api.Header.MSG_ID.value in (there.headers or {}):  # pyright: ignore[reportUnknownMemberType]
            return None
        log.warning("something else stood where an unlock is announced", subject=refused.subject, seq=there.seq)
        return refused._replace(after=there.seq or 0)

    async def _on_answer(self, msg: Msg) -> None:
        self._announcer.answer(msg.subject, msg.data)

    async def release(self) -> None:
        """Return what is buffered, so that another worker gets it at once, and let everything sent arrive."""
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                # First of all nobody must listen here any more, or the broker would send it back to us.
                if self._subscription is not None:
                    await self._subscription.drain()
                for message in self._buffer:
                    await self._send(message.reply, b"-NAK")
                await self._client.flush()
            except _OUT_OF_REACH as error:
                log.debug("not released", said=_said(error))


@asynccontextmanager
async def open_broker(settings: Settings) -> AsyncGenerator[Broker]:
    """Connect, however long that takes, make sure of the streams, and give the broker for the length of a block.

    Raises:
        BrokerMismatchError: the broker has something else under our names, or NATS_URL is no URL.
    """
    if not all(map(is_clear, servers_of(settings.nats_url))):
        # What the library says of it would quote it.
        raise BrokerMismatchError(_UNREADABLE)
    link = _Link(settings)
    try:
        broker = await link.connect()
        for delay in delays():
            try:
                await broker.ensure()
                break
            except BrokerAwayError as error:
                log.warning("nats is not ready", server=shown(settings.nats_url), said=str(error))
            await anyio.sleep(delay)
        yield broker
        await broker.release()
    finally:
        await link.close()


class _Link:
    """The connection's life: first attempts, losses, returns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = TappingClient()
        self._broker: Broker | None = None
        self._said = ""

    async def connect(self) -> Broker:
        for delay in delays():
            self._client = TappingClient()
            try:
                with anyio.fail_after(CONNECT_SECONDS):
                    await self._client.connect(**self._options())
            except _OUT_OF_REACH as error:
                log.warning(
                    "nats cannot be reached",
                    server=shown(self._settings.nats_url),
                    said=self._said or self._quoted(error),
                    retry_in=round(delay, 1),
                )
            else:
                self._broker = Broker(self._client, self._settings)
                return self._broker
            await self.close()
            await anyio.sleep(delay)
        raise AssertionError("delays() never ends")

    async def close(self) -> None:
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            try:
                await self._client.close()
            except _OUT_OF_REACH as error:
                log.debug("not closed", said=_said(error))

    def _options(self) -> dict[str, Any]:
        return {
            "servers": servers_of(self._settings.nats_url),
            "name": "ach",
            "connect_timeout": CONNECT_SECONDS,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_SECONDS,
            "ping_interval": PING_SECONDS,
            "max_outstanding_pings": 2,
            # Subjects are made of tokens that are checked where they are made.
            "skip_subject_validation": True,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_loss,
            "reconnected_cb": self._on_return,
        }

    async def _on_error(self, error: Exception) -> None:
        # While the broker is away every attempt says the same.
        said = self._quoted(error)
        if said != self._said:
            self._said = said
            if self._broker is not None:
                log.warning("trouble with nats", server=shown(self._settings.nats_url), said=said)

    def _quoted(self, error: BaseException) -> str:
        """Return what an error says, which may quote the URL, without secrets."""
        return redacted(_said(error), self._settings.nats_url)

    async def _on_loss(self) -> None:
        if not self._client.is_closed:
            log.warning("lost nats", server=shown(self._settings.nats_url))

    async def _on_return(self) -> None:
        self._said = ""
        log.info("nats is back", server=shown(self._settings.nats_url))
        if self._broker is not None:
            self._broker.lost_requests()


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")

"""JetStream, as the rest of the worker sees it: streams and consumer, acknowledging, publishing, announcing.

How messages are pulled is in pulling.py; what becomes of the connection in connection.py.

The `pyright: ignore` comments are for parameters that nats-py leaves without a type.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
import structlog
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import APIError, NotFoundError

from worker.broker.announce import Announcer, Told, Unanswered
from worker.broker.connection import (
    OUT_OF_REACH,
    BrokerAwayError,
    BrokerMismatchError,
    Connection,
    Watcher,
    said_by,
)
from worker.broker.consumer import Existing, doubts, enough_pending, unfit
from worker.broker.pull import BATCH_BYTES, PULL_BYTES, SILENCE_SECONDS, Puller
from worker.retry import delays
from worker.urls import shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

    from worker.broker.announce import Announcement
    from worker.broker.client import TappingClient
    from worker.contract.message import Message
    from worker.settings import Settings

__all__ = ["BATCH_BYTES", "PULL_BYTES", "Broker", "BrokerAwayError", "BrokerMismatchError", "open_broker"]

REQUEST_SECONDS: Final = 5.0
"""For one request to the broker's API, an announcement included."""
REMAKE_SECONDS: Final = 0.5
"""Before a stream or consumer is made again, at most. The broker tells of a deletion before it has deleted the files;
what is made meanwhile under the same name loses its own, and is broken until it is deleted in turn."""
TRIES: Final = 10
"""To announce what something else has come before, again and again."""
RELEASE_SECONDS: Final = 5.0
GONE_SECONDS: Final = 2 * SILENCE_SECONDS
"""Of silence, which are what it takes to ask a broker that may just have nothing to say, and to wait for the answer."""
OWED: Final = 100_000
"""Acknowledgements that are kept while the broker is away; of what is lost beyond, copies come."""
_NOT_FOUND: Final = 404
_CONSUMER_EXISTS: Final = 10148

log = structlog.get_logger()


class _Fault(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    """What the API tells of a consumer."""

    config: Existing | None = None
    error: _Fault | None = None


_answer = msgspec.json.Decoder(_Answer)


class Broker(Puller, Watcher):
    """The broker, over one connection. Made by `open_broker`; it comes back by itself when the broker does.

    What was pulled over a connection that is lost is worked on, and acknowledged over the next one: an acknowledgement
    is a message on a subject that tells all, and the broker takes it from anybody. Requests and announcements without
    an answer are made again.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        super().__init__(settings, connection.new_inbox())
        self._connection = connection
        self._jetstream: JetStreamContext = connection.jetstream(timeout=REQUEST_SECONDS)
        self._subscription: Subscription | None = None
        self._answers = connection.new_inbox()
        self._answering = False
        self._owed: deque[str] = deque(maxlen=OWED)
        """Where acknowledgements are waited for that could not be sent."""
        self._doubts: list[str] = []
        """What makes work slow or lossy with the consumer as it is."""
        self._told: set[str] = set()
        """Those that are in the log."""
        self._announcer = Announcer(
            self._answers,
            {api.Header.EXPECTED_STREAM.value: settings.unlock_stream},
            id_header=api.Header.MSG_ID.value,
            after_header=api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value,
        )
        connection.watch(self)

    @property
    def client(self) -> Connection:
        """The connection itself, for whoever publishes in bulk."""
        return self._connection

    @property
    def _client(self) -> TappingClient:
        return self._connection.client

    @property
    def connected(self) -> bool:
        """Whether the connection stands at the moment."""
        return self._connection.connected

    @property
    def missing(self) -> str:
        """Why no events come from the broker, "" where they may come."""
        if not self.connected:
            return "nats"
        return f"nats ({self._unserved})" if self._unserved else ""

    @property
    def silent_seconds(self) -> float:
        """Seconds since the broker last did what was asked of it."""
        return monotonic() - self._answered

    @property
    def gone_seconds(self) -> float:
        """The same where the broker is away, or has been asked and is silent; else 0."""
        silent = self.silent_seconds
        return 0.0 if self.connected and silent < GONE_SECONDS else silent

    # -- life of the connection ----------------------------------------------------------------------------------------

    def lost(self) -> None:
        """Let whoever waits for answers try again."""
        self._announcer.lost()

    async def returned(self) -> None:
        """Ask anew on another connection, and send the acknowledgements that are owed."""
        self._jetstream = self._connection.jetstream(timeout=REQUEST_SECONDS)
        self._answering = False
        self._forget_requests()
        owed = [*self._owed]
        self._owed.clear()
        await self._send_each(owed, b"+ACK")

    def refused(self, said: str) -> None:
        """Take note where it is pulling that the broker refuses."""
        if f'"{self._pull_subject}"' in said or f'"{self._inbox}"' in said:
            self._unserved = said

    async def attend(self) -> None:
        """Ask something of a broker that has not been heard for a while, though nothing may have been asked of it."""
        if self.connected and self.silent_seconds > SILENCE_SECONDS:
            try:
                await self._ask_api("INFO")
            except OUT_OF_REACH as error:
                log.warning("no answer from nats", server=shown(self._settings.nats_url), said=said_by(error))

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
            existing = await self._ensure_consumer()
        except APIError as error:
            if error.code is None or error.code >= 500:  # noqa: PLR2004 - as in HTTP
                raise BrokerAwayError(said_by(error)) from error
            raise BrokerMismatchError(said_by(error)) from error
        except OUT_OF_REACH as error:
            raise BrokerAwayError(said_by(error)) from error
        if (flaw := unfit(existing)) is not None:
            raise BrokerMismatchError(f"consumer {wanted.consumer} of stream {wanted.input_stream} is no use: {flaw}")
        self._limit_to(existing)
        self._doubts = doubts(existing, wanted)

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

    async def _ensure_consumer(self) -> Existing:
        answer = await self._ask_api("INFO")
        if answer.error is not None and answer.error.code == _NOT_FOUND:
            wanted = self._settings
            config = api.ConsumerConfig(
                durable_name=wanted.consumer,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=wanted.ack_wait,
                max_deliver=-1,  # poison is ended with a reason, by us
                max_ack_pending=enough_pending(wanted),
            )
            # Should somebody make another one meanwhile, that one stays as it is.
            made = {"stream_name": wanted.input_stream, "config": config.as_dict(), "action": "create"}
            answer = await self._ask_api("DURABLE.CREATE", json.dumps(made).encode())
            if answer.error is None:
                log.info("made consumer", stream=wanted.input_stream, consumer=wanted.consumer)
            elif answer.error.err_code == _CONSUMER_EXISTS:
                answer = await self._ask_api("INFO")
        if answer.error is not None or answer.config is None:
            fault = answer.error or _Fault(code=500, description="no consumer")
            raise APIError(code=fault.code, err_code=fault.err_code, description=fault.description)
        return answer.config

    async def _ask_api(self, what: str, body: bytes = b"") -> _Answer:
        """Ask something about the consumer; the library's own way drops the limits that it does not know."""
        wanted = self._settings
        subject = f"$JS.API.CONSUMER.{what}.{wanted.input_stream}.{wanted.consumer}"
        said = await self._client.request(subject, body, timeout=REQUEST_SECONDS)
        self._answered = monotonic()
        try:
            return _answer.decode(said.data)
        except msgspec.DecodeError as error:
            raise NatsError(f"an answer that is none: {error}") from error

    async def backlog(self) -> int:
        """Return how many messages are not acknowledged yet, delivered or not, by the broker's own count.

        Raises:
            BrokerAwayError: try again.
        """
        wanted = self._settings
        try:
            info = await self._jetstream.consumer_info(wanted.input_stream, wanted.consumer)
        except OUT_OF_REACH as error:
            raise BrokerAwayError(said_by(error)) from error
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    # -- pulling -------------------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Listen on the inbox that pull requests are answered to, over whatever connection there is."""
        self._tell_doubts()
        await self._connection.bind(self._listen)

    def _tell_doubts(self) -> None:
        for doubt in self._doubts:
            if doubt not in self._told:
                log.warning("the consumer stays as it was made", consumer=self._settings.consumer, said=doubt)
        self._told.update(self._doubts)

    async def _listen(self, client: TappingClient) -> None:
        self._subscription = await client.tap(self._inbox, self._on_frames)

    def look_after(self) -> None:
        """Make sure of streams and consumer before anything else is pulled: somebody has missed one of them."""
        self._trouble = self._trouble or "an announcement failed"
        self._arrived.set()

    async def _remake(self) -> None:
        for delay in delays(first=REMAKE_SECONDS):
            await anyio.sleep(delay)
            if self._stopped:
                return
            try:
                await self.ensure()
            except BrokerAwayError as error:
                log.warning("no answer from nats", server=shown(self._settings.nats_url), said=str(error))
            else:
                self._tell_doubts()
                return

    # -- acknowledging -------------------------------------------------------------------------------------------------

    async def ack(self, messages: Iterable[Message]) -> None:
        """Tell the broker that messages are done with. Should that get lost, they come again as duplicates."""
        replies = [message.reply for message in messages]
        if not await self._send_each(replies, b"+ACK"):
            self._owed.extend(replies)
        self._done_with(replies)

    async def terminate(self, message: Message, reason: str) -> None:
        """Tell the broker never to deliver a message again, and why."""
        await self._send(message.reply, f"+TERM {reason}".encode())
        self._done_with((message.reply,))

    async def keep(self, messages: Iterable[Message]) -> None:
        """Tell the broker that messages are still being worked on."""
        await self._send_each([message.reply for message in messages], b"+WPI")

    async def keep_buffered(self) -> None:
        """The same of what has arrived and was not handed on yet."""
        await self.keep(self._buffer)

    async def _send_each(self, replies: Sequence[str], body: bytes) -> bool:
        try:
            await self._client.publish_each(replies, body)
        except OUT_OF_REACH as error:
            log.debug("not sent", body=body, said=said_by(error))
            return False
        return True

    async def _send(self, subject: str, body: bytes, reply: str = "") -> bool:
        """Send without an answer; False where even that is impossible now. Whatever is lost is asked for again."""
        try:
            await self._client.publish(subject, body, reply=reply)
        except OUT_OF_REACH as error:
            log.debug("not sent", subject=subject, said=said_by(error))
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
        except OUT_OF_REACH as error:
            raise BrokerAwayError(said_by(error)) from error
        return not ack.duplicate

    async def announce(self, announcements: Sequence[Announcement]) -> Told:
        """Publish messages on subjects of their own; return what became of each, by id.

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
            refused: dict[str, str] = {}
            for _ in range(TRIES):
                said = await self._announcer.announce(announcements, self._client.publish_all)
                if isinstance(said, Unanswered):
                    raise BrokerAwayError(said.said)
                refused |= said.refused
                news |= said.news | dict.fromkeys(said.forestalled, False)
                there = [one for one in announcements if one.id in said.forestalled] if said.forestalled else []
                announcements = [behind for one in there if (behind := await self._forestalled(one)) is not None]
                if not announcements:
                    return Told(news, refused)
        except OUT_OF_REACH as error:
            raise BrokerAwayError(said_by(error)) from error
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
        with anyio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                # First of all nobody must listen here any more, or the broker would send it back to us.
                self._connection.unbind(self._listen)
                if self._subscription is not None:
                    await self._subscription.drain()
                for message in self._buffer:
                    await self._send(message.reply, b"-NAK")
                await self._connection.flush()
            except OUT_OF_REACH as error:
                log.debug("not released", said=said_by(error))


@asynccontextmanager
async def open_broker(settings: Settings, *, patience: float | None = None) -> AsyncGenerator[Broker]:
    """Connect, make sure of the streams, and give the broker for the length of a block.

    A broker that is away is waited for, however long that takes, or for `patience` seconds.

    Raises:
        BrokerMismatchError: the broker has something else under our names.
        BrokerAwayError: it was waited for in vain.
    """
    connection = Connection(settings)
    try:
        broker: Broker | None = None
        with anyio.move_on_after(patience):
            broker = await _ready(connection, settings)
        if broker is None:
            raise BrokerAwayError(f"no use of it for {patience:.0f} s: {connection.said or 'no answer'}")
        yield broker
        await broker.release()
    finally:
        await connection.close()


async def _ready(connection: Connection, settings: Settings) -> Broker:
    await connection.open()
    broker = Broker(connection, settings)
    for delay in delays():
        try:
            await broker.ensure()
            break
        except BrokerAwayError as error:
            connection.said = connection.said or str(error)
            log.warning("nats is not ready", server=shown(settings.nats_url), said=str(error))
        await anyio.sleep(delay)
    return broker

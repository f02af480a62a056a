"""JetStream, as the rest of the worker sees it: streams and consumer, acknowledging, publishing, announcing.

How messages are pulled is in pull.py, how a connection that is lost is replaced in connection.py.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.broker.announce import Announcer
from worker.broker.api import REQUEST_SECONDS, ApiError
from worker.broker.connection import Connection, Watcher
from worker.broker.error_text import denies_publishing, names_subject
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, BrokerMismatchError, in_words
from worker.broker.group import Member
from worker.broker.group_store import GroupStore
from worker.broker.provision import consumer_info, ensure
from worker.broker.pull import BATCH_BYTES, PULL_BYTES, SILENCE_SECONDS, Puller
from worker.broker.waiting import waiting
from worker.broker.window import LOST, Fate, Outgoing
from worker.retry import delays
from worker.urls import shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from worker.broker.announce import Announced, Announcement
    from worker.broker.client import BrokerClient, Subscription
    from worker.contract.message import Message
    from worker.engine.observed import Backlog
    from worker.settings import Settings

__all__ = ["BATCH_BYTES", "PULL_BYTES", "Broker", "BrokerAwayError", "BrokerMismatchError", "open_broker"]

REMAKE_SECONDS: Final = 0.5
"""Before a stream or consumer is made again, at most. The broker reports a deletion before it has deleted the files:
what is made meanwhile under the same name loses its own, and is broken until it is deleted in turn."""
RELEASE_SECONDS: Final = 5.0
GONE_SECONDS: Final = 2 * SILENCE_SECONDS
"""Of silence: what it takes to ask a broker that may just have nothing to say, and to wait for the answer."""
AGE_SECONDS: Final = 600.0
"""Until the age of the oldest message is asked for again, after no answer."""
OWED: Final = 100_000
"""Acknowledgements that are kept while the broker is away; for what is lost beyond, copies come."""

log = structlog.get_logger()


class Broker(Puller, Watcher):
    """The broker, over one connection. `open_broker` makes it; it comes back by itself when the broker does.

    What was pulled over a connection that is lost is still worked on, and acknowledged over the next one: the subject
    of an acknowledgement says all that the broker needs. Requests and announcements without an answer are made again.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        super().__init__(settings, connection.new_inbox())
        self._connection = connection
        self._subscription: Subscription | None = None
        self._owed: deque[str] = deque(maxlen=OWED)
        """Reply subjects of messages whose acknowledgement could not be sent."""
        self._remade = anyio.Event()
        self._announcer = Announcer(connection.window, settings.unlock_stream)
        self._group = None if settings.group is None else GroupStore(settings, settings.group)
        self.member: Member | None = None
        """This worker in its group, from `join` on."""
        self.denied = False
        """Whether the broker has forbidden the last announcements."""
        self._age_at = 0.0
        """When to ask again how old the oldest message is, of `monotonic`: if that is not answered, seldom."""
        connection.watch(self)

    @property
    def client(self) -> Connection:
        """The connection itself, to publish in bulk."""
        return self._connection

    @property
    def _client(self) -> BrokerClient:
        return self._connection.client

    @property
    def connected(self) -> bool:
        """Whether the connection stands at the moment."""
        return self._connection.connected

    @property
    def missing(self) -> str:
        """Why no events come from the broker, "" if they may come."""
        if not self.connected:
            return "nats"
        if self._unserved:
            return f"nats ({self._unserved})"
        return f"nats (it forbids publishing to {self._settings.unlock_prefix}.>)" if self.denied else ""

    @property
    def silent_seconds(self) -> float:
        """Seconds since the broker last did what was asked of it."""
        return monotonic() - self._answered

    @property
    def gone_seconds(self) -> float:
        """The same if the broker is away, or was asked and is silent; else 0."""
        silent = self.silent_seconds
        return 0.0 if self.connected and silent < GONE_SECONDS else silent

    # -- life of the connection ----------------------------------------------------------------------------------------

    async def returned(self) -> None:
        """Request messages on another connection, and send the acknowledgements that are owed."""
        self._forget_requests()
        self.denied = False
        owed = [*self._owed]
        self._owed.clear()
        await self._send_each(owed, b"+ACK")

    def refused(self, said: str) -> None:
        """Note if it is pulling that the broker refuses."""
        if any(names_subject(said, name) for name in (self._inbox, *(way.subject for way in self._ways))):
            self._unserved = said
        self.denied = self.denied or denies_publishing(said, self._settings.unlock_prefix)

    async def answers(self) -> bool:
        """Tell whether the broker answers a ping; a frozen one takes seconds to say that it does not."""
        return await self._connection.answers()

    async def attend(self) -> None:
        """Ask something of a broker that has been silent for a while; there may have been nothing to say."""
        if self.connected and self.silent_seconds > SILENCE_SECONDS:
            try:
                await self._ask_backlog()
            except ApiError as error:
                log.debug("nats refuses what it was asked", said=str(error))
            except (BrokerAwayError, *OUT_OF_REACH) as error:
                log.warning("no answer from nats", server=shown(self._settings.nats_url), said=in_words(error))
                return
            self._answered = monotonic()

    # -- streams -------------------------------------------------------------------------------------------------------

    async def ensure(self) -> None:
        """Make the streams and the consumer where they are missing; leave what an operator made as it is.

        Raises:
            BrokerAwayError: try again.
            BrokerMismatchError: trying again does not help.
        """
        consumer = await ensure(self._client, self._settings, self._group)
        self._answered = monotonic()
        self._limit_to(consumer)

    async def backlog(self) -> int:
        """Return how many messages are not acknowledged yet, delivered or not, by the broker's own count.

        Raises:
            BrokerAwayError: try again.
        """
        try:
            return await self._ask_backlog()
        except (ApiError, *OUT_OF_REACH) as error:
            raise BrokerAwayError(in_words(error)) from error

    async def _ask_backlog(self) -> int:
        if self._group is not None:
            return await self._group.backlog(self._client)
        info = await consumer_info(self._client, self._settings)
        return info.num_pending + info.num_ack_pending

    async def waiting(self) -> Backlog:
        """Return what the consumer, or the group, has not acknowledged, and how old that is if the broker says so.

        Raises:
            BrokerAwayError: try again.
        """
        oldest = monotonic() >= self._age_at
        try:
            if self._group is not None:
                return await self._group.waiting(self._client)
            try:
                return await waiting(self._client, self._settings, oldest=oldest)
            except TimeoutError:
                # Without the right to ask for messages there is no answer, and each question is an error.
                self._age_at = monotonic() + AGE_SECONDS
                return await waiting(self._client, self._settings, oldest=False)
        except (ApiError, *OUT_OF_REACH) as error:
            raise BrokerAwayError(in_words(error)) from error

    # -- the group -----------------------------------------------------------------------------------------------------

    def join(self, worker_id: UUID, busy: Callable[[], bool]) -> None:
        """Become a member of the group, if the settings name one: `member.run` is to be run then."""
        if self._group is not None:
            self.member = Member(
                self._settings, self._group, self._connection, self, worker_id=str(worker_id), busy=busy
            )

    # -- pulling -------------------------------------------------------------------------------------------------------

    async def subscribe(self) -> None:
        """Listen on the inbox of the pull requests, over whatever connection there is."""
        await self._connection.bind(self._listen)

    async def remade(self) -> None:
        """Return once streams or consumer may have been made anew, perhaps with other settings."""
        await self._remade.wait()
        self._remade = anyio.Event()

    async def _listen(self, client: BrokerClient) -> None:
        # In a group each consumer has answers of its own: those about one that is deleted are not about the next.
        inbox = self._inbox if self._group is None else f"{self._inbox}.*"
        self._subscription = await client.tap(inbox, self._on_frames)

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
                if self.member is not None:
                    self.member.lost()
                self._remade.set()
                return

    # -- acknowledging -------------------------------------------------------------------------------------------------

    async def ack(self, messages: Iterable[Message]) -> None:
        """Tell the broker that messages are done with. If that is lost, they come again as duplicates."""
        replies = [message.reply for message in messages]
        if not await self._send_each(replies, b"+ACK"):
            self._owed.extend(replies)
        self._done_with(replies)

    async def terminate(self, message: Message, reason: str) -> None:
        """Tell the broker not to deliver a message again, and why."""
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
            log.debug("not sent", body=body, said=in_words(error))
            return False
        return True

    async def _send(self, subject: str, body: bytes, reply: str = "") -> bool:
        """Send without an answer; return False if even that is impossible now. What is lost is asked for again."""
        try:
            await self._client.publish(subject, body, reply=reply)
        except OUT_OF_REACH as error:
            log.debug("not sent", subject=subject, said=in_words(error))
            return False
        return True

    # -- publishing ----------------------------------------------------------------------------------------------------

    async def publish(
        self, subject: str, body: bytes, *, message_id: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bool:
        """Publish one message; return False if the broker knows its id already. Names and values of headers are ours.

        Raises:
            BrokerAwayError: it may have arrived or not; try again with the same id.
        """
        try:
            this = await self._connection.window.answers(
                [Outgoing(subject, body, message_id, headers or {}).parts], REQUEST_SECONDS
            )
        except OUT_OF_REACH as error:
            raise BrokerAwayError(in_words(error)) from error
        (answer,) = this.answers
        if answer is None:
            raise BrokerAwayError(LOST if this.is_lost else f"no answer for {REQUEST_SECONDS:.0f} s")
        if answer.fate not in {Fate.NEW, Fate.COPY}:
            raise BrokerAwayError(answer.said)
        return answer.fate is Fate.NEW

    async def announce(self, announcements: Sequence[Announcement]) -> Announced:
        """Publish messages on subjects of their own; return what became of each, by id.

        Raises:
            BrokerAwayError: they may have arrived or not; try again.
        """
        announced = await self._announcer.announce(self._client, announcements)
        if self.denied and announced.new:
            self.denied = False
        return announced

    async def release(self) -> None:
        """Return what is buffered, so that another worker gets it at once, and let everything sent arrive."""
        with anyio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                # Listen no more before anything is returned, or the broker would send it here again.
                self._connection.unbind(self._listen)
                if self._subscription is not None:
                    await self._subscription.drain()
                for message in self._buffer:
                    await self._send(message.reply, b"-NAK")
                await self._connection.flush()
            except OUT_OF_REACH as error:
                log.debug("not released", said=in_words(error))


@asynccontextmanager
async def open_broker(settings: Settings, *, patience: float | None = None) -> AsyncGenerator[Broker]:
    """Connect, make sure of the streams, and give the broker for the length of a block.

    Wait for a broker that is away, however long that takes, or for `patience` seconds.

    Raises:
        BrokerMismatchError: the broker has something else under our names.
        BrokerAwayError: it was away for longer.
    """
    connection = Connection(settings)
    try:
        broker: Broker | None = None
        with anyio.move_on_after(patience):
            broker = await _ready(connection, settings)
        if broker is None:
            raise BrokerAwayError(f"it cannot be used for {patience:.0f} s: {connection.said or 'no answer'}")
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

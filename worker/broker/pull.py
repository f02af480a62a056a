"""Pulling: what is requested, what has arrived, and what the broker says about requests.

We send requests of our own, to one inbox, for two batches ahead: several times faster than nats-py's `fetch`, and any
step may be cancelled. A lone message is handed on at once; under load a batch is whatever has arrived meanwhile.
Requested and buffered are two batches at most, so a slow database holds back the broker, and the heap stays small.

A request does not get a message that is larger than the bytes it may bring. We request such a message alone, and the
next one when it has been acknowledged: one at a time, however many there are.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.broker.consumer import Existing, Wanted, allowed
from worker.broker.deliveries import parse_deliveries, parse_delivery
from worker.broker.error_text import COMPLETED, TOO_LARGE
from worker.contract.message import DESCRIPTION, STATUS, Message, parse_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.broker.consumer import Allowed
    from worker.broker.protocol import Frame
    from worker.settings import Settings

    Worth = Callable[[int, int], bool]
    """Tells whether so many messages, of so many bytes, are worth taking."""

PULL_SECONDS: Final = 30
"""Life of one pull request."""
HEARTBEAT_SECONDS: Final = 5
"""The broker says at least this often that a pull request lives."""
SILENCE_SECONDS: Final = 2.5 * HEARTBEAT_SECONDS
"""After which a pull request counts as lost."""
PULL_BYTES: Final = 16 * 1024 * 1024
"""One pull request may bring so many, so that two are a bounded load however large the messages are."""
BATCH_BYTES: Final = 2 * 1024 * 1024
"""Bodies that are taken at a time have so many; a single larger message is taken too. With so many a batch is full."""

_AWAY: Final = "503"
_NANOSECONDS: Final = 1_000_000_000

log = structlog.get_logger()


def anything(messages: int, _size: int) -> bool:
    """Tell that whatever has arrived is worth taking."""
    return messages > 0


class _Alone:
    """What is known about a message that is larger than a request may bring."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether one is next."""
        self.asked = False
        """Whether a request for it alone is on its way."""
        self.held: str | None = None
        """The reply subject of one that was delivered and is not acknowledged yet."""
        self.way: _Way | None = None
        """From where it comes."""

    @property
    def may_ask(self) -> bool:
        return self.wanted and not self.asked and self.held is None


class _Way:
    """A consumer that is pulled from: where requests go, and where the answers come."""

    def __init__(self, api: str, stream: str, consumer: str, reply: str) -> None:
        self.subject = f"{api}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self.reply = reply
        self.name = f".{stream}.{consumer}."
        """What the reply subjects of its messages have, whether a domain stands in front or not."""
        self.requested = 0
        """Of it alone; where it is the only one, the puller's own count is looked at."""

    def got(self, messages: int) -> None:
        """Count so many messages as not requested any more."""
        self.requested = max(0, self.requested - messages)


class Puller(ABC):
    """Requests messages and keeps them until they are taken."""

    def __init__(self, settings: Settings, inbox: str) -> None:
        self._settings = settings
        self._inbox = inbox
        self._partitioned = settings.group is not None
        """Whether subjects begin with the partition, as in the stream of a group."""
        self._ways: list[_Way] = []
        """What is pulled from; nothing while a member of a group has no partitions."""
        if not self._partitioned:
            self._ways.append(_Way(settings.identity.api, settings.input_stream, settings.consumer, inbox))
        self._made = 0
        self._buffer: deque[Message] = deque()
        self._bytes = 0
        """Of the bodies in the buffer."""
        self._arrived = anyio.Event()
        self._waiting = False
        """Whether a task waits for the next arrival: under full load an event for each message costs too much."""
        self._worth: Worth = anything
        self._requested = 0
        """Messages requested and not delivered yet, as far as we know."""
        self._heard = monotonic()
        """When a request was last answered, or requests began again."""
        self._answered = self._heard
        """When the broker last did what was asked of it."""
        self._behind = 0
        self._trouble: str | None = None
        self._unserved = ""
        """Why requests have not been served for a while; "" if they are."""
        self._alone = _Alone()
        self._stopped = False
        self._limit_to(Existing())

    @property
    def buffered(self) -> int:
        """Messages that have arrived and are not handed on yet."""
        return len(self._buffer)

    @property
    def heard_at(self) -> float:
        """When the broker last sent anything to us, of `monotonic`."""
        return self._heard

    @property
    def behind(self) -> int:
        """Messages that the broker had for us beyond the last one that arrived, by its own count.

        0 where the consumer delivers no two batches without an acknowledgement: they may not be on their way.
        """
        return 0 if self._scarce else self._behind

    @property
    def ack_wait(self) -> float:
        """Seconds until the broker delivers again what was not acknowledged: the consumer's own."""
        return self._allowed.ack_wait

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the connection stands at the moment."""

    @abstractmethod
    async def _send(self, subject: str, body: bytes, reply: str = "") -> bool:
        """Send without an answer; return False if even that is impossible now."""

    @abstractmethod
    async def _remake(self) -> None:
        """Make sure of streams and consumer, since requests are not served."""

    def _limit_to(self, existing: Existing) -> None:
        """Request from now on what a consumer allows."""
        self._allowed: Allowed = allowed(existing, self._settings, Wanted(PULL_BYTES, PULL_SECONDS))
        self._scarce = 0 < existing.max_ack_pending < 2 * self._settings.batch_size
        expires = self._allowed.expires
        self._life = {
            "expires": int(expires * _NANOSECONDS),
            # The broker refuses a heartbeat of more than half of a request's life.
            "idle_heartbeat": int(min(HEARTBEAT_SECONDS, expires * 0.4) * _NANOSECONDS),
        }

    # -- what is pulled from, in a group -------------------------------------------------------------------------------

    def pull_from(self, stream: str, consumers: Sequence[str]) -> None:
        """Pull from other consumers from now on."""
        # The broker has something to say about requests to those before: that is not about these.
        self._made += 1
        self._ways = [
            _Way(self._settings.identity.api, stream, consumer, f"{self._inbox}.{self._made}_{number}")
            for number, consumer in enumerate(consumers)
        ]
        self._trouble = None
        self._forget_requests()

    def pull_nothing(self) -> None:
        """Request nothing more; what is on its way still arrives."""
        self._ways = []
        self._behind = 0

    def drop_buffered(self) -> None:
        """Forget what has arrived and was not handed on: the broker is about to give it to another worker."""
        self._buffer.clear()
        self._bytes = 0
        self._forget_requests()
        self._alone = _Alone()

    # -- taking --------------------------------------------------------------------------------------------------------

    def stop_pulling(self) -> None:
        """Let `next_batch` return None from now on."""
        self._stopped = True
        self._arrived.set()

    async def next_batch(
        self,
        worth: Worth = anything,
        *,
        most: int | None = None,
        most_bytes: int = BATCH_BYTES,
        patience: float | None = None,
    ) -> list[Message] | None:
        """Wait for messages and return what has arrived, at most one batch or `most`; None once we are stopped.

        The bodies have `most_bytes` at most, except for a single message that is larger. `worth` tells whether to
        return with so many messages of so many bytes; call `look_again` when its answer may have changed. It is asked
        again after `patience` seconds too.
        """
        self._worth = worth
        while not self._stopped:
            await self._revive()
            arrived = self._arrived = anyio.Event()
            self._waiting = True
            await self._request()
            if worth(len(self._buffer), self._bytes):
                break
            if self._trouble is None or not self.connected:
                with anyio.move_on_after(HEARTBEAT_SECONDS if patience is None else patience):
                    await arrived.wait()
        if self._stopped:
            return None
        batch = self._take(self._settings.batch_size if most is None else most, most_bytes)
        await self._request()
        return batch

    def look_after(self, because: str = "an announcement failed") -> None:
        """Make sure of streams and consumer before anything else is pulled: one of them may be missing."""
        self._trouble = self._trouble or because
        self._arrived.set()

    def look_again(self) -> None:
        """Let `next_batch` check again whether what has arrived is worth taking."""
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

    def give_back(self, messages: Iterable[Message]) -> None:
        """Take back messages that are not worked on; `release` returns them to the broker."""
        self._buffer.extend(messages)
        self._bytes = sum([len(message.body) for message in self._buffer])

    # -- what arrives --------------------------------------------------------------------------------------------------

    def _on_frames(self, frames: list[Frame]) -> None:
        self._heard = monotonic()
        messages = parse_deliveries(frames, partitioned=self._partitioned)
        if messages is not None:
            self._take_up(messages)
        else:
            for subject, reply, body, block in frames:
                message = parse_delivery(subject, body, block, reply, partitioned=self._partitioned)
                if message is not None:
                    self._take_up((message,))
                elif (way := self._way_of(subject)) is not None:
                    self._on_status(way, parse_headers(block))
        if self._waiting and (self._trouble is not None or self._worth(len(self._buffer), self._bytes)):
            self._waiting = False
            self._arrived.set()

    def _way_of(self, reply: str) -> _Way | None:
        return next((way for way in self._ways if way.reply == reply), None)

    def _take_up(self, messages: Sequence[Message]) -> None:
        self._requested = max(0, self._requested - len(messages))
        behind = messages[-1].reply.rpartition(".")[2]
        self._behind = int(behind) if behind.isdigit() and self._ways else 0
        if len(self._ways) > 1:
            for way in self._ways:
                way.got(sum([way.name in message.reply for message in messages]))
        self._bytes += sum([len(message.body) for message in messages])
        self._buffer.extend(messages)
        self._served()
        if self._alone.asked:
            self._alone.asked = False
            self._alone.held = next((one.reply for one in messages if len(one.body) > BATCH_BYTES), None)

    def _served(self) -> None:
        self._answered = self._heard
        self._unserved = ""

    def _on_status(self, way: _Way, headers: dict[str, str]) -> None:
        status = headers.get(STATUS, "")
        if status == "100":  # a heartbeat
            self._served()
            return
        unserved = headers.get("Nats-Pending-Messages", "")
        if unserved.isdigit():
            self._requested = max(0, self._requested - int(unserved))
            way.got(int(unserved))
        else:
            self._requested = max(0, self._requested - way.requested) if len(self._ways) > 1 else 0
            way.requested = 0
        said = f"{status} {headers.get(DESCRIPTION, '')}".strip()
        if said == TOO_LARGE and not self._alone.asked:
            # A request that got some messages has used up its bytes. One that got none shows that a large one is next.
            if not unserved.isdigit() or int(unserved) >= self._allowed.batch:
                self._alone.wanted, self._alone.way = True, way
        elif said != TOO_LARGE:
            self._alone.asked = False
        self._wake()
        if status in {"404", "408"} or said in COMPLETED:
            self._served()
        else:
            self._trouble = said
            if status != _AWAY:  # with 503 the server is there, and its JetStream is not
                self._answered = self._heard

    def _wake(self) -> None:
        """Let a request follow at once, even if nothing has arrived that is worth taking."""
        if self._alone.wanted or not self._requested:
            self._arrived.set()

    # -- what is requested ---------------------------------------------------------------------------------------------

    def _forget_requests(self) -> None:
        """Forget what was requested, as the broker has."""
        self._requested = self._behind = 0
        for way in self._ways:
            way.requested = 0
        self._heard = monotonic()
        self._alone.wanted = self._alone.asked = False
        self._arrived.set()

    def _done_with(self, replies: Sequence[str]) -> None:
        """Make room for the next large message if one is done with."""
        if self._alone.held is not None and self._alone.held in replies:
            self._alone.held = None
            self._arrived.set()

    async def _request(self) -> None:
        if not self.connected or not self._ways:
            return
        if self._alone.wanted:
            way = self._alone.way or self._ways[0]
            if self._alone.may_ask and not self._buffer and await self._ask(way, {"batch": 1}):
                self._alone.wanted, self._alone.asked = False, True
            return
        if self._alone.asked:
            return
        if len(self._ways) == 1:
            await self._request_of(self._ways[0], lambda: self._requested)
            return
        for way in self._ways:
            await self._request_of(way, lambda way=way: way.requested)

    async def _request_of(self, way: _Way, requested: Callable[[], int]) -> None:
        batch, requests = self._allowed.batch, self._allowed.requests
        while (
            requested() + len(self._buffer) <= self._settings.batch_size
            and requested() <= (requests - 1) * batch
            and await self._ask(way, {"batch": batch, "max_bytes": self._allowed.max_bytes})
        ):
            pass

    async def _ask(self, way: _Way, what: dict[str, int]) -> bool:
        body = json.dumps({**what, **self._life}).encode()
        if not await self._send(way.subject, body, reply=way.reply):
            return False
        if not self._requested:  # until now there was nothing to answer
            self._heard = monotonic()
        self._requested += what["batch"]
        way.requested += what["batch"]
        return True

    async def _revive(self) -> None:
        """Look after the consumer if requests are refused, or nothing at all arrives any more."""
        silent = self._requested > 0 and monotonic() - self._heard > SILENCE_SECONDS
        if not self.connected or (self._trouble is None and not silent):
            return
        self._unserved = self._trouble or self._unserved or "the broker is silent"
        log.warning("pulling again", because=self._unserved)
        self._trouble = None
        self._forget_requests()
        await self._remake()

"""Consumers of a stream that are pulled from: a durable one that keeps its place, and one for a single reading.

This uses nothing of nats-py but requests, publishing and subscriptions. What a consumer remembers, its metadata
included, is the broker's: it survives every process that pulls from it. The `pyright: ignore` comments are for
parameters that nats-py leaves without a type.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import msgspec

from dsl.calendar import format_instant
from worker.broker.api import CONSUMER_EXISTS, ApiError, ask
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.contract.message import Message, delivery_tokens
from worker.contract.trace import trace_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from worker.broker.client import BrokerClient

    ClientNow = Callable[[], BrokerClient]
    """Returns the client of the moment: one that has ended is replaced by another."""

PAGE_SECONDS: Final = 5.0
"""For a page of a reading to come."""
GRACE_SECONDS: Final = 2.0
"""Beyond the end of a pull request, until no answer means that none comes."""
SWIFT_SECONDS: Final = 1.0
"""For what is there to come."""
FIRST_PAGE: Final = 16
"""Messages that a reading fetches first. A digest wants the few of its window and no more of what is behind them: with
a backlog that would be most of the work."""
PAGE: Final = 500
"""Messages that a reading fetches at a time, at most; each page is twice as long as the one before."""
_NANOSECONDS: Final = 1_000_000_000
_ENDED: Final = frozenset({"404", "408"})
"""Statuses that end a pull request in good order: nothing there, or time over."""


class _Config(msgspec.Struct):
    ack_wait: int = 30 * _NANOSECONDS
    metadata: dict[str, str] | None = None


class _Info(msgspec.Struct):
    name: str = ""
    config: msgspec.Raw = msgspec.Raw(b"{}")
    num_pending: int = 0
    num_ack_pending: int = 0
    num_redelivered: int = 0


class ConsumerState(NamedTuple):
    """What the broker knows of a consumer."""

    waiting: int
    """Messages that it has not delivered yet."""
    unacknowledged: int
    """Messages that were delivered, and are on their way or wait for another attempt."""
    redelivered: int
    """Those of them that were delivered more than once."""
    ack_seconds: float
    """After which a message without a word is delivered again: as it was made, or as an operator has changed it."""
    metadata: Mapping[str, str]


class NoStreamError(BrokerAwayError):
    """The stream does not exist: a worker makes it at its first start."""


class DurableConsumer:
    """A durable pull consumer, with explicit acknowledgement and any number of deliveries of a message."""

    def __init__(
        self, client: ClientNow, stream: str, name: str, *, subjects: str, ack_seconds: int, most_pending: int
    ) -> None:
        """Know a consumer; nothing is asked of the broker.

        `subjects` is the filter. `ack_seconds` is the time after which a message without a word is delivered again.
        `most_pending` bounds the messages that are delivered and not acknowledged.
        """
        self._client = client
        self._stream = stream
        self._name = name
        self._config = {
            "durable_name": name,
            "ack_policy": "explicit",
            "ack_wait": ack_seconds * _NANOSECONDS,
            "max_deliver": -1,
            "max_ack_pending": most_pending,
            "deliver_policy": "new",
            "filter_subject": subjects,
        }

    async def ensure(self) -> ConsumerState:
        """Make the consumer if it is missing, to deliver what is published from now on; return its state.

        Raises:
            NoStreamError: the stream is missing.
            BrokerAwayError: try again.
        """
        state = await self.state()
        if state is not None:
            return state
        made = {"stream_name": self._stream, "config": self._config, "action": "create"}
        try:
            await _ask(self._client(), f"DURABLE.CREATE.{self._stream}.{self._name}", made)
        except ApiError as error:
            if error.fault.err_code != CONSUMER_EXISTS:
                raise _away(error) from error
        state = await self.state()
        if state is None:
            raise BrokerAwayError(f"consumer {self._name} is gone again")
        return state

    async def state(self) -> ConsumerState | None:
        """Return what the broker knows of the consumer, None where there is none.

        Raises:
            BrokerAwayError: try again.
        """
        info = await self._info()
        if info is None:
            return None
        config = msgspec.json.decode(info.config, type=_Config)
        return ConsumerState(
            info.num_pending,
            info.num_ack_pending,
            info.num_redelivered,
            config.ack_wait / _NANOSECONDS,
            config.metadata or {},
        )

    async def remember(self, changes: Mapping[str, str]) -> None:
        """Change metadata of the consumer; an empty value removes a key. A missing consumer remembers nothing.

        Raises:
            BrokerAwayError: try again.
        """
        info = await self._info()
        if info is None:
            return
        config: dict[str, Any] = msgspec.json.decode(info.config)
        metadata: dict[str, str] = {**(config.get("metadata") or {}), **changes}
        config["metadata"] = {key: value for key, value in metadata.items() if value}
        changed = {"stream_name": self._stream, "config": config, "action": "update"}
        try:
            await _ask(self._client(), f"DURABLE.CREATE.{self._stream}.{self._name}", changed)
        except ApiError as error:
            raise _away(error) from error

    async def _info(self) -> _Info | None:
        try:
            return await _ask(self._client(), f"INFO.{self._stream}.{self._name}")
        except ApiError as error:
            if error.is_missing:
                return None
            raise _away(error) from error

    async def fetch(self, most: int, seconds: float) -> list[Message]:
        """Return what there is, at most so many; wait so long for the first.

        Raises:
            BrokerAwayError: the broker is away, or the consumer is gone.
        """
        return await _fetch(self._client(), self._stream, self._name, most, seconds)

    async def ack(self, message: Message) -> None:
        """Tell the broker that a message is done. If that is lost, the message comes again."""
        await self._say(message, b"+ACK")

    async def delay(self, message: Message, milliseconds: int) -> None:
        """Ask the broker to deliver a message again after a while."""
        await self._say(message, b'-NAK {"delay": %d}' % (milliseconds * 1_000_000) if milliseconds else b"-NAK")

    async def working(self, messages: Iterable[Message]) -> None:
        """Tell the broker that messages are still worked on, which starts their time anew."""
        for message in messages:
            await self._say(message, b"+WPI")

    async def _say(self, message: Message, word: bytes) -> None:
        # What is lost here is delivered again once its time is over.
        with suppress(*OUT_OF_REACH):
            await self._client().publish(message.reply, word)


async def read_since(client: ClientNow, stream: str, subjects: str, since: int) -> AsyncGenerator[Message]:
    """Yield the messages that a stream holds now on some subjects, stored at `since` (microseconds) or later, in order.

    None is missing where it ends without an error.

    Raises:
        NoStreamError: the stream is missing.
        BrokerAwayError: try again, from the beginning.
    """
    config = {
        "ack_policy": "none",
        "deliver_policy": "by_start_time",
        "opt_start_time": format_instant(since),
        "filter_subject": subjects,
        "inactive_threshold": 300 * _NANOSECONDS,
        "mem_storage": True,
        "num_replicas": 1,
    }
    try:
        made = await _ask(client(), f"CREATE.{stream}", {"stream_name": stream, "config": config})
    except ApiError as error:
        raise _away(error) from error
    left, size = made.num_pending, FIRST_PAGE
    try:
        while left > 0:
            page = await _fetch(client(), stream, made.name, min(left, size), PAGE_SECONDS, whole=True)
            if not page:
                return  # the rest was removed meanwhile
            left, size = left - len(page), min(2 * size, PAGE)
            for message in page:
                yield message
    finally:
        with anyio.CancelScope(shield=True), suppress(ApiError, BrokerAwayError):
            await _ask(client(), f"DELETE.{stream}.{made.name}")


async def _fetch(
    client: BrokerClient, stream: str, name: str, most: int, seconds: float, *, whole: bool = False
) -> list[Message]:
    """Ask for what is there; where that is nothing, wait for one message.

    What is lost on its way comes again where it has to be acknowledged. Where it has not, ask for the `whole`: that
    raises BrokerAwayError in place of returning a part.

    Two requests, since one that waits for many stays open behind the first of them: what it brings to a subscription
    that has ended would wait until its time of acknowledgement is over.
    """
    at_once = _Pull(stream, name, most, {"batch": most, "no_wait": True}, SWIFT_SECONDS, whole)
    found = await _pull(client, at_once)
    if found or not seconds:
        return found
    return await _pull(
        client, _Pull(stream, name, 1, {"batch": 1, "expires": int(seconds * _NANOSECONDS)}, seconds, whole)
    )


class _Pull(NamedTuple):
    stream: str
    name: str
    most: int
    request: Mapping[str, object]
    seconds: float
    whole: bool


async def _pull(client: BrokerClient, asked: _Pull) -> list[Message]:
    found: list[Message] = []
    try:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType]
        try:
            subject = f"{client.api}.CONSUMER.MSG.NEXT.{asked.stream}.{asked.name}"
            await client.publish(subject, msgspec.json.encode(asked.request), reply=inbox)
            while len(found) < asked.most:
                msg = await subscription.next_msg(timeout=asked.seconds + GRACE_SECONDS)
                headers: dict[str, str] = dict(msg.headers or {})  # pyright: ignore[reportUnknownMemberType]
                status = headers.get("Status", "")
                if not status or msg.reply:
                    found.append(_message(msg.subject, msg.data, msg.reply, headers))
                elif status in _ENDED or (found and not asked.whole):
                    break
                else:
                    said = f"consumer {asked.name}: {status} {headers.get('Description', '')}"
                    raise BrokerAwayError(said.rstrip())
        except TimeoutError as error:
            if asked.whole:
                raise BrokerAwayError(in_words(error)) from error
        finally:
            with suppress(*OUT_OF_REACH):
                await subscription.unsubscribe()
    except OUT_OF_REACH as error:
        if asked.whole or not found:
            raise BrokerAwayError(in_words(error)) from error
    return found


def _message(subject: str, body: bytes, reply: str, headers: Mapping[str, str]) -> Message:
    """Return a message; of its headers those about its trace alone, as its readers ask for no others."""
    tokens = delivery_tokens(reply)
    seq, sent = (tokens[1], tokens[3]) if tokens else ("", "")
    trace = trace_in({name.lower(): value for name, value in headers.items()}) if headers else None
    block = b"" if trace is None else f"\r\n{trace.lines}".encode()
    return Message(subject, body, block, int(seq) if seq.isdigit() else 0, reply, sent if sent.isdigit() else "")


async def _ask(client: BrokerClient, what: str, asked: object = None) -> _Info:
    """Ask something of consumers.

    Raises:
        ApiError: JetStream refused it.
        BrokerAwayError: no answer, or none that can be read.
    """
    try:
        return await ask(client, f"CONSUMER.{what}", _Info, asked)
    except OUT_OF_REACH as error:
        raise BrokerAwayError(in_words(error)) from error


def _away(error: ApiError) -> BrokerAwayError:
    return NoStreamError(str(error)) if error.is_missing else BrokerAwayError(str(error))

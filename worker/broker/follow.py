"""Reading a stream in its order, for readers that only look on: an ordered consumer, made again wherever it breaks off.

The consumer is the broker's to forget: it lies in memory, wants no acknowledgements, and goes with its listener. What
it delivers is numbered, so a gap shows; then, and where it falls silent, another consumer begins behind the last
message that was handed on. So each message comes once and in order, for as long as the stream keeps it.

Rights: `$JS.API.STREAM.INFO.<stream>`, `$JS.API.CONSUMER.CREATE.<stream>`, `$JS.API.STREAM.MSG.GET.<stream>` and
`$JS.FC.>` to publish on.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import msgspec
import structlog

from worker.broker.api import ApiError, ask, stored_message
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.contract.message import delivery_tokens, parse_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.broker.client import BrokerClient, Msg, Subscription
    from worker.broker.connection import Connection

HEARTBEAT_SECONDS: Final = 5
SILENT_SECONDS: Final = 12.0
"""Without a message or a heartbeat, after which another consumer is made."""
LOOK_SECONDS: Final = 0.5
_NANOSECONDS: Final = 1_000_000_000
_CONTROL: Final = "100"

log = structlog.get_logger()


class Followed(NamedTuple):
    """A message of a stream."""

    seq: int
    headers: Mapping[str, str]
    body: bytes


class _State(msgspec.Struct):
    last_seq: int


class _Info(msgspec.Struct):
    state: _State


class Follower:
    """Follows a stream from its present end on; `deliver` gets each message.

    `remade` is called where the stream has been made again, so that the places known of it mean nothing any more.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        deliver: Callable[[Followed], None],
        remade: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._deliver = deliver
        self._remade = remade
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._next = 1
        """The number that the consumer gives its next message."""
        self._heard = monotonic()
        self._broken = True
        self._beginning = anyio.Lock()
        self.seq: int | None = None
        """The place of the last message that was handed on, or of the end where none was; None before the start."""

    async def run(self) -> None:
        """Follow until cancelled, over whatever client there is."""
        await self._connection.bind(self._rebind)
        try:
            while True:
                await anyio.sleep(LOOK_SECONDS)
                if self._connection.connected and (self._broken or monotonic() - self._heard > SILENT_SECONDS):
                    await self._begin(self._connection.client)
        finally:
            self._connection.unbind(self._rebind)

    async def _rebind(self, client: BrokerClient) -> None:
        self._subscription = None  # the one before went with its client
        await self._begin(client)

    async def _begin(self, client: BrokerClient) -> None:
        """Make a consumer behind the last message; where that fails, the next look tries again."""
        async with self._beginning:
            await self._begin_alone(client)

    async def _begin_alone(self, client: BrokerClient) -> None:
        self._broken, self._inbox = True, client.new_inbox()
        try:
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            inbox = self._inbox

            async def on_message(msg: Msg) -> None:
                if inbox == self._inbox:
                    await self._take(client, msg)

            self._subscription = await client.subscribe(inbox, cb=on_message)  # pyright: ignore[reportUnknownMemberType]
            await self._find_place(client)
            # Before it is made, for its first messages may come before the answer.
            self._next, self._heard, self._broken = 1, monotonic(), False
            await ask(client, f"CONSUMER.CREATE.{self._stream}", dict[str, Any], self._wanted(inbox))
        except (ApiError, BrokerAwayError, *OUT_OF_REACH) as error:
            self._broken = True
            log.debug("cannot follow yet", stream=self._stream, said=in_words(error))

    async def _find_place(self, client: BrokerClient) -> None:
        last = (await ask(client, f"STREAM.INFO.{self._stream}", _Info)).state.last_seq
        if self.seq is not None and last < self.seq:
            self._remade()
            self.seq = None
        if self.seq is None:
            self.seq = last

    def _wanted(self, inbox: str) -> dict[str, Any]:
        config = {
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": (self.seq or 0) + 1,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": HEARTBEAT_SECONDS * _NANOSECONDS,
            "inactive_threshold": 30 * _NANOSECONDS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        return {"stream_name": self._stream, "config": config}

    async def _take(self, client: BrokerClient, msg: Msg) -> None:
        headers = msg.headers or {}
        if headers.get("Status") == _CONTROL:
            await self._control(client, msg.reply, headers)
            return
        place = _place(msg.reply)
        if place is None:
            return  # some other publisher has found the inbox
        seq, number = place
        if number != self._next:
            self._broken = True
            return
        self._next += 1
        self._heard = monotonic()
        self.seq = seq
        self._deliver(Followed(seq, headers, msg.data))

    async def _control(self, client: BrokerClient, reply: str, headers: Mapping[str, str]) -> None:
        """Answer flow control; of a heartbeat see whether anything before it is missing."""
        self._heard = monotonic()
        answer_to = reply or headers.get("Nats-Consumer-Stalled", "")
        if answer_to.startswith("$JS.FC."):
            await client.publish(answer_to, b"")
        last = headers.get("Nats-Last-Consumer", "")
        if last.isdigit() and int(last) >= self._next:
            self._broken = True


def _place(reply: str) -> tuple[int, int] | None:
    """Return the sequences in the stream and of the consumer; None of another subject."""
    tokens = delivery_tokens(reply) if reply.startswith("$JS.ACK.") else []
    if not tokens:
        return None
    seq, number = tokens[1:3]
    return (int(seq), int(number)) if seq.isdigit() and number.isdigit() else None


async def stored_after(connection: Connection, stream: str, subject: str, after: int) -> AsyncIterator[Followed]:
    """Yield what a stream keeps on a subject (a filter) behind a place, one request each.

    Raises:
        BrokerAwayError: the broker is away, or does not answer as it should.
    """
    while True:
        asked = {"seq": after + 1, "next_by_subj": subject}
        try:
            found = await stored_message(connection.client, stream, asked)
        except ApiError as error:
            raise BrokerAwayError(str(error)) from error
        except OUT_OF_REACH as error:
            raise BrokerAwayError(in_words(error)) from error
        if found is None:
            return
        after = found.seq
        yield Followed(found.seq, parse_headers(found.hdrs), found.data)

"""A proxy that knows the broker's protocol, and says to the worker what a broker might say, at a moment of choice.

It stands between a worker and a real nats-server and passes frames on as a whole, both ways. Armed with something to
say and a moment, it waits for that moment, says it, and tells that it did.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CHUNK: Final = 65536

CLOSING: Final = (
    "Authorization Violation",
    "Authentication Timeout",
    "User Authentication Expired",
    "User Authentication Revoked",
    "Account Authentication Expired",
    "Failed Account Registration",
    "maximum connections exceeded",
    "maximum account active connections exceeded",
    "Connection throttling is active. Please try again later.",
    "Maximum Payload Violation",
    "maximum control line exceeded",
    "Unknown Protocol Operation",
    "invalid client protocol",
    "no responders requires headers support",
    "message headers not supported",
    "Secure Connection - TLS Required",
    "attempted to connect to route port",
    "attempted to connect to leaf node port",
    "Stale Connection",
)
"""Whatever a nats-server says to a client before it closes the connection (2.15, and what older ones said)."""
STANDING: Final = (
    "maximum subscriptions exceeded",
    "Invalid Subject",
    "Invalid Publish Subject",
    'Permissions Violation for Publish to "some.subject"',
    'Permissions Violation for Publish with Reply of "some.reply"',
    'Permissions Violation for Subscription to "some.subject"',
    'Permissions Violation for Subscription to "some.subject" (sid "7")',
    'Permissions Violation for Subscription to "some.subject" using queue "q"',
    'Permissions Violation for Subscription to "some.subject" using queue "q" (sid "7")',
    'Permissions Violation for Subscription to "some.subject", too many tokens',
)
"""What it says, and lets the connection stand."""


class Moment(Enum):
    """When something is said."""

    BEFORE_INFO = "before INFO"
    AFTER_CONNECT = "after CONNECT"
    BETWEEN = "between frames"
    IN_BATCH = "in the middle of a batch"
    IN_PULL = "behind a pull request"
    IN_ANNOUNCING = "behind an announcement"


class Speech(NamedTuple):
    """What is said, and whether the connection is closed then; `instead` swallows the frame before which it is said."""

    words: bytes
    close: bool = False
    instead: bool = False


def error(text: str, *, close: bool) -> Speech:
    """Return an `-ERR`."""
    return Speech(f"-ERR '{text}'\r\n".encode(), close=close)


def info(**changes: object) -> Speech:
    """Return an INFO in which something has changed."""
    return Speech(b"INFO " + json.dumps(changes).encode() + b"\r\n")


OK: Final = Speech(b"+OK\r\n")
GARBAGE: Final = Speech(b"GARBAGE 1 2 3\r\n")
HALF: Final = Speech(b"", close=True, instead=True)
"""Half of the frame that is due, and then the end."""
SHORT: Final = Speech(b"", instead=True)
"""Half of the frame that is due, and then the next one as if nothing were missing."""
LAME_DUCK: Final = info(server_id="x", ldm=True, max_payload=1024 * 1024, headers=True)
SMALLER: Final = info(server_id="x", max_payload=512 * 1024, headers=True)

_BY_CLIENT: Final = {
    Moment.AFTER_CONNECT: b"CONNECT ",
    Moment.IN_PULL: b"PUB $JS.API.CONSUMER.MSG.NEXT.",
    Moment.IN_ANNOUNCING: b"HPUB unlocks.",
}
_MIDDLE: Final = 3
"""Messages of a batch that have passed."""


class Interjector:
    """Stands before one nats-server. Made by `interjecting`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self._pairs: set[_Pair] = set()
        self._armed: tuple[Moment, Speech] | None = None
        self.said = asyncio.Event()
        """Set once what it was armed with has been said."""
        self.mute = False
        """Whether no answer to a ping goes through."""

    @property
    def url(self) -> str:
        """Where the worker finds it."""
        return f"nats://127.0.0.1:{self.port}"

    def arm(self, moment: Moment, speech: Speech) -> None:
        """Say something at the next such moment; where that is at the start of a connection, all present ones end."""
        self.said.clear()
        self._armed = (moment, speech)
        if moment in {Moment.BEFORE_INFO, Moment.AFTER_CONNECT}:
            self.cut()

    def cut(self) -> None:
        """End all connections."""
        for pair in list(self._pairs):
            pair.end()

    def due(self, moment: Moment) -> Speech | None:
        """Return what is to be said at a moment; it is said once."""
        if self._armed is None or self._armed[0] is not moment:
            return None
        speech = self._armed[1]
        self._armed = None
        return speech

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(self, (reader, writer), server)
        self._pairs.add(pair)
        try:
            await pair.carry()
        finally:
            self._pairs.discard(pair)


class _Pair:
    """One connection: what the client says upwards, what the server says downwards."""

    def __init__(
        self,
        owner: Interjector,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._owner = owner
        self._client = client
        self._server = server
        self._messages = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def carry(self) -> None:
        """Carry frames both ways until one side ends."""
        if (speech := self._owner.due(Moment.BEFORE_INFO)) is not None:
            self._say(speech)
        self._tasks = [asyncio.ensure_future(self._up()), asyncio.ensure_future(self._down())]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.end()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def end(self) -> None:
        """End both halves; what was written goes out before."""
        for _, writer in (self._client, self._server):
            writer.close()
        for task in self._tasks:
            task.cancel()

    def _say(self, speech: Speech, frame: bytes = b"") -> None:
        self._client[1].write(frame[: len(frame) // 2] if speech.instead else speech.words + frame)
        self._owner.said.set()
        if speech.close:
            self.end()

    async def _up(self) -> None:
        with suppress(OSError):
            async for frame in _frames(self._server_bound()):
                self._server[1].write(frame)
                for moment, words in _BY_CLIENT.items():
                    if frame.startswith(words) and (speech := self._owner.due(moment)) is not None:
                        self._say(speech)
                await self._server[1].drain()

    async def _down(self) -> None:
        with suppress(OSError):
            async for frame in _frames(self._client_bound()):
                if frame.startswith(b"PONG") and self._owner.mute:
                    continue
                speech = self._due(frame)
                if speech is None:
                    self._client[1].write(frame)
                else:
                    self._say(speech, frame)
                await self._client[1].drain()

    def _due(self, frame: bytes) -> Speech | None:
        """Return what is to be said before a frame: halves are made of messages alone."""
        if not frame.startswith((b"MSG ", b"HMSG ")):
            return None
        self._messages += b"$JS.ACK." in frame.split(b"\r\n", 1)[0]
        if self._messages % _MIDDLE == 0 and (speech := self._owner.due(Moment.IN_BATCH)) is not None:
            return speech
        return self._owner.due(Moment.BETWEEN)

    def _server_bound(self) -> asyncio.StreamReader:
        return self._client[0]

    def _client_bound(self) -> asyncio.StreamReader:
        return self._server[0]


_PAYLOADS: Final = frozenset({b"PUB", b"HPUB", b"MSG", b"HMSG"})


async def _frames(reader: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """Yield frames as a whole: a control line, and what it announces."""
    buffer = b""
    while data := await reader.read(CHUNK):
        buffer += data
        while (end := buffer.find(b"\r\n") + 2) > 1:
            words = buffer[: end - 2].split(b" ")
            if words[0] in _PAYLOADS:
                end += int(words[-1]) + 2
                if len(buffer) < end:
                    break
            yield buffer[:end]
            buffer = buffer[end:]


@asynccontextmanager
async def interjecting(port: int) -> AsyncGenerator[Interjector]:
    """Run the proxy before a nats-server on loopback for the length of a block."""
    made = Interjector(port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()

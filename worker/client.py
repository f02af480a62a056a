"""The library's client of the broker, for messages of any bytes and many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import ParseResult, unquote

import structlog
from nats.aio import client as library
from nats.aio.client import Client
from nats.errors import ConnectionReconnectingError
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from worker.frames import read_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from worker.announcing import Asked
    from worker.frames import Frame

    Deliver = Callable[[list[Frame]], None]

READ_BYTES: Final = 256 * 1024
"""Read at a time, if there are so many; twice as many are kept before the broker has to wait. With the library's own
32 KiB a backlog of large messages came in drops, each of which waited for the broker to be woken."""
library.DEFAULT_BUFFER_SIZE = READ_BYTES  # pyright: ignore[reportConstantRedefinition]

log = structlog.get_logger()


class _Decoded(ParseResult):
    """A URL with its user and password decoded; the library sends them as they are written."""

    @property
    def username(self) -> str | None:
        name = super().username
        return None if name is None else unquote(name)

    @property
    def password(self) -> str | None:
        word = super().password
        return None if word is None else unquote(word)


class TappingParser(Parser):
    """The library's parser, with a shorter way for tapped messages; all the rest it gets frame by frame."""

    tapped = ""
    """Id of the subscription, as the protocol writes it."""
    deliver: Deliver | None = None

    async def parse(self, data: bytes = b"") -> None:
        """Take bytes off the wire."""
        if self.deliver is None or self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        self.buf.extend(data)
        wire, at = bytes(self.buf), 0
        while True:
            frames, others, at = read_frames(wire, self.tapped, at)
            if frames:
                self.deliver(frames)
            if at == others:
                break
            # Each by itself would be a copy of all that lies behind it.
            self.buf = theirs = bytearray(wire[others:at])
            await super().parse()
            if self.buf is not theirs:  # the connection was lost meanwhile, and with it what came on it
                return
        self.buf = bytearray(wire[at:])


class TappingClient(Client):
    """The library's client, for messages of any bytes and many at a time.

    Subjects and headers are bytes to the broker, and the library decodes them in its reading loop: one message on a
    subject that is no UTF-8, or with headers that are none, would end that loop, and after every reconnection again.
    For each message it also makes an object, parses the headers, wakes a task and, to acknowledge, flushes a line: most
    of what a small message costs. A tapped subscription hands on what was received as it stands, at once. The methods
    and members used are internal; tests watch over them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ps = self._parser = TappingParser(self)

    @staticmethod
    def _parse_server_uri(connect_url: str) -> ParseResult:
        return _Decoded(*Client._parse_server_uri(connect_url))  # noqa: SLF001 - as it is

    async def tap(self, subject: str, deliver: Deliver) -> Subscription:
        """Subscribe; `deliver` gets what has arrived, in its order. One subscription at a time."""
        subscription: Subscription = await self.subscribe(subject)  # pyright: ignore[reportUnknownMemberType]
        tapped = next(sid for sid, known in self._subs.items() if known is subscription)
        self._parser.tapped, self._parser.deliver = str(tapped), deliver
        return subscription

    async def publish_each(self, subjects: Sequence[str], body: bytes) -> None:
        """Publish one short body on each of many subjects, in one write.

        Raises:
            nats.errors.Error: as `publish` does.
        """
        if not subjects:
            return
        if not self.is_connected or self.is_draining_pubs:
            # Of what is written at such a time the first may still be kept; the library knows how to refuse.
            for subject in subjects:
                await self.publish(subject, body)
            return
        tail = f" {len(body)}\r\n{body.decode()}\r\n"
        lines = f"{tail}PUB ".join(subjects)
        await self._send_command(f"PUB {lines}{tail}".encode())
        self.stats["out_msgs"] += len(subjects)
        self.stats["out_bytes"] += len(subjects) * len(body)
        await self._flush_pending()

    async def publish_all(self, messages: Sequence[Asked]) -> dict[str, str]:
        """Publish messages with headers, in one write. Names and values of headers are tokens of ours.

        Return why some were not sent, by their reply subject: at one that is too large, headers included, the broker
        would close the connection.

        Raises:
            nats.errors.Error: the broker is not connected at the moment, or as `publish` does.
        """
        if not self.is_connected or self.is_draining_pubs:
            raise ConnectionReconnectingError
        frames: list[bytes] = []
        unsent: dict[str, str] = {}
        for message in messages:
            lines = "".join([f"{name}: {value}\r\n" for name, value in message.headers.items()])
            block = f"NATS/1.0\r\n{lines}\r\n".encode()
            size = len(block) + len(message.body)
            if size > self._max_payload:
                unsent[message.reply] = f"{size:,} bytes, of which the broker takes {self._max_payload:,} (max_payload)"
                continue
            sizes = f"{len(block)} {size}"
            frames += (f"HPUB {message.subject} {message.reply} {sizes}\r\n".encode(), block, message.body, b"\r\n")
            self.stats["out_msgs"] += 1
            self.stats["out_bytes"] += len(message.body)
        if frames:
            await self._send_command(b"".join(frames))
            await self._flush_pending()
        return unsent

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Take a message that the parser had to put together from several reads."""
        deliver = self._parser.deliver
        if deliver is None or str(sid) != self._parser.tapped:
            await super()._process_msg(sid, subject, reply, data, headers)  # pyright: ignore[reportUnknownMemberType]
        else:
            deliver([(_text(subject), _text(reply), data, headers or b"")])

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)  # pyright: ignore[reportUnknownMemberType]
        except (IndexError, ValueError) as error:
            log.warning("headers that are none", said=f"{type(error).__name__}: {error}")
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return super()._build_message(sid, _text(subject).encode(), reply, data, headers)


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")

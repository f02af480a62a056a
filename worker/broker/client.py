"""The library's client of the broker, for messages of any bytes and many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import ParseResult, unquote

import structlog
from nats.aio import client as library
from nats.aio.client import Client
from nats.errors import ConnectionClosedError, ConnectionReconnectingError, ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, ERR_RE, Parser

from worker.broker.protocol import read_frames, size_of_first

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from worker.broker.announce import Asked
    from worker.broker.protocol import Frame

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
    _enough = 0
    """Bytes without which the frame that has begun is not whole; a large one is not copied with each read."""

    async def parse(self, data: bytes = b"") -> None:
        """Take bytes off the wire."""
        if self.deliver is None or self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        self.buf.extend(data)
        if len(self.buf) < self._enough:
            return
        self._enough = 0
        wire, at = bytes(self.buf), 0
        while True:
            try:
                frames, others, at = read_frames(wire, self.tapped, at)
            except ValueError as error:  # no control line: the library knows what to do with a connection that lies
                raise ProtocolError from error
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
        if len(self.buf) > READ_BYTES:
            self._enough = size_of_first(wire, at)

    def reset(self) -> None:
        """Begin anew, on another connection."""
        super().reset()
        self._enough = 0


class TappingClient(Client):
    """The library's client, for messages of any bytes and many at a time.

    Subjects and headers are bytes to the broker, and the library decodes them in its reading loop: one message on a
    subject that is no UTF-8, or with headers that are none, would end that loop, and after every reconnection again.
    For each message it also makes an object, parses the headers, wakes a task and, to acknowledge, flushes a line: most
    of what a small message costs. A tapped subscription hands on what was received as it stands, at once. The methods
    and members used are internal; tests watch over them.
    """

    def __init__(self, before: TappingClient | None = None) -> None:
        """Make a client that is not connected yet; it knows the servers that the one before it has been told of."""
        super().__init__()
        self._ps = self._parser = TappingParser(self)
        servers = [] if before is None else before._server_pool  # noqa: SLF001 - of our own
        self._known = [server for server in servers if server.discovered]
        self.refusal = ""
        """What the broker has last said that closes a connection, in its own words."""
        self.on_refusal: Callable[[str], None] | None = None
        """Called with whatever it refuses."""

    @property
    def ended_task(self) -> str:
        """Which task of the library has ended, though the client counts as connected; "" where none has."""
        return next((name for name, task in self._tasks().items() if task is None or task.done()), "")

    def _tasks(self) -> dict[str, asyncio.Task[Any] | None]:
        names = ("reader", "ping", "flusher")
        tasks: Any = (self._reading_task, self._ping_interval_task, self._flusher_task)  # pyright: ignore[reportUnknownMemberType]
        return dict(zip(names, cast("tuple[asyncio.Task[Any] | None, ...]", tasks), strict=True))

    def servers_to_try(self, named: Sequence[str]) -> list[str]:
        """Return the servers that an attempt to connect will try, those that the broker has told of included."""
        return [*named, *(one.uri.netloc for one in self._known)]

    async def answer(self, seconds: float) -> None:
        """Wait until the broker has answered: all that was sent before has reached it then.

        Raises:
            nats.errors.Error: it has not, within so long.
        """
        if not self.is_connected:  # neither welcomed nor refused, or gone by now
            raise ConnectionClosedError
        await self.rtt(timeout=seconds)  # pyright: ignore[reportArgumentType]

    def abandon(self) -> None:
        """End at once, with whatever is left of it: waits for nothing, and may be done twice."""
        self._status = Client.CLOSED
        self._fail_waiting()
        for task in self._tasks().values():
            if task is not None:
                task.cancel()
        for subscription in self._subs.values():
            subscription._stop_processing()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self._subs.clear()
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()  # of a half-open connection, a decent end might wait for ever
        elif self._transport is not None:
            self._transport.close()

    def _fail_waiting(self) -> None:
        """Let whoever waits for an answer know that none comes; the library lets them wait."""
        pongs = cast("list[asyncio.Future[Any]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        answers = cast("dict[str, asyncio.Future[Any]]", self._resp_map)  # pyright: ignore[reportUnknownMemberType]
        for future in (*pongs, *answers.values()):
            if not future.done():
                future.set_exception(ConnectionClosedError())
                future.exception()  # nobody need be there to hear it
        pongs.clear()

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's
        if not self.is_closed:
            self._fail_waiting()
        await super()._close(status, do_cbs)

    async def _process_err(self, err_msg: str) -> None:
        # The library hands it on in small letters; subjects have large ones.
        found = ERR_RE.match(self._parser.buf)
        said = err_msg if found is None else found[1].decode(errors="backslashreplace")
        said = said.strip().strip("'")
        if "permissions violation" not in err_msg:
            self.refusal = said
        if self.on_refusal is not None:
            self.on_refusal(said)
        await super()._process_err(err_msg)

    async def _process_pong(self) -> None:
        pongs = cast("list[asyncio.Future[Any]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        if pongs and pongs[0].done():  # who had asked is not waiting any more
            pongs.pop(0)
            self._pings_outstanding = 0
        else:
            await super()._process_pong()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002
        await super()._process_info(info, initial_connection)
        # A reload may change it while the connection stands.
        self._max_payload = info.get("max_payload", self._max_payload)

    def _setup_server_pool(self, connect_url: str | list[str]) -> None:
        super()._setup_server_pool(connect_url)  # pyright: ignore[reportArgumentType]
        named = {(one.uri.hostname, one.uri.port) for one in self._server_pool}
        first = self._server_pool[0].uri
        if first.scheme in {"ws", "wss"}:  # what a broker tells are not the addresses of its websockets
            self._known = []
        login, at, _ = first.netloc.rpartition("@")
        for one in self._known:
            if (one.uri.hostname, one.uri.port) not in named:
                named.add((one.uri.hostname, one.uri.port))
                place = one.uri.netloc.rpartition("@")[2]
                uri = one.uri._replace(netloc=f"{login}{at}{place}")
                self._server_pool.append(library.Srv(uri, discovered=True, tls_name=one.tls_name))

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

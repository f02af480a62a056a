"""The fast client: every private name of nats-py that we use stands in this file, and in no other.

Subjects and headers are bytes to the broker, and nats-py decodes them in its reading loop: one message on a subject
that is no UTF-8, or with such headers, would end that loop, and again after every reconnection. For each message
nats-py also makes an object, parses the headers, wakes a task and, to acknowledge, flushes a line: most of what a small
message costs. A tapped subscription hands on what was received as it is, many messages at a time.

`flaw` checks all these names before the client is used; a release of nats-py that has changed one of them costs speed,
and nothing else (choice.py).

Measured and tried: docs/decisions/0008-hot-path/frame-parser.md.
"""

# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import ParseResult, unquote

import structlog
from nats.aio import client as library
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError, ConnectionReconnectingError, ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, ERR_RE, Parser

from worker.broker.client import BrokerClient
from worker.broker.error_text import Kind, kind_of
from worker.broker.errors import in_words
from worker.broker.protocol import Frame, frames_of, frames_of_one_body, read_frames, size_of_first

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Iterator, Mapping, Sequence

    from nats.aio.msg import Msg

    from worker.broker.client import Deliver
    from worker.broker.protocol import Sent
    from worker.identity import Identity

READ_BYTES: Final = 256 * 1024
"""Read at a time, if there are so many; twice as many are kept before the broker has to wait. With nats-py's own 32 KiB
a backlog of large messages arrived in small pieces, and the broker had to be woken for each."""

log = structlog.get_logger()


class _Decoded(ParseResult):
    """A URL with its user and password decoded; nats-py sends them as they are written."""

    @property
    def username(self) -> str | None:
        name = super().username
        return None if name is None else unquote(name)

    @property
    def password(self) -> str | None:
        word = super().password
        return None if word is None else unquote(word)


class FastParser(Parser):
    """nats-py's parser, with a shorter way for tapped messages; it gets all the rest."""

    tapped = ""
    """Id of the subscription, as the protocol writes it."""
    deliver: Deliver | None = None
    _enough = 0
    """Bytes without which the frame that has begun is not complete: a large one is not copied with each read."""

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
            except ValueError as error:  # nats-py closes a connection that breaks the protocol
                raise ProtocolError from error
            if frames:
                self.deliver(frames)
            if at == others:
                break
            # All of them at once: one by one, each would be a copy of everything behind it.
            self.buf = theirs = bytearray(wire[others:at])
            await super().parse()
            if self.buf is not theirs:  # the connection was lost meanwhile, and these bytes with it
                return
        self.buf = bytearray(wire[at:])
        if len(self.buf) > READ_BYTES:
            self._enough = size_of_first(wire, at)

    def reset(self) -> None:
        """Begin again, on another connection."""
        super().reset()
        self._enough = 0


class FastClient(BrokerClient):
    """The client for many messages of any bytes."""

    def __init__(self, before: BrokerClient | None = None, identity: Identity | None = None) -> None:
        """Make a client that is not connected yet; it knows the servers that the one before it has learned of."""
        super().__init__(before, identity)
        self._ps = self._parser = FastParser(self)
        servers = before._server_pool if isinstance(before, FastClient) else []
        self._tls_names = {one.uri.netloc.rpartition("@")[2]: one.tls_name for one in servers if one.tls_name}

    # -- servers -------------------------------------------------------------------------------------------------------

    def login_of(self, servers: Sequence[str]) -> dict[str, str]:  # noqa: ARG002 - as the slower one's
        """Return no options: each URL keeps a login of its own."""
        return {}

    @staticmethod
    def _parse_server_uri(connect_url: str) -> ParseResult:
        return _Decoded(*Client._parse_server_uri(connect_url))

    def _setup_server_pool(self, connect_url: str | list[str]) -> None:
        super()._setup_server_pool(connect_url)  # pyright: ignore[reportArgumentType]
        for one in self._server_pool:
            one.tls_name = self._tls_names.get(one.uri.netloc.rpartition("@")[2], one.tls_name)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002
        if initial_connection and self._wants_tls:
            # nats-py takes plain text from a broker that asks for nothing else.
            info["tls_required"] = info.get("tls_required") or info.get("tls_available", False)
            if not info["tls_required"]:
                self.check_secure()
        await super()._process_info(info, initial_connection)
        # A reload of the broker may change it while the connection stands.
        self._max_payload = info.get("max_payload", self._max_payload)

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def ended_task(self) -> str:
        """Which task of nats-py has ended although the client counts as connected; "" for none."""
        return next((name for name, task in self.tasks().items() if task is None or task.done()), "")

    def tasks(self) -> dict[str, asyncio.Task[Any] | None]:
        """Return the tasks of nats-py by name."""
        tasks: Any = (self._reading_task, self._ping_interval_task, self._flusher_task)  # pyright: ignore[reportUnknownMemberType]
        return dict(zip(("reader", "ping", "flusher"), tasks, strict=True))

    def abandon(self) -> None:
        """End the client at once. It waits for nothing, and may be called twice."""
        self._status = Client.CLOSED
        self._fail_waiting()
        for task in self.tasks().values():
            if task is not None:
                task.cancel()
        for subscription in self._subs.values():
            subscription._stop_processing()
        self._subs.clear()
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()  # closing a half-open connection in good order might take for ever
        elif self._transport is not None:
            self._transport.close()

    def _fail_waiting(self) -> None:
        """End all waiting for an answer, since none can come; nats-py would let it go on."""
        pongs = cast("list[asyncio.Future[Any]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        answers = cast("dict[str, asyncio.Future[Any]]", self._resp_map)  # pyright: ignore[reportUnknownMemberType]
        for future in (*pongs, *answers.values()):
            if not future.done():
                future.set_exception(ConnectionClosedError())
                future.exception()  # asyncio complains about an exception that no task has read
        pongs.clear()

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - nats-py's
        if not self.is_closed:
            self._fail_waiting()
        await super()._close(status, do_cbs)

    async def _process_err(self, err_msg: str) -> None:
        # nats-py hands it on in small letters, and subjects have large ones.
        found = ERR_RE.match(self._parser.buf)
        said = err_msg if found is None else found[1].decode(errors="backslashreplace")
        said = said.strip().strip("'")
        if kind_of(said) is not Kind.PERMISSIONS:
            self.refusal = said
        elif self.on_refusal is not None:
            self.on_refusal(said)
        await super()._process_err(err_msg)

    async def on_error(self, error: Exception) -> None:
        """Take an error that nats-py reports; a violation of permissions was taken before, in the broker's letters."""
        if kind_of(str(error)) is not Kind.PERMISSIONS:
            await super().on_error(error)

    async def _process_pong(self) -> None:
        pongs = cast("list[asyncio.Future[Any]]", self._pongs)  # pyright: ignore[reportUnknownMemberType]
        if pongs and pongs[0].done():  # it comes too late, and nats-py would end its reading
            pongs.pop(0)
            self._pings_outstanding = 0
        else:
            await super()._process_pong()

    # -- messages ------------------------------------------------------------------------------------------------------

    async def tap(self, subject: str, deliver: Deliver) -> Subscription:
        """Subscribe; `deliver` gets what has arrived, in order. A client has one such subscription."""
        subscription: Subscription = await self.subscribe(subject)  # pyright: ignore[reportUnknownMemberType]
        tapped = next(sid for sid, known in self._subs.items() if known is subscription)
        self._parser.tapped, self._parser.deliver = str(tapped), deliver
        return subscription

    async def publish_each(self, subjects: Sequence[str], body: bytes) -> None:
        """Publish one short body of ASCII on each of many subjects, in one write.

        Raises:
            nats.errors.Error: as `publish` does.
        """
        if not self.is_connected or self.is_draining_pubs:
            # nats-py may keep the first ones at such a time, and refuses the others.
            await super().publish_each(subjects, body)
        elif subjects:
            await self._send_command(frames_of_one_body(subjects, body))
            await self._flush_pending()

    async def publish_all(self, messages: Sequence[Sent]) -> dict[str, str]:
        """Publish messages in one write; return by reply subject why some were not sent.

        One that is too large, headers included, is not sent: the broker would close the connection.

        Raises:
            nats.errors.Error: the broker is not connected at the moment.
        """
        if not self.is_connected or self.is_draining_pubs:
            raise ConnectionReconnectingError
        frames, unsent = frames_of(messages, self._max_payload)
        if frames:
            await self._send_command(frames)
            await self._flush_pending()
        return unsent

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Take a message that nats-py's parser has put together from several reads."""
        deliver = self._parser.deliver
        if deliver is None or str(sid) != self._parser.tapped:
            await super()._process_msg(sid, subject, reply, data, headers)  # pyright: ignore[reportUnknownMemberType]
        else:
            deliver([(_text(subject), _text(reply), data, headers or b"")])

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)  # pyright: ignore[reportUnknownMemberType]
        except (IndexError, ValueError) as error:
            log.warning("a message has headers that cannot be read", said=in_words(error))
            return None

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return super()._build_message(sid, _text(subject).encode(), reply, data, headers)


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


# -- the check at start ------------------------------------------------------------------------------------------------

METHODS: Final[Mapping[type, Mapping[str, str]]] = {
    Client: {
        "_build_message": "self sid subject reply data headers",
        "_close": "async self status do_cbs",
        "_flush_pending": "async self",
        "_parse_server_uri": "connect_url",
        "_process_err": "async self err_msg",
        "_process_headers": "async self headers",
        "_process_info": "async self info initial_connection",
        "_process_msg": "async self sid subject reply data headers",
        "_process_pong": "async self",
        "_send_command": "async self cmd",
        "_setup_server_pool": "self connect_url",
    },
    Subscription: {"_stop_processing": "self"},
    Parser: {"parse": "async self data", "reset": "self"},
}
"""Methods that we call or replace: whether each is a coroutine, and the first parameters by name."""
FIELDS: Final[Mapping[type, Mapping[str, type]]] = {
    Client: {
        "_flusher_task": object,
        "_max_payload": int,
        "_ping_interval_task": object,
        "_pings_outstanding": int,
        "_pongs": list,
        "_ps": Parser,
        "_reading_task": object,
        "_resp_map": dict,
        "_server_pool": list,
        "_status": int,
        "_subs": dict,
        "_transport": object,
    },
    Parser: {"buf": bytearray, "state": int},
    TcpTransport: {"_io_writer": object},
}
"""Fields of an object that was just made, and the types of their values."""


def flaw() -> str:
    """Return what nats-py lacks that the fast client needs, "" for nothing: the first name, or what went wrong."""
    return next(_flaws(), "")


def prepare() -> None:
    """Let nats-py read more at a time."""
    library.DEFAULT_BUFFER_SIZE = READ_BYTES  # pyright: ignore[reportConstantRedefinition]


def _flaws() -> Iterator[str]:
    for owner, methods in METHODS.items():
        for name, shape in methods.items():
            if not _has_shape(getattr(owner, name, None), shape.split()):
                yield f"{owner.__name__}.{name}"
    for owner, fields in FIELDS.items():
        made = owner()
        for name, kind in fields.items():
            if not (hasattr(made, name) and isinstance(getattr(made, name), kind)):
                yield f"{owner.__name__}.{name}"
    for owner, name in ((library, "DEFAULT_BUFFER_SIZE"), (library.Srv, "tls_name")):
        if not hasattr(owner, name):
            yield f"{owner.__name__}.{name}"
    yield from _wrong_exchange()


def _has_shape(method: Any, shape: Sequence[str]) -> bool:  # noqa: ANN401 - whatever has the name
    if not callable(method):
        return False
    words = ["async"] if inspect.iscoroutinefunction(method) else []
    words += inspect.signature(method).parameters
    return words[: len(shape)] == [*shape]


def _wrong_exchange() -> Iterator[str]:
    """Give bytes to a client that has no socket, and yield what went wrong.

    The first message comes in two pieces, and nats-py's parser gets the beginning; the third is another subscription's.
    """
    client, frames, mine, others = FastClient(), list[Frame](), 7, 8
    other = client._subs[others] = Subscription(client, others, "x")
    client._parser.tapped = str(mine)
    wire = b"one\r\nHMSG b 7 r 12 15\r\nNATS/1.0\r\n\r\ntwo\r\nMSG x 8 2\r\nhi\r\n+OK\r\nMSG c 7 0\r\n\r\n"
    try:
        _run(client._ps.parse(b"MSG a 7 r 3\r\n"))
        client._parser.deliver = frames.extend
        _run(client._ps.parse(wire))
        _run(client._send_command(b"PUB "))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other client works
        yield f"a parser that reads messages: {in_words(error)}"
        return
    if frames != [("a", "r", b"one", b""), ("b", "r", b"two", b"NATS/1.0\r\n\r\n"), ("c", "", b"", b"")]:
        yield f"a parser that gives the messages it is given: {frames}"
    if (other.pending_msgs, client.pending_data_size) != (1, 4):
        yield "a client that queues what it receives and what it sends"


def _run(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("it waits for something")

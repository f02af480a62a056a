"""A client of the broker that uses nats-py's public interface alone: complete, and the slower one of two.

`FastClient` (private.py) replaces the methods that cost most, and what the public interface cannot do. choice.py takes
this one where a release of nats-py has changed what the fast one needs. What this one cannot do:

- A subject or header that is no UTF-8 ends nats-py's reading, and again after each reconnection, until it is removed.
- A frame that is cut short passes for a message, with the next frame in its body; it becomes a dead letter.
- Requests in flight time out when their connection is lost, and acknowledgements may be lost with it: copies come.
- A lower `max_payload` is noticed at the next connection, and the end of one of nats-py's tasks when a ping times out.
- One login is used for all servers of NATS_URL, and the broker's words are quoted in small letters.
- A broker that offers TLS and does not ask for it is refused where we want TLS.

For a login by a key alone it sets one private name of nats-py, `_public_nkey`, which has no public way to be set but
through a package that is published as source.

The `pyright: ignore` comments are for parameters that nats-py leaves without a type.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, ConnectionReconnectingError

from worker.broker.error_text import Kind, kind_of
from worker.broker.errors import GARBLED, OUT_OF_REACH, BrokerMismatchError, PlainTextError
from worker.broker.protocol import header_block, too_large
from worker.contract.message import parse_headers
from worker.identity import Identity

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from worker.broker.login import Login
    from worker.broker.protocol import Frame, Sent

    Deliver = Callable[[list[Frame]], None]

__all__ = ["BrokerClient", "Msg", "Subscription"]

CLOSE_SECONDS: Final = 5.0
"""For what was sent to arrive when a client is closed."""
_PORT: Final = 4222

_closing: set[asyncio.Task[None]] = set()
"""Clients on their way out; the event loop alone would forget them."""


class BrokerClient(Client):
    """nats-py's client, for many messages at a time. One that has ended is never used again."""

    refusal: str = ""
    """The broker's last words that close a connection, as it wrote them; "" where only `last_error` has them."""

    def __init__(self, before: BrokerClient | None = None, identity: Identity | None = None) -> None:
        """Make a client that is not connected yet; it knows the servers that the one before it has learned of."""
        super().__init__()
        self.identity = identity or (Identity() if before is None else before.identity)
        self.api = self.identity.api
        """Prefix of the subjects of JetStream's API."""
        self._secure = False
        """Whether the connection has TLS, or the attempt to have it has failed."""
        self._wants_tls = False
        self.places = [] if before is None else [uri.netloc.rpartition("@")[2] for uri in before.servers]
        """`host:port` of each server that the broker has named."""
        self.on_refusal: Callable[[str], None] | None = None
        """Called with each violation of permissions, in the broker's words."""
        self.on_trouble: Callable[[Exception], None] | None = None
        """Called with each other error that nats-py reports."""

    @property
    def ended_task(self) -> str:
        """Which task of nats-py has ended although the client counts as connected; "" for none, or if it is hidden."""
        return ""

    async def on_error(self, error: Exception) -> None:
        """Take an error that nats-py reports: the callback for it."""
        if kind_of(str(error)) is Kind.PERMISSIONS:
            if self.on_refusal is not None:
                self.on_refusal(str(error))
        elif self.on_trouble is not None:
            self.on_trouble(error)

    # -- servers -------------------------------------------------------------------------------------------------------

    def servers_to_try(self, named: Sequence[str]) -> list[str]:
        """Return the URLs that an attempt to connect tries: those of the settings, and those that the broker named."""
        first = urlsplit(named[0])
        if first.scheme in {"ws", "wss"}:  # the broker does not name the addresses of its websockets
            return [*named]
        login, at, _ = first.netloc.rpartition("@")
        servers, known = [*named], {_address(url) for url in named}
        for url in (f"{first.scheme}://{login}{at}{place}" for place in self.places):
            if (address := _address(url)) not in known:
                known.add(address)
                servers.append(url)
        return servers

    def login_of(self, servers: Sequence[str]) -> dict[str, str]:
        """Return the login of the first server that has one, as options; nats-py does not decode a URL's."""
        for uri in map(urlsplit, servers):
            if uri.password is not None:
                return {"user": unquote(uri.username or ""), "password": unquote(uri.password)}
            if uri.username is not None:
                return {"token": unquote(uri.username)}
        return {}

    async def open(self, named: Sequence[str], login: Login, *, seconds: float, **options: Any) -> None:  # noqa: ANN401
        """Connect to one of the servers, each tried for so many seconds; never reconnect. `options` are nats-py's.

        Raises:
            nats.errors.Error, OSError, TimeoutError: none takes the connection.
        """
        servers = self.servers_to_try(named)
        self._wants_tls = login.wants_tls
        if login.nkey is not None:
            self._set_nkey(login.nkey)
        secrets = {name: self._once_secure(give) for name, give in self._secrets_of(login, servers).items()}
        await self.connect(
            servers,
            name="ach",
            allow_reconnect=False,
            connect_timeout=seconds,  # pyright: ignore[reportArgumentType]
            # Tries of each server, before it is left out of this attempt.
            max_reconnect_attempts=1,
            # We check the tokens of subjects where we make them.
            skip_subject_validation=True,
            error_cb=self.on_error,
            **secrets,
            **login.options,
            **options,
        )
        self.check_secure()

    def _set_nkey(self, public: str) -> None:
        if not hasattr(self, "_public_nkey"):
            raise BrokerMismatchError("this release of nats-py cannot log in with NATS_NKEY; NATS_CREDS works")
        self._public_nkey = public

    def _secrets_of(self, login: Login, servers: Sequence[str]) -> dict[str, Callable[..., Any]]:
        return login.secrets or {name: partial(str, value) for name, value in self.login_of(servers).items()}

    def _once_secure(self, give: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that gives a secret away only where the connection is what we want it to be."""

        def given(*asked: Any) -> Any:  # noqa: ANN401 - nats-py's
            self.check_secure()
            return give(*asked)

        return given

    def check_secure(self) -> None:
        """Make sure that nothing of ours goes over the wire as plain text where we want TLS.

        Raises:
            PlainTextError: the broker does not ask for TLS, and nats-py would do without.
        """
        if self._wants_tls and not self._secure:
            raise PlainTextError

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What nats-py asks for when it begins TLS: where that fails, the attempt to connect fails."""
        self._secure = True
        return super().ssl_context

    def new_inbox(self) -> str:
        """Return a subject for answers, below the prefix of this identity."""
        return f"{self.identity.inbox_prefix}.{token_hex(11)}"

    # -- life ----------------------------------------------------------------------------------------------------------

    async def answer(self, seconds: float) -> None:
        """Wait until the broker has answered a ping: all that was sent before has reached it by then.

        Raises:
            nats.errors.Error: it has not answered within so many seconds.
        """
        if not self.is_connected:  # neither accepted nor refused yet, or gone by now
            raise ConnectionClosedError
        await self.rtt(timeout=seconds)  # pyright: ignore[reportArgumentType]

    def abandon(self) -> None:
        """End the client at once. It waits for nothing, and may be called twice."""
        if not self.is_closed:
            task = asyncio.get_running_loop().create_task(self.end())
            _closing.add(task)
            task.add_done_callback(_closing.discard)

    async def end(self) -> None:
        """Close the client, and let what was sent arrive if the broker takes it soon."""
        with anyio.move_on_after(CLOSE_SECONDS), suppress(*OUT_OF_REACH, *GARBLED):
            await self.close()

    # -- messages ------------------------------------------------------------------------------------------------------

    async def tap(self, subject: str, deliver: Deliver) -> Subscription:
        """Subscribe; `deliver` gets what has arrived, in order. A client has one such subscription."""

        async def on_message(msg: Msg) -> None:
            deliver([(msg.subject, msg.reply, msg.data, header_block(msg.headers or {}))])

        return await self.subscribe(subject, cb=on_message)  # pyright: ignore[reportUnknownMemberType]

    async def publish_each(self, subjects: Sequence[str], body: bytes) -> None:
        """Publish one short body of ASCII on each of many subjects.

        Raises:
            nats.errors.Error: as `publish` does.
        """
        for subject in subjects:
            await self.publish(subject, body)

    async def publish_all(self, messages: Sequence[Sent]) -> dict[str, str]:
        """Publish messages; return by reply subject why some were not sent.

        One that is too large, headers included, is not sent: the broker would close the connection.

        Raises:
            nats.errors.Error: the broker is not connected at the moment, or as `publish` does.
        """
        if not self.is_connected or self.is_draining_pubs:
            raise ConnectionReconnectingError
        unsent: dict[str, str] = {}
        for subject, reply, block, body in messages:
            size = len(block) + len(body)
            if size > self.max_payload:
                unsent[reply] = too_large(size, self.max_payload)
            else:
                await self.publish(subject, body, reply, parse_headers(block) or None)
        return unsent


def _address(url: str) -> tuple[str | None, int]:
    uri = urlsplit(url)
    return uri.hostname, uri.port or _PORT

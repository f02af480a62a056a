"""The connection to the broker, watched over: a client that has ended is replaced by a new one, however often.

The library reconnects by itself after a cut, but closes its client for good after most of what a broker can say
(`-ERR`), and where one of its own tasks dies it neither reconnects nor closes. So there is one way for everything: its
own reconnecting is off, whatever has become of a client shows in its public state or in an answer that stays away, and
what was bound to it (subscriptions) is bound to the next one.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import asynccontextmanager
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from worker.broker.client import TappingClient
from worker.network_errors import in_words
from worker.retry import delays
from worker.settings import ENCODED, Settings
from worker.urls import is_clear, redacted, servers_of, shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

    Binding = Callable[[TappingClient], Awaitable[None]]
    """Binds something to a client: called for the present one, and for each that takes its place."""

CONNECT_SECONDS: Final = 5.0
"""For one server to take a connection, and for it to answer."""
PING_SECONDS: Final = 5
"""Between two pings of the library; two that are not answered, and it takes the connection for lost."""
RETRY_SECONDS: Final = 0.25
"""Between two tries of one server within an attempt."""
LONGEST_PAUSE: Final = 2.0
"""Between two attempts, at most: whoever restarts a broker should not wait for its workers."""
LOOK_SECONDS: Final = 0.5
"""Between two looks at the client's state, where nothing calls for one."""
BEAT_SECONDS: Final = 5.0
"""Between two questions of our own for an answer."""
ANSWER_SECONDS: Final = 10.0
"""Until a question that is not answered means that the connection is dead; it may wait behind 16 MiB of messages."""
STEADY_SECONDS: Final = 10.0
"""A client that lived so long was no failure: the next one is made without delay."""
REFUSED_SECONDS: Final = 5.0
"""For which a first login is tried that the broker refuses. One that was taken before is tried for ever: a password
that was rotated may be right again."""
REPEAT_SECONDS: Final = 60.0
"""Between two log lines about the same refusal."""
MOST_REFUSALS: Final = 100
"""Different refusals that are remembered, so that each is logged once in a while."""
CLOSE_SECONDS: Final = 5.0

OUT_OF_REACH: Final = (NatsError, OSError, TimeoutError)
"""What goes wrong where the broker is away."""
_GARBLED: Final = (ValueError, AttributeError, KeyError, TypeError, AssertionError)
"""What the library raises where a server says what no server says."""

_UNREADABLE: Final = f"NATS_URL cannot be read: expected nats://user:password@host:port; {ENCODED}"

log = structlog.get_logger()


class BrokerAwayError(Exception):
    """The broker did not answer, or cannot at the moment: the same may be tried again."""


class BrokerMismatchError(Exception):
    """The broker has something else under a name that we need; the message says what."""


class Kind(StrEnum):
    """Why a connection ended, or what the broker refused."""

    LOST = "lost"
    """Cut off, or never made."""
    SILENT = "silent"
    """It stands, and nothing is answered."""
    AUTHORIZATION = "authorization"
    PERMISSIONS = "permissions"
    LIMIT = "limit"
    """Of connections, or subscriptions."""
    PAYLOAD = "payload"
    PROTOCOL = "protocol"
    TLS = "tls"
    OTHER = "other"
    """Of a broker that says what this version does not know."""


_KINDS: Final = (
    (Kind.PERMISSIONS, "permissions violation"),
    (Kind.SILENT, "stale connection|no answer|has ended"),
    (Kind.PAYLOAD, "maximum payload"),
    (Kind.PROTOCOL, "control line|protocol|invalid|headers|route port|leaf node port|gateway port|wrong port"),
    (Kind.LIMIT, "maximum|throttling"),
    (Kind.TLS, "tls|ssl|certificate"),
    (Kind.AUTHORIZATION, "authorization|authentication|account|revoked|proxy"),
    (
        Kind.LOST,
        "eof|empty response|refused|reset|pipe|timeout|servers|not connected|closed|name|address|host|network",
    ),
)


def kind_of(said: str) -> Kind:
    """Return the kind of what a broker or the network has said."""
    return next((kind for kind, words in _KINDS if re.search(words, said, re.IGNORECASE)), Kind.OTHER)


class Watcher:
    """Hears what becomes of the connection. `refused` is called with what the broker refuses while it stands."""

    def lost(self) -> None:
        """Hear that it is gone: what was asked on it will not be answered."""

    async def returned(self) -> None:
        """Hear that there is another one, with all bindings."""

    def refused(self, said: str) -> None:
        """Hear of a violation of permissions; the words are the broker's."""


class Connection:
    """One connection to the broker, that outlives its clients; `open` makes the first one.

    To publish and to subscribe it may be used in place of a client.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = TappingClient()
        self._made_at = monotonic()
        self._bindings: list[Binding] = []
        self._watcher = Watcher()
        self._pauses = delays(longest=LONGEST_PAUSE)
        self._called = asyncio.Event()
        self._beat_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._heard = ""
        """What the library has last told of this attempt."""
        self._refusals: dict[str, float] = {}
        """What was refused, and when it was last logged."""
        self.clients = 0
        """Made so far."""
        self.errors: Counter[str] = Counter()
        """Ends of clients, attempts that failed, and refusals, by kind."""
        self.said = ""
        """By the broker or the network, last of all, when something went wrong."""

    @property
    def client(self) -> TappingClient:
        """The present client; it may be closed, and another one takes its place."""
        return self._client

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._client.is_connected

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the first client, however long that takes, and watch over it until `close`.

        Raises:
            BrokerMismatchError: NATS_URL is no URL; it is not quoted, as it may hold a password. Or the broker refuses
                the login.
        """
        if not all(map(is_clear, self._servers())):
            raise BrokerMismatchError(_UNREADABLE)
        await self._connect()
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def watch(self, watcher: Watcher) -> None:
        """Let somebody hear what becomes of the connection."""
        self._watcher = watcher

    async def close(self) -> None:
        """End it, and let what was sent arrive if the broker takes it soon."""
        with anyio.CancelScope(shield=True):
            self._closing = True
            while self._task is not None and not self._task.done():
                # Again and again: the library swallows a cancellation here and there.
                self._task.cancel()
                await asyncio.wait([self._task], timeout=LOOK_SECONDS)
            with anyio.move_on_after(CLOSE_SECONDS):
                try:
                    await self._client.close()
                except (*OUT_OF_REACH, *_GARBLED) as error:
                    log.debug("not closed", said=said_by(error))
            self._client.abandon()

    async def _watch(self) -> None:
        while not self._closing:
            with anyio.move_on_after(LOOK_SECONDS):
                await self._called.wait()
            self._called.clear()
            try:
                because = self._ended() or await self._beat()
                if because is not None:
                    await self._renew(because)
            except Exception as error:  # whoever watches may not end by what it is there to notice
                log.exception("watching over nats", said=said_by(error))

    def _ended(self) -> str | None:
        """Return why the client is of no more use, None where it is."""
        client = self._client
        if client.is_closed or not client.is_connected:
            error = client.last_error
            return client.refusal or (self._quoted(error) if error is not None else "") or "not connected"
        return f"the library's {client.ended_task} has ended" if client.ended_task else None

    async def _beat(self) -> str | None:
        """Ask for an answer from time to time; return what is wrong where none comes."""
        if monotonic() < self._beat_at:
            return None
        try:
            await self._client.answer(ANSWER_SECONDS)
        except OUT_OF_REACH:
            return self._ended() or f"no answer to a ping for {ANSWER_SECONDS:.0f} s"
        self._beat_at = monotonic() + BEAT_SECONDS
        return None

    async def _renew(self, because: str) -> None:
        """Put another client in the place of one that has ended."""
        log.warning("lost nats", server=shown(self._settings.nats_url), said=because)
        self._note(because)
        self._client.abandon()
        self._watcher.lost()
        if monotonic() - self._made_at > STEADY_SECONDS:
            self._pauses = delays(longest=LONGEST_PAUSE)
        # Also before the first attempt: workers that have lost the same server should not return in one instant.
        await anyio.sleep(next(self._pauses))
        await self._connect()
        log.info("nats is back", server=shown(self._settings.nats_url))
        await self._watcher.returned()

    async def _connect(self) -> None:
        began = monotonic()
        connected = await self._attempt()
        while not connected:
            if not self.clients and monotonic() - began > REFUSED_SECONDS and kind_of(self.said) is Kind.AUTHORIZATION:
                server = shown(self._settings.nats_url)
                raise BrokerMismatchError(f"NATS at {server} refuses the login: {self.said}; is NATS_URL right?")
            await anyio.sleep(next(self._pauses))
            connected = await self._attempt()

    async def _attempt(self) -> bool:
        """Try to put a new client, with everything that belongs to it, in the place of the present one."""
        client = TappingClient(self._client)
        client.on_refusal = self._on_refusal
        bound: list[Binding] = []
        self._heard = ""
        try:
            with anyio.fail_after(CONNECT_SECONDS * (1 + 2 * len(client.servers_to_try(self._servers())))):
                await client.connect(**self._options())
                await client.answer(CONNECT_SECONDS)
                while missing := [one for one in self._bindings if one not in bound]:
                    for binding in missing:
                        await binding(client)
                    bound += missing
                    # Something may be refused by now: only an answer tells.
                    await client.answer(CONNECT_SECONDS)
        except (*OUT_OF_REACH, *_GARBLED) as error:
            client.abandon()
            because = client.refusal or self._heard or self._quoted(error)
            self._note(because)
            log.warning("nats cannot be reached", server=shown(self._settings.nats_url), said=because)
            return False
        except BaseException:
            client.abandon()
            raise
        self._client = client
        self._made_at = monotonic()
        self._beat_at = monotonic() + BEAT_SECONDS
        self._refusals.clear()
        self.clients += 1
        return True

    def _servers(self) -> list[str]:
        return servers_of(self._settings.nats_url)

    def _options(self) -> dict[str, Any]:
        return {
            "servers": self._servers(),
            "name": "ach",
            "allow_reconnect": False,
            "connect_timeout": CONNECT_SECONDS,
            # Of each server, before it is left out of this attempt.
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": RETRY_SECONDS,
            "ping_interval": PING_SECONDS,
            "max_outstanding_pings": 2,
            # Subjects are made of tokens that are checked where they are made.
            "skip_subject_validation": True,
            "error_cb": self._on_error,
            "closed_cb": self._on_closed,
            "lame_duck_mode_cb": self._on_lame_duck,
        }

    def _quoted(self, error: BaseException) -> str:
        """Return what an error says, which may quote the URL, without secrets."""
        return redacted(said_by(error), self._settings.nats_url)

    def _note(self, said: str) -> None:
        self.said = said
        self.errors[kind_of(said)] += 1

    # -- what the library tells ----------------------------------------------------------------------------------------

    def _on_refusal(self, said: str) -> None:
        """Take note of an `-ERR` that closes nothing; what closes is noted when the client is looked at."""
        if kind_of(said) is not Kind.PERMISSIONS:
            return
        self.errors[Kind.PERMISSIONS] += 1
        now = monotonic()
        if now - self._refusals.get(said, -REPEAT_SECONDS) >= REPEAT_SECONDS and len(self._refusals) < MOST_REFUSALS:
            self._refusals[said] = now
            log.warning("nats refuses", server=shown(self._settings.nats_url), said=said)
        self._watcher.refused(said)

    async def _on_error(self, error: Exception) -> None:
        said = self._quoted(error)
        if kind_of(said) is not Kind.PERMISSIONS and said != self._heard:  # a broker that is away says so at every try
            self._heard = said
            log.debug("trouble with nats", server=shown(self._settings.nats_url), said=said)

    async def _on_closed(self) -> None:
        self._called.set()

    async def _on_lame_duck(self) -> None:
        log.info("nats is about to stop; another connection follows", server=shown(self._settings.nats_url))

    # -- in place of a client ------------------------------------------------------------------------------------------

    async def bind(self, binding: Binding) -> None:
        """Bind something to the client, and to each that takes its place; one that is away has it when it is back."""
        self._bindings.append(binding)
        try:
            await binding(self._client)
        except OUT_OF_REACH as error:
            log.debug("bound later", said=said_by(error))

    def unbind(self, binding: Binding) -> None:
        """Bind it to no further client."""
        if binding in self._bindings:
            self._bindings.remove(binding)

    def new_inbox(self) -> str:
        """Return a subject for answers that is nobody else's."""
        return self._client.new_inbox()

    def jetstream(self, **options: Any) -> JetStreamContext:  # noqa: ANN401 - the library's own
        """Return the library's view of JetStream over the present client."""
        return self._client.jetstream(**options)  # pyright: ignore[reportUnknownMemberType]

    async def subscribe(self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> SubjectState:
        """Let a callback hear a subject from now on, over whatever client there is."""
        standing = SubjectState(self, subject, cb)
        await self.bind(standing.bind)
        return standing

    async def publish(
        self, subject: str, body: bytes = b"", *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish one message.

        Raises:
            nats.errors.Error: as the client does; it is closed for as long as the broker is away.
        """
        await self._client.publish(subject, body, reply=reply, headers=headers)

    async def flush(self) -> None:
        """Wait until what was sent has arrived.

        Raises:
            nats.errors.Error: it has not, or nothing says so.
        """
        await self._client.answer(ANSWER_SECONDS)


@asynccontextmanager
async def connected_once(settings: Settings, *, seconds: int) -> AsyncGenerator[TappingClient]:
    """Give a client for the length of a block, after one attempt: a command wants to know that the broker is away.

    Raises:
        BrokerMismatchError: NATS_URL is no URL.
        nats.errors.Error, OSError, TimeoutError: the broker is away.
    """
    servers = servers_of(settings.nats_url)
    if not all(map(is_clear, servers)):
        raise BrokerMismatchError(_UNREADABLE)
    client = TappingClient()
    try:
        with anyio.fail_after(seconds * (1 + len(servers))):
            await client.connect(
                servers,
                name="ach",
                connect_timeout=seconds,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                error_cb=_silent,
            )
        yield client
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await client.close()
    finally:
        client.abandon()


async def _silent(_: Exception) -> None:
    """What is wrong is raised as well."""


class SubjectState:
    """A subscription that outlives clients."""

    def __init__(self, connection: Connection, subject: str, tell: Callable[[Msg], Awaitable[None]]) -> None:
        self._connection = connection
        self._subject = subject
        self._tell = tell
        self._subscription: Subscription | None = None

    async def bind(self, client: TappingClient) -> None:
        """Subscribe on one client."""
        self._subscription = await client.subscribe(self._subject, cb=self._tell)  # pyright: ignore[reportUnknownMemberType]

    async def unsubscribe(self) -> None:
        """Hear nothing more."""
        self._connection.unbind(self.bind)
        if self._subscription is not None:
            try:
                await self._subscription.unsubscribe()
            except OUT_OF_REACH as error:
                log.debug("not unsubscribed", said=said_by(error))


def said_by(error: BaseException) -> str:
    """Return an error in words."""
    if isinstance(error, NoServersError):
        return "none of the servers answers"
    if isinstance(error, NatsError) and not isinstance(error, TimeoutError):
        return str(error).removeprefix("nats: ") or type(error).__name__
    return in_words(error)

"""The connection to the broker, watched over: a client that has ended is replaced by a new one, however often.

nats-py reconnects by itself after a cut, but closes its client for good after most of what a broker can say (`-ERR`),
and where one of its own tasks dies it neither reconnects nor closes. So there is one way for everything: its own
reconnecting is off. What has become of a client shows in its public state, or in an answer that does not come; and what
was bound to it (subscriptions) is bound to the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.broker.choice import new_client
from worker.broker.error_text import Kind, kind_of
from worker.broker.errors import GARBLED, OUT_OF_REACH, BrokerMismatchError, in_words
from worker.broker.login import Login
from worker.broker.once import readable_servers
from worker.broker.window import Window
from worker.retry import delays
from worker.urls import redacted, servers_of, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.broker.client import BrokerClient, Msg
    from worker.broker.protocol import Sent
    from worker.settings import Settings

    Binding = Callable[[BrokerClient], Awaitable[None]]
    """Binds something to a client: called for the present one, and for each that takes its place."""

CONNECT_SECONDS: Final = 5.0
"""For one server to take a connection, and for it to answer."""
PING_SECONDS: Final = 5
"""Between two pings of nats-py; after two without an answer it takes the connection for lost."""
RETRY_SECONDS: Final = 0.25
"""Between two tries of one server within an attempt."""
LONGEST_PAUSE: Final = 2.0
"""Between two attempts, at most: an operator who restarts a broker should not wait for its workers."""
LOOK_SECONDS: Final = 0.5
"""Between two looks at the client's state, where nothing calls for one."""
BEAT_SECONDS: Final = 5.0
"""Between two pings of our own."""
ANSWER_SECONDS: Final = 10.0
"""After which a ping without an answer means a dead connection; the answer may wait behind 16 MiB of messages."""
STEADY_SECONDS: Final = 10.0
"""A client that lived so long was no failure: the next one is made without delay."""
REFUSED_SECONDS: Final = 5.0
"""For which a first login that the broker refuses, or a certificate, is tried. One that was taken before is tried for
ever: a password that was rotated may be right again."""
REPEAT_SECONDS: Final = 60.0
"""Between two log lines about the same refusal."""
MOST_REFUSALS: Final = 100
"""Different refusals that are remembered, so that each is logged once in a while."""

log = structlog.get_logger()


class Watcher:
    """Is called with what becomes of the connection."""

    async def returned(self) -> None:
        """There is another connection, with all bindings."""

    def refused(self, said: str) -> None:
        """The broker has refused something for lack of permission; the words are its own."""


class Connection:
    """A connection that outlives its clients; `open` makes the first one.

    It publishes and subscribes in place of a client.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = new_client(None, settings.identity)
        self._login: Login | None = None
        """As the last attempt has read it."""
        self.window = Window(self)
        """For all that is published with an acknowledgement."""
        self._made_at = monotonic()
        self._bindings: list[Binding] = []
        self._watcher = Watcher()
        self._pauses = delays(longest=LONGEST_PAUSE)
        self._called = asyncio.Event()
        self._beat_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._heard = ""
        """What nats-py has last reported about this attempt."""
        self._refusals: dict[str, float] = {}
        """What was refused, and when it was last logged."""
        self.clients = 0
        """Made so far."""
        self.errors: Counter[str] = Counter()
        """Ends of clients, attempts that failed, and refusals, by kind."""
        self.said = ""
        """What the broker or the network said when something went wrong, last of all."""

    @property
    def client(self) -> BrokerClient:
        """The present client. It may be closed, and another one takes its place."""
        return self._client

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._client.is_connected

    # -- life ----------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the first client, however long that takes, and watch over it until `close`.

        Raises:
            BrokerMismatchError: NATS_URL is no URL, the identity cannot be read, or the broker refuses it.
        """
        readable_servers(self._settings)
        self._login = self._read_login()
        await self._connect()
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def watch(self, watcher: Watcher) -> None:
        """Set the one that is called with what becomes of the connection."""
        self._watcher = watcher

    async def close(self) -> None:
        """End it, and let what was sent arrive if the broker takes it soon."""
        with anyio.CancelScope(shield=True):
            self._closing = True
            while self._task is not None and not self._task.done():
                # Again and again: nats-py swallows some cancellations.
                self._task.cancel()
                await asyncio.wait([self._task], timeout=LOOK_SECONDS)
            await self._client.end()
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
            except Exception as error:  # what is watched for may not end the watching
                log.exception("watching over nats", said=in_words(error))

    def _ended(self) -> str | None:
        """Return why the client cannot be used any more, None where it can."""
        client = self._client
        if client.is_closed or not client.is_connected:
            error = client.last_error
            return client.refusal or (self._quoted(error) if error is not None else "") or "not connected"
        return f"the {client.ended_task} task of nats-py has ended" if client.ended_task else None

    async def _beat(self) -> str | None:
        """Ask for an answer from time to time; return what is wrong if none comes."""
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
        self.window.lose()
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
            if not self.clients and monotonic() - began > REFUSED_SECONDS:
                self._check_refusal()
            await anyio.sleep(next(self._pauses))
            connected = await self._attempt()

    def _check_refusal(self) -> None:
        """Give up where another attempt does not help.

        Raises:
            BrokerMismatchError: the broker has refused the login, or one of us the other's certificate.
        """
        server, settings = shown(self._settings.nats_url), self._settings
        match kind_of(self.said):
            case Kind.AUTHORIZATION:
                doubt = "" if self._login is None else self._login.doubt
                doubt = doubt or f"is {settings.identity.login_of(settings.nats_url)} right?"
                raise BrokerMismatchError(f"NATS at {server} refuses the login: {self.said}; {doubt}")
            case Kind.TLS:
                raise BrokerMismatchError(
                    f"NATS at {server}: {self.said}; are NATS_URL, NATS_CA, NATS_CERT and NATS_KEY right?"
                )
            case _:
                return

    def _read_login(self) -> Login:
        return Login(self._settings.identity, self._settings.nats_url)

    async def _attempt(self) -> bool:
        """Try to put a new client, with all bindings, in the place of the present one."""
        try:
            self._login = login = self._read_login()
        except BrokerMismatchError as error:  # a file that is just being replaced
            self._note(str(error))
            log.warning("nats cannot be reached", server=shown(self._settings.nats_url), said=str(error))
            return False
        client = new_client(self._client)
        client.on_refusal = self._on_refusal
        client.on_trouble = self._on_trouble
        bound: list[Binding] = []
        self._heard = ""
        try:
            with anyio.fail_after(CONNECT_SECONDS * (1 + 2 * len(client.servers_to_try(self._servers())))):
                await self._open(client, login)
                await client.answer(CONNECT_SECONDS)
                while missing := [one for one in self._bindings if one not in bound]:
                    for binding in missing:
                        await binding(client)
                    bound += missing
                    # Something may be refused by now: only an answer tells.
                    await client.answer(CONNECT_SECONDS)
        except (*OUT_OF_REACH, *GARBLED) as error:
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

    async def _open(self, client: BrokerClient, login: Login) -> None:
        await client.open(
            self._servers(),
            login,
            seconds=CONNECT_SECONDS,
            reconnect_time_wait=RETRY_SECONDS,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=2,
            closed_cb=self._on_closed,
            lame_duck_mode_cb=self._on_lame_duck,
        )

    def _quoted(self, error: BaseException) -> str:
        """Return what an error says, which may quote the URL, without secrets."""
        hidden = () if self._login is None else self._login.hidden
        said = redacted(in_words(error), self._settings.nats_url, secrets=hidden)
        if isinstance(error, TimeoutError) and self._login is not None and self._login.wants_tls and not self.clients:
            said += "; does one side alone begin with the handshake (handshake_first)?"
        return said

    def _note(self, said: str) -> None:
        self.said = said
        self.errors[kind_of(said)] += 1

    # -- what nats-py reports ------------------------------------------------------------------------------------------

    def _on_refusal(self, said: str) -> None:
        """Note a violation of permissions: it closes nothing. What closes is noted when the client is looked at."""
        self.errors[Kind.PERMISSIONS] += 1
        now = monotonic()
        if now - self._refusals.get(said, -REPEAT_SECONDS) >= REPEAT_SECONDS and len(self._refusals) < MOST_REFUSALS:
            self._refusals[said] = now
            log.warning("nats refuses", server=shown(self._settings.nats_url), said=said)
        self._watcher.refused(said)

    def _on_trouble(self, error: Exception) -> None:
        said = self._quoted(error)
        if said != self._heard:  # while a broker is away, every try says the same
            self._heard = said
            log.debug("trouble with nats", server=shown(self._settings.nats_url), said=said)

    async def _on_closed(self) -> None:
        self._called.set()

    async def _on_lame_duck(self) -> None:
        log.info("nats is about to stop; another connection follows", server=shown(self._settings.nats_url))

    # -- in place of a client ------------------------------------------------------------------------------------------

    async def bind(self, binding: Binding) -> None:
        """Bind something to the client, and to each that takes its place: later, if the broker is away."""
        self._bindings.append(binding)
        try:
            await binding(self._client)
        except OUT_OF_REACH as error:
            log.debug("bound later", said=in_words(error))

    def unbind(self, binding: Binding) -> None:
        """Bind something to no further client."""
        if binding in self._bindings:
            self._bindings.remove(binding)

    def new_inbox(self) -> str:
        """Return a subject for answers that no other client listens on."""
        return self._client.new_inbox()

    async def subscribe(self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> None:
        """Call back for each message on a subject from now on, over whatever client there is."""

        async def listen(client: BrokerClient) -> None:
            await client.subscribe(subject, cb=cb)  # pyright: ignore[reportUnknownMemberType]

        await self.bind(listen)

    async def publish_all(self, messages: Sequence[Sent]) -> dict[str, str]:
        """Publish messages in one write; return by reply subject why some were not sent.

        Raises:
            nats.errors.Error: the broker is away.
        """
        return await self._client.publish_all(messages)

    async def answers(self) -> bool:
        """Tell whether the broker answers a ping; of a frozen one that takes `ANSWER_SECONDS`."""
        try:
            await self.flush()
        except OUT_OF_REACH:
            return False
        return True

    async def flush(self) -> None:
        """Wait until what was sent has arrived.

        Raises:
            nats.errors.Error: no answer says that it has.
        """
        await self._client.answer(ANSWER_SECONDS)

"""Who listens to what: live clients by subject, each with a bounded queue. One message is read once for all of them."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
import msgspec
from msgspec import Meta, Raw, Struct

from dsl.outcome import Subject
from worker.engine.announcement import Instant
from worker.engine.cursor import CursorError, Cursors
from worker.engine.languages import spoken
from worker.serve.problems import TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.broker.follow import Followed
    from worker.serve.config import Config

MOST_QUEUED: Final = 64
"""Events that wait for one client. A client that takes them more slowly is cut off, and resumes by the last id."""
MESSAGE_ID: Final = "Nats-Msg-Id"
"""The header that every announcement has, and nothing else that can stand among them."""
STALE: Final = b"event: stale\ndata: {}\n\n"
_NULL: Final = Raw(b"null")
_Reward = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
_Text = Annotated[Raw, Meta(extra_json_schema={"type": ["string", "null"]})]


class Unlock(Struct, frozen=True, kw_only=True):
    """What has become of an unlock of the subject: the data of an event `unlock`.

    Keep, of each `unlock_id`, what the highest `revision` says. Of an erased one nothing but the name is said.
    """

    kind: Annotated[
        str,
        Meta(
            extra_json_schema={
                "enum": ["granted", "amended", "contested", "restored", "revoked", "granted_by_hand", "erased"]
            }
        ),
    ]
    unlock_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    revision: Annotated[int, Meta(ge=1)]
    achievement: str
    tier: str | None
    occurrence: str | None
    status: str
    version: int | None
    origin: Annotated[str | None, Meta(description="Celebrate `live` and `settled`; `backfill` is old news.")]
    earned_at: Instant | None
    granted_at: Instant | None
    title: str | None
    language: str | None
    fallback: bool
    about: _Text
    family: _Text
    reward: _Reward


class _Message(Struct, frozen=True, kw_only=True):
    """What is read of an announcement; who decided, and in which words, is not for the subject."""

    kind: str
    unlock_id: str
    revision: int
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    status: str = ""
    version: int | None = None
    origin: str | None = None
    earned_at: str | None = None
    granted_at: str | None = None
    title: dict[str, str] | None = None
    about: Raw = _NULL
    family: Raw = _NULL
    reward: Raw = Raw(b"{}")


_read: Final = msgspec.json.Decoder(_Message).decode
_encode: Final = msgspec.json.Encoder().encode


class Client:
    """One live stream: what waits to be written to it."""

    def __init__(self, subject: Subject, languages: tuple[str, ...]) -> None:
        self.subject = subject
        self.languages = languages
        self.slow = False
        """Whether it has taken its events too slowly: it gets no more."""
        self.ended = False
        self._queue: deque[tuple[int, bytes]] = deque()
        self._arrived = anyio.Event()

    def put(self, seq: int, frame: bytes) -> None:
        """Queue an event; `seq` is its place in the stream of unlocks, 0 where it has none."""
        if len(self._queue) >= MOST_QUEUED:
            self.slow = True
        elif not self.slow:
            self._queue.append((seq, frame))
        self._arrived.set()

    def end(self) -> None:
        """End the stream."""
        self.ended = True
        self._arrived.set()

    async def wait(self) -> None:
        """Wait until there is something to take, or to look at."""
        if not (self._queue or self.slow or self.ended):
            self._arrived = anyio.Event()
            await self._arrived.wait()

    def take(self, behind: int) -> bytes:
        """Return all that waits, but for what lies at or before a place in the stream."""
        frames = b"".join(frame for seq, frame in self._queue if not 0 < seq <= behind)
        self._queue.clear()
        return frames


class Hub:
    """All live streams of a process."""

    def __init__(self, config: Config) -> None:
        self._most, self._most_each = config.live_streams, config.live_per_subject
        self._most_of_tenant = config.live_per_tenant
        self._of_tenant: Counter[str] = Counter()
        self._cursors = Cursors(b"live " + config.cursor_key.encode())
        self._clients: dict[Subject, list[Client]] = {}
        self._tenants: dict[str, dict[Subject, None]] = {}
        """Subjects that are listened to, by tenant."""
        self._touched: dict[Subject, None] = {}
        self.count = 0

    # -- clients -------------------------------------------------------------------------------------------------------

    def join(self, subject: Subject, languages: tuple[str, ...]) -> Client:
        """Return a new client that gets what is said of a subject from now on; `leave` ends that.

        Raises:
            TooManyRequestsError: the subject, its tenant, or the process has as many as it may have.
        """
        listening = self._clients.get(subject, [])
        if len(listening) >= self._most_each:
            raise TooManyRequestsError(
                f"this subject has {len(listening)} live streams already", "Close one.", retry_after=10
            )
        if self._of_tenant[subject.tenant_id] >= self._most_of_tenant:
            raise TooManyRequestsError(
                f"this tenant has {self._most_of_tenant:,} live streams already", "Close some.", retry_after=30
            )
        if self.count >= self._most:
            raise TooManyRequestsError("no more live streams can be served here", "Try again later.", retry_after=30)
        client = Client(subject, languages)
        self._clients[subject] = [*listening, client]
        self._tenants.setdefault(subject.tenant_id, {})[subject] = None
        self.count += 1
        self._of_tenant[subject.tenant_id] += 1
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        left = [one for one in self._clients[client.subject] if one is not client]
        self.count -= 1
        self._of_tenant[client.subject.tenant_id] -= 1
        if not self._of_tenant[client.subject.tenant_id]:
            del self._of_tenant[client.subject.tenant_id]
        if left:
            self._clients[client.subject] = left
            return
        del self._clients[client.subject]
        self._touched.pop(client.subject, None)
        tenant = self._tenants[client.subject.tenant_id]
        del tenant[client.subject]
        if not tenant:
            del self._tenants[client.subject.tenant_id]

    def has(self, subject: Subject) -> bool:
        """Tell whether any client listens to a subject."""
        return subject in self._clients

    def end(self) -> None:
        """End all streams."""
        for client in [client for clients in self._clients.values() for client in clients]:
            client.end()

    # -- unlocks -------------------------------------------------------------------------------------------------------

    def deliver(self, message: Followed) -> None:
        """Hand an announcement to all that listen to its subject."""
        said = read(message)
        if said is None:
            return
        subject = Subject(said.tenant_id, said.scope, said.subject)
        frames: dict[tuple[str, ...], bytes] = {}
        clients = self._clients.get(subject, ())
        if clients:
            self._touch([subject])
        for client in clients:
            if client.languages not in frames:
                frames[client.languages] = self.frame(message.seq, said, client.languages)
            client.put(message.seq, frames[client.languages])

    def frame(self, seq: int, said: _Message, languages: tuple[str, ...]) -> bytes:
        """Return an announcement as an event."""
        subject = Subject(said.tenant_id, said.scope, said.subject)
        return b"id: %s\nevent: unlock\ndata: %s\n\n" % (self.id_of(subject, seq), _encode(_shown(said, languages)))

    def ready(self, subject: Subject, seq: int) -> bytes:
        """Return the event that begins a stream: its id is where to resume before anything else has come."""
        return b"id: %s\nevent: ready\ndata: {}\n\n" % self.id_of(subject, seq)

    def id_of(self, subject: Subject, seq: int) -> bytes:
        """Return a place in the stream of unlocks as an id. It counts what all tenants do, so it is encrypted."""
        return self._cursors.write("\0".join(subject), seq).encode()

    def place_of(self, subject: Subject, last: str) -> int | None:
        """Return the place that an id stands for; None where it was not given out here for this subject."""
        try:
            return self._cursors.read("\0".join(subject), last)
        except CursorError:
            return None

    # -- progress ------------------------------------------------------------------------------------------------------

    def touch(self, tenant: str) -> None:
        """Note that standings of a tenant may have changed."""
        self._touch(self._tenants.get(tenant, ()))

    def touch_all(self) -> None:
        """Note that anything may have happened."""
        self._touch(self._clients)

    def _touch(self, subjects: Iterable[Subject]) -> None:
        for subject in subjects:
            self._touched[subject] = None

    def take_touched(self, most: int) -> list[Subject]:
        """Return subjects that are listened to and were touched, those that have waited longest first."""
        taken = list(_first(self._touched, most))
        for subject in taken:
            del self._touched[subject]
        return taken

    def say_stale(self, subject: Subject) -> None:
        """Say to all that listen to a subject that its answer is another one now."""
        for client in self._clients.get(subject, ()):
            client.put(0, STALE)


def read(message: Followed) -> _Message | None:
    """Read an announcement that its subject may see; None of anything else."""
    if MESSAGE_ID not in message.headers:
        return None
    try:
        said = _read(message.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return None if said.kind == "withheld" else said


def _shown(said: _Message, languages: tuple[str, ...]) -> Unlock:
    title = spoken(said.title or {}, languages)
    return Unlock(
        kind=said.kind,
        unlock_id=said.unlock_id,
        revision=said.revision,
        achievement=said.achievement,
        tier=said.tier,
        occurrence=said.occurrence,
        status=said.status,
        version=said.version,
        origin=said.origin,
        earned_at=said.earned_at,
        granted_at=said.granted_at,
        title=None if title is None else title.text,
        language=None if title is None else title.language,
        fallback=title is not None and title.fallback,
        about=said.about,
        family=said.family,
        reward=said.reward,
    )


def _first(items: Iterable[Any], most: int) -> Iterator[Any]:
    for _, item in zip(range(most), items, strict=False):
        yield item

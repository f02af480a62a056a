"""What is known of the servers, as far as checks judge it.

Times of JetStream are in nanoseconds, and limits are 0 or less for none.

JetStream's own names are kept, so that its answers decode to these.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from worker.broker.consumer import Existing
from worker.doctor.finding import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sql.record import Applied
    from worker.settings import Settings


class Named(msgspec.Struct, frozen=True):
    """A stream that another one takes its messages from."""

    name: str = ""


class Republish(msgspec.Struct, frozen=True):
    """Where copies of messages go."""

    dest: str = ""


class Transform(msgspec.Struct, frozen=True):
    """How subjects are changed before a message is stored."""

    src: str = ""
    dest: str = ""


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's configuration."""

    name: str = ""
    subjects: tuple[str, ...] = ()
    retention: str = "limits"
    storage: str = "file"
    discard: str = "old"
    max_age: int = 0
    max_msgs: int = -1
    max_bytes: int = -1
    max_msgs_per_subject: int = -1
    max_msg_size: int = -1
    num_replicas: int = 1
    duplicate_window: int = 0
    no_ack: bool = False
    sealed: bool = False
    deny_purge: bool = False
    allow_rollup_hdrs: bool = False
    allow_atomic: bool = False
    allow_msg_ttl: bool = False
    allow_msg_counter: bool = False
    allow_msg_schedules: bool = False
    persist_mode: str = ""
    mirror: Named | None = None
    sources: tuple[Named, ...] = ()
    republish: Republish | None = None
    subject_transform: Transform | None = None


class StreamState(msgspec.Struct, frozen=True):
    """What a stream holds."""

    messages: int = 0
    bytes: int = 0
    first_seq: int = 0
    last_seq: int = 0


class Peer(msgspec.Struct, frozen=True):
    """A replica that is not the leader."""

    name: str = ""
    current: bool = False
    offline: bool = False


class Cluster(msgspec.Struct, frozen=True):
    """Where a stream is kept; without a name, on a server that is in no cluster."""

    name: str = ""
    leader: str = ""
    replicas: tuple[Peer, ...] = ()


class StreamInfo(msgspec.Struct, frozen=True):
    """JetStream's answer about a stream."""

    config: StreamConfig
    state: StreamState = StreamState()
    cluster: Cluster = Cluster()
    ts: str = ""
    """The clock of the server that answers; "" before 2.10."""


class Role(StrEnum):
    """Which of the two streams."""

    EVENTS = "events"
    UNLOCKS = "unlocks"


class StreamSeen(NamedTuple):
    """One of the two streams, and how it is to be used."""

    info: StreamInfo
    role: Role
    settings: Settings

    @property
    def config(self) -> StreamConfig:
        """Its configuration."""
        return self.info.config

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.input_stream if self.role is Role.EVENTS else self.settings.unlock_stream

    @property
    def wanted(self) -> str:
        """The subjects that it is to take."""
        prefix = self.settings.input_prefix if self.role is Role.EVENTS else self.settings.unlock_prefix
        return f"{prefix}.>"


class ConsumerConfig(Existing, frozen=True, kw_only=True):
    """A consumer's configuration, with what a worker does not ask about."""

    filter_subject: str = ""
    filter_subjects: tuple[str, ...] = ()
    inactive_threshold: int = 0
    mem_storage: bool = False
    num_replicas: int = 0


class ConsumerInfo(msgspec.Struct, frozen=True):
    """JetStream's answer about a consumer."""

    config: ConsumerConfig
    num_pending: int = 0
    num_ack_pending: int = 0
    paused: bool = False


class ConsumerSeen(NamedTuple):
    """The consumer of the events, and what is asked of it."""

    info: ConsumerInfo
    stream: StreamConfig | None
    """Of its events, where that is known."""
    settings: Settings

    @property
    def config(self) -> ConsumerConfig:
        """Its configuration."""
        return self.info.config


class Server(NamedTuple):
    """What a nats-server says of itself."""

    version: str
    max_payload: int


class Rights(NamedTuple):
    """Subjects that the broker does not let this login use; None where that could not be found out."""

    denied: Sequence[str]


class Skew(NamedTuple):
    """How far a server's clock is ahead of this machine's, and how exactly that is known; in seconds."""

    seconds: float
    give: float


class Account(msgspec.Struct, frozen=True):
    """JetStream's answer about the account."""

    storage: int = 0
    limits: Limits | None = None


class Limits(msgspec.Struct, frozen=True):
    """What an account may keep."""

    max_storage: int = -1


class DatabaseSettings(NamedTuple):
    """What PostgreSQL says of itself; `skew` is known apart."""

    version: int
    in_recovery: bool
    read_only: bool
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    standbys: str
    autovacuum: str
    max_connections: int
    reserved: int
    connections: int
    role: str
    database: str
    """Both quoted as identifiers of SQL."""
    clock: int
    """Microseconds since the epoch."""


class DatabaseSeen(NamedTuple):
    """PostgreSQL, and what is asked of it."""

    found: DatabaseSettings
    skew: Skew
    settings: Settings


class Lacking(NamedTuple):
    """A right that a worker's statements need and this role has not."""

    table: str
    right: str
    role: str
    """Quoted as an identifier of SQL."""


class Schema(NamedTuple):
    """Migrations that are applied, and those that this release has."""

    applied: Sequence[Applied]
    known: Sequence[Applied]


class Letters(NamedTuple):
    """How many messages died for a reason."""

    reason: str
    letters: int


class Books(NamedTuple):
    """What the engine's tables say; instants and times in microseconds."""

    now: int
    waiting: int
    oldest: int | None
    """Since when the oldest unlock that is not announced waits."""
    corrections: int
    corrected: int | None
    epoch: int
    building: Sequence[str]
    workers: int
    """At work."""
    lost: int
    """That fell silent in the last day without a goodbye."""
    letters: Sequence[Letters]
    """Of the last day."""
    archived_before: int | None
    """What was received before this is archived; None where nothing is."""
    archiving: bool
    """Whether a run is at work, or was interrupted."""


class BooksSeen(NamedTuple):
    """The tables, and how many messages wait for a worker; None where that is unknown."""

    books: Books
    backlog: int | None
    rules: str
    """Why the rules in force cannot be used; "" if they can."""


class BrokerFacts(NamedTuple):
    """All that is known of the broker."""

    server: Server | Unknown
    skew: Skew | Unknown
    account: Account | Unknown
    rights: Rights | Unknown
    events: StreamSeen | Unknown
    unlocks: StreamSeen | Unknown
    consumer: ConsumerSeen | Unknown


class DatabaseFacts(NamedTuple):
    """All that is known of the database."""

    database: DatabaseSeen | Unknown
    schema: Schema | Unknown
    lacking: Sequence[Lacking] | Unknown
    books: BooksSeen | Unknown

    def beside(self, backlog: int | None) -> DatabaseFacts:
        """Return these facts, with how many messages wait at the broker."""
        if isinstance(self.books, Unknown):
            return self
        return self._replace(books=self.books._replace(backlog=backlog))

"""The environment, read once. Pure: it takes a mapping, and never shows a value that may be a secret."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec

from worker.identity import Identity, IdentityError, read_identity
from worker.urls import is_clear, servers_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX: Final = "ACH_"
_SECRETIVE: Final = frozenset({"NATS_URL", "DATABASE_URL"})

MOST: Final = 1_000_000_000
"""What is counted in seconds has to fit into 64 bits in nanoseconds."""

Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
"""Of a stream or a consumer: the broker makes folders of them."""
Region = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
"""As worker/contract/transport.py reads it from messages."""
Subject = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")]
Host = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%\w+)?)\Z"
    ),
]
_IN_WORDS: Final[Sequence[tuple[Any, str]]] = (
    (Name, "1 to 64 of A-Z a-z 0-9 _ -"),
    (Region, "1 to 64 of A-Z a-z 0-9 . _ -"),
    (Subject, "a subject without wildcards, of A-Z a-z 0-9 _ - and dots between"),
    (Host, "an address or a name, without a port"),
)


class Clock(StrEnum):
    """What tells whether an unlock has settled."""

    WALL = "wall"
    STREAM = "stream"
    """The latest `occurred_at` in the ledger: for replays."""


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class Migrate(StrEnum):
    """Whether a start may change the schema of the database."""

    AUTO = "auto"
    """If the role may."""
    NEVER = "never"


class Pooler(StrEnum):
    """What stands between the worker and PostgreSQL."""

    NONE = "none"
    """Nothing: a connection is a session of the server."""
    TRANSACTION = "transaction"
    """A pooler such as PgBouncer, which lends a session of the server to one transaction at a time."""


class LogLevel(StrEnum):
    """The least urgent lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SettingsError(ValueError):
    """The environment cannot be used; the message names the variable and what it expects."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one worker runs. Each field is the variable `ACH_<FIELD>`, but for the two URLs, which have no prefix.

    `identity` is what the other variables `NATS_<FIELD>` say.
    """

    nats_url: str = "nats://localhost:4222"
    """Several servers of one cluster are separated by commas."""
    identity: Identity = Identity()
    database_url: str = "postgresql://localhost/ach"

    input_stream: Name = "EVENTS"
    input_prefix: Subject = "events"
    """Events come on `<prefix>.<tenant>.<user>.<event type>`."""
    unlock_stream: Name = "UNLOCKS"
    unlock_prefix: Subject = "unlocks"
    consumer: Name = "ach"
    """The durable consumer; workers that share it share the work."""
    group: Name | None = None
    """The group of workers that deals out the partitions of the stream, in place of one consumer for all."""

    batch_size: Positive = 8000
    """Messages taken at a time, at most: what has arrived, when there is time for it."""
    writers: Annotated[int, msgspec.Meta(ge=1, le=16)] = 4
    """Transactions side by side. Each has users of its own; a batch is acknowledged once all of them are done."""
    writer_events: Positive = 500
    """Worth a transaction of their own: smaller batches are not divided."""
    ack_wait: Positive = 30
    """Seconds until the broker delivers again what was not acknowledged, in a consumer that the worker makes."""
    broker_gone: Seconds = 300
    """Seconds without an answer from the broker, after which the worker does not count as alive; 0: always alive."""
    duplicate_window: Positive = 120
    """Seconds for which the broker remembers message ids, in streams that the worker makes."""
    skew: Seconds = 300
    """Seconds that `occurred_at` may be ahead of the clock."""
    region: Region | None = None
    """Of producers that name none, in an attribute of the event or in a header."""
    clock: Clock = Clock.WALL
    cache_subjects: Positive = 100_000
    """Subjects whose progress is kept in memory."""
    health_host: Host = "0.0.0.0"  # noqa: S104 - probes come from outside of the container
    health_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None
    """Where /healthz, /readyz and /metrics are served; nowhere when unset."""
    metrics_tenants: Annotated[int, msgspec.Meta(ge=0, le=200)] = 20
    """Tenants that /metrics shows apart; all others are `other`."""
    log_format: LogFormat = LogFormat.TEXT
    log_level: LogLevel = LogLevel.INFO
    """At the start of a service. SIGUSR1 and SIGUSR2 change it while it runs."""
    migrate: Migrate = Migrate.AUTO
    """Whether `ach run` and `ach apply` bring the schema up to date; `ach migrate` always does."""
    pooler: Pooler = Pooler.NONE
    journal: str | None = None
    """The file that keeps operators' decisions outside of the database; none where unset."""
    journal_key_file: str | None = None
    """The file with the secret of the journal's hashes."""

    def __repr__(self) -> str:
        return f"Settings(nats={shown(self.nats_url)}, database={shown(self.database_url)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("nats", shown(self.nats_url)), ("database", shown(self.database_url))]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that an environment asks for.

    Raises:
        SettingsError: a variable is malformed, or one with our prefix is unknown (and so most likely misspelt).
    """
    fields = {_variable(name): name for name in Settings.__struct_fields__ if name != "identity"}
    unknown = [name for name in environment if name.startswith(PREFIX) and name not in fields]
    unknown = [name for name in unknown if name not in _OTHERS]
    if unknown:
        raise SettingsError(f"{unknown[0]}: unknown; known are {', '.join(sorted(fields))}")
    given = {fields[name]: value for name, value in environment.items() if name in fields and value != ""}
    for name, value in given.items():
        _check(name, value)
    settings = msgspec.convert(given, Settings, strict=False)
    if (settings.journal is None) != (settings.journal_key_file is None):
        there, missing = ("ACH_JOURNAL", "ACH_JOURNAL_KEY_FILE")[:: 1 if settings.journal is not None else -1]
        raise SettingsError(f"{there} is set and {missing} is not: set both, or none of them")
    try:
        return msgspec.structs.replace(settings, identity=read_identity(environment, settings.nats_url))
    except IdentityError as error:
        raise SettingsError(str(error)) from None


_OTHERS: Final = frozenset({"ACH_RULES", "ACH_DATA_DIR", "ACH_CONSOLE_TOKEN", "ACH_NOTIFY_CONFIG", "ACH_PYTHON"})
"""Variables of the command line, which are none of the worker's; the last one is the justfile's."""


def _variable(field: str) -> str:
    name = field.upper()
    return name if name in _SECRETIVE else PREFIX + name


def _check(field: str, value: str) -> None:
    variable = _variable(field)
    if variable in _SECRETIVE:
        schemes = _SCHEMES[variable]
        urls = servers_of(value) if variable == "NATS_URL" else [value]
        if not all(re.match(rf"({'|'.join(schemes)})://", url) for url in urls):
            raise SettingsError(f"{variable}: expected a URL that begins with {schemes[0]}://")
        if not all(map(is_clear, urls)):
            raise SettingsError(f"{variable}: expected {_FORMS[variable]}; {ENCODED}")
        if variable == "DATABASE_URL":
            _check_choices(value)
        return
    kind: Any = next(info.type for info in msgspec.structs.fields(Settings) if info.name == field)
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise SettingsError(f"{variable}: expected {_expected(kind)}, got {_short(value)}") from None


def _expected(kind: Any) -> str:  # noqa: ANN401 - a type of msgspec's
    """Return what a setting may be, in words."""
    found: Any = msgspec.inspect.type_info(kind)
    if isinstance(found, msgspec.inspect.UnionType):
        found = next(one for one in found.types if not isinstance(one, msgspec.inspect.NoneType))
    if isinstance(found, msgspec.inspect.EnumType):
        return " or ".join(str(one.value) for one in found.cls)
    if isinstance(found, msgspec.inspect.IntType):
        return f"a whole number from {found.ge} to {found.le:,}"
    return next(words for one, words in _IN_WORDS if msgspec.inspect.type_info(one) == found)


def _short(value: str) -> str:
    return repr(value) if len(value) <= _LONGEST else f"{value[:_LONGEST]!r}..."


def _check_choices(url: str) -> None:
    for name, value in parse_qsl(url.partition("?")[2]):
        if value not in _CHOICES.get(name, (value,)):
            raise SettingsError(f"DATABASE_URL: {name}: expected {' or '.join(_CHOICES[name])}")


_LONGEST: Final = 80
"""Characters of a value that are quoted."""
_CHOICES: Final = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
}
"""Parameters of DATABASE_URL that are one of several words."""


_FORMS: Final = {
    "NATS_URL": "nats://[user:password@]host[:port], several with commas",
    "DATABASE_URL": "postgresql://[user[:password]@]host[:port]/database",
}
ENCODED: Final = "in user and password write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25"
_SCHEMES: Final = {"NATS_URL": ("nats", "tls", "ws", "wss"), "DATABASE_URL": ("postgresql", "postgres")}

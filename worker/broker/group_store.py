"""What a group of workers has at the broker: its sheet in a bucket, its stream, and a consumer for each member."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog

from worker.broker.api import REQUEST_SECONDS, WRONG_LAST_SEQUENCE, ApiError, Fault, ask, last_message
from worker.broker.consumer import Existing, enough_pending
from worker.broker.errors import BrokerMismatchError
from worker.broker.shares import (
    BUCKET,
    Mirror,
    Sheet,
    Source,
    StreamConfig,
    empty,
    group_stream,
    is_like,
    mirror_of,
    read_sheet,
    sheet_key,
    stream_flaw,
    transform,
    write_sheet,
)
from worker.contract.message import parse_headers
from worker.engine.observed import Backlog
from worker.identity import DEFAULT_API

if TYPE_CHECKING:
    from worker.broker.client import BrokerClient
    from worker.settings import Settings

NOT_UNIQUE: Final = 10100
"""Another consumer of a work queue has a partition that was asked for."""
OLDEST: Final = (2, 11)
"""Of nats-server: a consumer can be paused, so that what it delivered can be finished before others have it."""
PAUSE_SECONDS: Final = 60
"""For which a consumer is paused that is about to be deleted."""
LEVEL_SECONDS: Final = 1.0
"""After which a mirror that knows of nothing more has all that it will get."""
_NANOSECONDS: Final = 1_000_000_000

log = structlog.get_logger()


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class State(msgspec.Struct):
    """How far a stream has come."""

    messages: int = 0
    first_seq: int = 0
    first_ts: datetime = _EPOCH
    """When the oldest message was published; the mirror keeps the time."""
    last_seq: int = 0


class _Mirror(msgspec.Struct):
    lag: int = 0


class StreamInfo(msgspec.Struct):
    """What JetStream says about a stream."""

    config: StreamConfig
    state: State
    mirror: _Mirror | None = None


class Written(NamedTuple):
    """A sheet, and the revision under which the bucket has it; 0 where it has none."""

    sheet: Sheet
    revision: int


class _Level(NamedTuple):
    """The end of the stream of events, and since when the mirror has known of nothing more."""

    last: int = 0
    since: float = 0.0


class _Ack(msgspec.Struct):
    error: Fault | None = None


class _Floor(msgspec.Struct):
    stream_seq: int = 0


class _Reached(msgspec.Struct):
    ack_floor: _Floor


class _Names(msgspec.Struct):
    consumers: list[str] | None = None


class GroupStore:
    """The group of some settings, over whatever client `client` is at the moment of a call.

    All methods raise ApiError, BrokerAwayError, nats.errors.Error, TimeoutError, OSError: as `ask` does.
    """

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self.stream = group_stream(settings.input_stream, group)
        self._level = _Level()
        self._floor = 0
        self._subject = f"$KV.{BUCKET}.{sheet_key(settings.input_stream, group)}"
        self._floor_subject = f"$KV.{BUCKET}.floor.{sheet_key(settings.input_stream, group)}"
        api = settings.identity.api
        # As the clients of NATS do it: a domain, or an account that imports, has the bucket's subjects below its API.
        self._put_below = "" if api == DEFAULT_API else f"{api}."

    @property
    def limits(self) -> Existing:
        """What the consumers of the group allow."""
        return Existing(
            ack_policy="explicit",
            ack_wait=round(self._settings.ack_wait * _NANOSECONDS),
            max_ack_pending=enough_pending(self._settings),
        )

    # -- making --------------------------------------------------------------------------------------------------------

    async def ensure(self, client: BrokerClient) -> None:
        """Make bucket and stream where they are missing.

        Raises:
            BrokerMismatchError: the server is too old, or the group is another one.
        """
        version = client.connected_server_version
        if (version.major, version.minor) < OLDEST:
            said = f"{version.major}.{version.minor}.{version.patch}"
            raise BrokerMismatchError(f"nats-server {said} cannot deal out partitions: --group needs 2.11 or later")
        source = await self._info(client, self._settings.input_stream)
        await self._ensure_bucket(client, source)
        await self.read(client)
        await self._ensure_stream(client, source)

    async def _ensure_bucket(self, client: BrokerClient, source: StreamInfo) -> None:
        name = f"KV_{BUCKET}"
        try:
            await self._info(client, name)
        except ApiError as error:
            if not error.is_missing:
                raise
        else:
            return
        config = {
            "name": name,
            "subjects": [f"$KV.{BUCKET}.>"],
            "storage": "file",
            "num_replicas": source.config.num_replicas,
            "max_msgs_per_subject": 1,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
        }
        await ask(client, f"STREAM.CREATE.{name}", dict[str, Any], config)
        log.info("made bucket", bucket=BUCKET)

    async def _ensure_stream(self, client: BrokerClient, source: StreamInfo) -> None:
        try:
            found = await self._info(client, self.stream)
        except ApiError as error:
            if not error.is_missing:
                raise
        else:
            flaw = stream_flaw(found.config, self._mirror(source), self._settings.input_prefix)
            if flaw:
                raise BrokerMismatchError(
                    f"a group cannot use stream {self.stream}: {flaw}; choose another name for --group"
                )
            # Looked at again: what was published since the first look may be in the mirror.
            source = await self._info(client, self._settings.input_stream)
            if found.state.last_seq <= source.state.last_seq:
                return
            # The stream of events was made again, so that a mirror would wait for places that may never come.
            log.warning("the stream of the group is older than its source, and made again", stream=self.stream)
            await ask(client, f"STREAM.DELETE.{self.stream}", dict[str, Any])
            await self._make_stream(client, source, 1)
            return
        await self._make_stream(client, source, await self._begin(client, source))

    async def _make_stream(self, client: BrokerClient, source: StreamInfo, first: int) -> None:
        mirror = msgspec.to_builtins(self._mirror(source))
        if first > 1:
            mirror["opt_start_seq"] = first
        config = {
            "name": self.stream,
            "retention": "workqueue",
            "storage": source.config.storage,
            "num_replicas": source.config.num_replicas,
            "mirror": mirror,
            "subject_transform": transform(self._settings.input_prefix),
        }
        await ask(client, f"STREAM.CREATE.{self.stream}", dict[str, Any], config)
        log.info("made stream of the group", stream=self.stream, mirrors=self._settings.input_stream, first=first)

    def _mirror(self, source: StreamInfo) -> Mirror:
        return mirror_of(self._settings.input_stream, source.config.subjects, self._settings.input_prefix)

    async def _begin(self, client: BrokerClient, source: StreamInfo) -> int:
        """Return where the group begins: where it was, else where the consumer of workers without a group is."""
        floor = await last_message(client, f"KV_{BUCKET}", self._floor_subject)
        known = int(floor.data) if floor is not None and floor.data.isdigit() else 0
        if not known:
            try:
                what = f"CONSUMER.INFO.{self._settings.input_stream}.{self._settings.consumer}"
                known = (await ask(client, what, _Reached)).ack_floor.stream_seq + 1
            except ApiError as error:
                if not error.is_missing:
                    raise
        return known if known <= source.state.last_seq + 1 else 1

    async def _info(self, client: BrokerClient, stream: str) -> StreamInfo:
        return await ask(client, f"STREAM.INFO.{stream}", StreamInfo)

    # -- the sheet -----------------------------------------------------------------------------------------------------

    async def read(self, client: BrokerClient) -> Written:
        """Return the sheet as it is; an empty one where none is written.

        Raises:
            BrokerMismatchError: the group by this name divides its stream in another way.
        """
        stored = await last_message(client, f"KV_{BUCKET}", self._subject)
        if stored is None:
            return Written(empty(self._settings.input_prefix), 0)
        if "KV-Operation" in parse_headers(stored.hdrs):
            return Written(empty(self._settings.input_prefix), stored.seq)
        sheet = read_sheet(stored.data)
        if sheet is None or not is_like(sheet, self._settings.input_prefix):
            raise BrokerMismatchError(
                f"the group of stream {self.stream} divides other subjects, or by other numbers, than this worker; "
                "choose another name for --group"
            )
        return Written(sheet, stored.seq)

    async def write(self, client: BrokerClient, sheet: Sheet, revision: int) -> bool:
        """Put a sheet in the place of that of a revision; return False where another one is there by now."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        said = await client.request(self.put_subject, write_sheet(sheet), timeout=REQUEST_SECONDS, headers=headers)
        fault = msgspec.json.decode(said.data, type=_Ack).error
        if fault is None:
            return True
        if fault.err_code == WRONG_LAST_SEQUENCE:
            return False
        raise ApiError(self._subject, fault)

    @property
    def sheet_subject(self) -> str:
        """On which each new sheet passes."""
        return self._subject

    @property
    def put_subject(self) -> str:
        """On which a new sheet is published."""
        return f"{self._put_below}{self._subject}"

    async def keep_floor(self, client: BrokerClient) -> None:
        """Note below which place all is done, for the day on which the stream of the group is lost."""
        state = (await self._info(client, self.stream)).state
        floor = state.first_seq if state.messages else state.last_seq + 1
        if floor != self._floor:
            await client.request(
                f"{self._put_below}{self._floor_subject}", str(floor).encode(), timeout=REQUEST_SECONDS
            )
            self._floor = floor

    async def backlog(self, client: BrokerClient) -> int:
        """Return how many messages are not acknowledged, those included that have not reached the group's stream."""
        last = (await self._info(client, self._settings.input_stream)).state.last_seq
        info = await self._info(client, self.stream)
        lag = info.mirror.lag if info.mirror is not None else 0
        if info.state.messages or lag or info.state.last_seq >= last:
            self._level = _Level()
            return info.state.messages + lag
        # What lies beyond is outside of the prefix or before the beginning, or the mirror does not know of it yet.
        if self._level.last != last:
            self._level = _Level(last, monotonic())
        return 0 if monotonic() - self._level.since > LEVEL_SECONDS else 1

    async def waiting(self, client: BrokerClient) -> Backlog:
        """Return what all members together have not acknowledged; how much of it was delivered is not known."""
        info = await self._info(client, self.stream)
        lag = info.mirror.lag if info.mirror is not None else 0
        at = (info.state.first_ts - _EPOCH) // timedelta(microseconds=1) if info.state.messages else None
        return Backlog(info.state.messages + lag, 0, at)

    # -- consumers -----------------------------------------------------------------------------------------------------

    async def make_consumer(self, client: BrokerClient, source: Source) -> bool:
        """Make a consumer of a member; return False where another one still has some of what it asks for."""
        config: dict[str, Any] = {
            "name": source.consumer,
            "durable_name": source.consumer,
            "ack_policy": "explicit",
            "ack_wait": round(self._settings.ack_wait * _NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": enough_pending(self._settings),
        }
        if source.filter is not None:
            config["filter_subject"] = source.filter
        asked = {"stream_name": self.stream, "config": config, "action": "create"}
        try:
            await ask(client, f"CONSUMER.DURABLE.CREATE.{self.stream}.{source.consumer}", dict[str, Any], asked)
        except ApiError as error:
            if error.fault.err_code != NOT_UNIQUE:
                raise
            return False
        return True

    async def pause_consumer(self, client: BrokerClient, member: str) -> None:
        """Let a consumer deliver nothing more; acknowledgements still count."""
        until = (datetime.now(UTC) + timedelta(seconds=PAUSE_SECONDS)).isoformat().replace("+00:00", "Z")
        await _unless_missing(client, f"CONSUMER.PAUSE.{self.stream}.{member}", {"pause_until": until})

    async def delete_consumer(self, client: BrokerClient, member: str) -> None:
        """Delete a consumer, if it is there: what it has not acknowledged goes to the next one at once."""
        await _unless_missing(client, f"CONSUMER.DELETE.{self.stream}.{member}")

    async def consumers(self, client: BrokerClient) -> list[str]:
        """Return the names of the consumers, the first 1,024: of a group there are 64 at most."""
        return (await ask(client, f"CONSUMER.NAMES.{self.stream}", _Names)).consumers or []


async def _unless_missing(client: BrokerClient, what: str, asked: object = None) -> None:
    try:
        await ask(client, what, dict[str, Any], asked)
    except ApiError as error:
        if not error.is_missing:
            raise

"""An engine on real servers, driven by a test: rules in, events in, what came of them out."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

import anyio
import asyncpg
import msgspec
import nats

from dsl.calendar import format_instant
from worker.admin.backfill import backfill
from worker.admin.pending import NO_TERMS
from worker.admin.rollout import apply_rules
from worker.app import at_once, run, wall_clock
from worker.broker.streams import open_broker
from worker.contract.partition import event_subject
from worker.engine.rule_set import RuleFile
from worker.engine.stats import Stats
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from uuid import UUID

    from worker.admin.built import Report
    from worker.admin.pending import Terms
    from worker.admin.rollout import Applied
    from worker.broker.client import BrokerClient
    from worker.engine.decide import Writes
    from worker.settings import Settings
    from worker.store import Store
    from worker.traces.spans import Spans

    Check = Callable[[Store, BrokerClient, Settings], Awaitable[None]]

PATIENCE = 60.0
"""Seconds until a test gives up on something that should take one."""

RULES = """
event a.done { key: string?, team: string? }
event b.done {}
event c.done {}

achievement three { title "Three" when count(event=a.done, >= 3) reward { xp: 10 } }
achievement clean { title "Clean" when count(event=a.done, >= 2, unless=b.done) }
achievement settled { title "Settled" when count(event=c.done, >= 1, unless=b.done) settle 1h }
"""


class Streams(TypedDict):
    """Settings of the streams of a deployment."""

    input_stream: str
    input_prefix: str
    unlock_stream: str
    unlock_prefix: str


def own_streams() -> Streams:
    """Return names of streams that no other deployment of the broker has."""
    own = uuid4().hex
    return Streams(input_stream=f"E{own}", input_prefix=f"e{own}", unlock_stream=f"U{own}", unlock_prefix=f"u{own}")


class Watched(Stats):
    """Stats that can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = anyio.Event()

    def count_batch(self, writes: Writes, seconds: float) -> None:
        super().count_batch(writes, seconds)
        self._move()

    def count_announced(self, unlock_id: UUID, *, new: bool, now: int) -> None:
        super().count_announced(unlock_id, new=new, now=now)
        self._move()

    def count_corrected(self, number: int) -> None:
        super().count_corrected(number)
        self._move()

    @property
    def answered(self) -> int:
        """Announcements that the broker has now, whether it had them before or not."""
        return self.announced + self.repeated

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def reach(self, name: str, number: int) -> None:
        with anyio.fail_after(PATIENCE):
            while getattr(self, name) < number:
                await self._moved.wait()


class Engine:
    """One deployment, to be driven by a test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def migrate(self) -> None:
        async with open_store(self.settings.database_url, pooler=self.settings.pooler) as store:
            await store.migrate(now=wall_clock())

    async def apply(
        self, text: str = RULES, terms: Terms = NO_TERMS, *, by: str = "test", accept: bool = True
    ) -> Applied:
        """Put rules into force, as an operator who accepts that contracts have changed."""
        async with open_store(self.settings.database_url, pooler=self.settings.pooler) as store:
            await store.migrate(now=wall_clock())
            files = [RuleFile("rules.ach", text)]
            return await apply_rules(
                store, files, self.settings, by=by, now=wall_clock(), terms=terms, accept_contracts=accept
            )

    async def backfill(self) -> Report:
        async with open_store(self.settings.database_url, pooler=self.settings.pooler) as store:
            return await backfill(store, self.settings, now=wall_clock, pause=0)

    async def publish(self, events: Iterable[dict[str, Any] | bytes], subject: str | None = None) -> None:
        async with open_broker(self.settings) as broker:
            for one in events:
                body = one if isinstance(one, bytes) else json.dumps(one).encode()
                await broker.publish(subject or self.subject_of(one), body)

    def subject_of(self, one: dict[str, Any] | bytes) -> str:
        if isinstance(one, bytes):
            return f"{self.settings.input_prefix}.raw"
        return event_subject(self.settings.input_prefix, one["tenant_id"], one["user_id"], one["event_type"])

    async def drain(self, **changes: object) -> Stats:
        """Run a worker until nothing is left to do."""
        with anyio.fail_after(PATIENCE):
            return await run(self.with_settings(**changes).settings, drain=at_once())

    def with_settings(self, **changes: object) -> Engine:
        return Engine(msgspec.structs.replace(self.settings, **changes))

    @asynccontextmanager
    async def worker(
        self, check: Check | None = None, spans: Spans | None = None, /, **changes: object
    ) -> AsyncGenerator[Watched]:
        """Run a worker beside a block, from when it is ready, and stop it gracefully behind the block."""
        stats, stop, ready = Watched(), anyio.Event(), anyio.Event()
        settings = self.with_settings(**changes).settings
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await run(settings, stop=stop, stats=stats, on_ready=ready.set, check=check, spans=spans)

            tasks.start_soon(work)
            with anyio.fail_after(PATIENCE):
                await ready.wait()
            yield stats
            stop.set()

    async def rows(self, query: str, *args: object) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            return [dict(row) for row in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    async def unlocks(self) -> dict[tuple[str, str], str]:
        """Return (subject, achievement) and status of every unlock."""
        rows = await self.rows("SELECT subject, achievement, tier, occurrence, status FROM v_unlock")
        return {(row["subject"], _name(row)): row["status"] for row in rows}

    async def announced(self) -> list[dict[str, Any]]:
        """Return what the broker holds of what was granted, in order."""
        return [one for one in await self.said() if one.get("kind", "granted") == "granted"]

    async def corrections(self) -> list[dict[str, Any]]:
        """Return what the broker holds of what became of unlocks later, in order."""
        return [one for one in await self.said() if one.get("kind", "granted") not in {"granted", "withheld"}]

    async def said(self) -> list[dict[str, Any]]:
        """Return every announcement that the broker holds, in order."""
        client = await nats.connect(self.settings.nats_url)
        try:
            jetstream = client.jetstream()
            info = await jetstream.stream_info(self.settings.unlock_stream)
            return [
                json.loads((await jetstream.get_msg(self.settings.unlock_stream, seq)).data or b"")
                for seq in range(info.state.first_seq, info.state.last_seq + 1)
                if info.state.messages
            ]
        finally:
            await client.close()


def _name(row: dict[str, Any]) -> str:
    return ".".join(str(row[part]) for part in ("achievement", "tier", "occurrence") if row[part])


def event(
    number: int,
    event_type: str = "a.done",
    *,
    user: str = "u1",
    tenant: str = "t1",
    id: str | None = None,  # noqa: A002
    **payload: object,
) -> dict[str, Any]:
    """Return an event that occurs `number` minutes after the beginning."""
    return {
        "event_id": id or f"{event_type}-{number}-{user}",
        "event_type": event_type,
        "user_id": user,
        "tenant_id": tenant,
        "occurred_at": format_instant(1_776_000_000_000_000 + number * 60_000_000),
        "payload": payload,
    }


async def until_waiting(engine: Engine, done: anyio.Event | None = None) -> None:
    """Return once a session waits for a lock, or `done` is set."""
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with anyio.fail_after(PATIENCE):
        # The database does not report that a session waits: it has to be polled.
        while not (done is not None and done.is_set()) and not await engine.rows(query):  # noqa: ASYNC110
            await anyio.sleep(0.01)

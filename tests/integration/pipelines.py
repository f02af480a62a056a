"""Pipelines without a broker, for tests that hand them their batches and judge what is stored by a replay."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from worker.admin.results import read_digest, read_results
from worker.app import wall_clock
from worker.contract.message import Message
from worker.engine.replay import replay
from worker.engine.rule_set import RuleFile, read_rules
from worker.engine.state_cache import StateCache
from worker.engine.stats import Stats
from worker.pipeline.pipeline import InForce, Pipeline
from worker.pipeline.rules_in_force import load_deployed
from worker.store import Session, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    import pytest

    from tests.integration.engine import Engine
    from worker.engine.batch import Batch, DeadLetter
    from worker.pipeline.pipeline import Committed


def messages_of(events: Sequence[dict[str, Any] | bytes]) -> list[Message]:
    """Return messages as the broker would deliver them."""
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in events]
    return [Message("events.raw", body, b"", seq, "") for seq, body in enumerate(bodies, 1)]


@asynccontextmanager
async def pipeline_on(
    engine: Engine,
    *,
    owner: str = "me",
    stats: Stats | None = None,
    stopping: Callable[[], bool] = lambda: False,
    on_committed: Callable[[Committed], None] | None = None,
) -> AsyncGenerator[Pipeline]:
    """Give a pipeline without a broker."""
    async with open_store(engine.settings.database_url) as store:
        yield Pipeline(
            store.kept(),
            engine.settings,
            StateCache(owner, 100),
            stats or Stats(),
            in_force=InForce(lambda: load_deployed(store, engine.settings)),
            now=wall_clock,
            stopping=stopping,
            on_committed=on_committed,
        )


def meanwhile(monkeypatch: pytest.MonkeyPatch, query: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` once, when rows of a query have been read the next time."""
    rows, due = Session.rows, [work]

    async def reading(session: Session, shape: Callable[..., Any], name: str, **args: object) -> list[Any]:
        found = await rows(session, shape, name, **args)
        if name == query and due:
            await due.pop()()
        return found

    monkeypatch.setattr(Session, "rows", reading)


async def decoded(pipeline: Pipeline, events: Sequence[dict[str, Any] | bytes]) -> Batch:
    """Read events as one batch."""
    decoding = await pipeline.begin()
    decoding.add(messages_of(events), now=wall_clock())
    return decoding.done(now=wall_clock())


async def commit(pipeline: Pipeline, batch: Batch) -> list[DeadLetter]:
    """Commit a batch; no other batch waits for it."""
    return await pipeline.commit(batch, waiting=_nothing)


async def send(pipeline: Pipeline, *events: dict[str, Any] | bytes) -> list[DeadLetter]:
    """Commit events as one batch."""
    return await commit(pipeline, await decoded(pipeline, events))


async def _nothing() -> None:
    pass


async def sent(engine: Engine, *events: dict[str, Any]) -> None:
    """Commit events as one batch without dead letters."""
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *events) == []


async def expect_replay(engine: Engine, rules: str, events: list[dict[str, Any]]) -> None:
    """Fail unless the tables hold what a replay of the events earns."""
    made = read_rules([RuleFile("rules.ach", rules)])
    assert made.program is not None
    bodies = [json.dumps(one).encode() for one in events]
    wanted = replay(made.rules, made.program, bodies, now=wall_clock(), skew=0)[0]
    async with open_store(engine.settings.database_url) as store:
        deployed = await load_deployed(store, engine.settings)
        stored = await read_results(store, deployed)
        digested = await read_digest(store, deployed)
    assert stored.unlocks == wanted.unlocks
    assert stored.digest == digested.digest == wanted.digest

"""What a change has granted and not announced when it is rolled back is never announced, whatever a relay is at."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.integration.engine import PATIENCE, Engine, event, until_waiting
from tests.integration.pipelines import pipeline_on, send, sent
from worker.admin.pending import NO_TERMS, Terms
from worker.app import wall_clock
from worker.broker.streams import Broker, open_broker
from worker.engine.change import Announced, Policy
from worker.engine.stats import Stats
from worker.pipeline import outbox as relaying
from worker.pipeline.outbox import OutboxRelay
from worker.settings import Settings
from worker.store import open_store

pytestmark = pytest.mark.anyio

X = 'event a.done {}\nevent c.done {}\nachievement x { title "X" when count(event=a.done, >= 9) }\n'
ONE = X + 'achievement one { title "1" when count(event=a.done, >= 1, unless=c.done) }\n'
SLOW = X + 'achievement slow { title "S" when count(event=a.done, >= 1) settle 1h }\n'
USERS = [f"u{i}" for i in range(9)]


@pytest.fixture
async def engine(migrated_url: str, nats_url: str) -> Engine:
    engine = Engine(Settings(nats_url=nats_url, database_url=migrated_url, consumer=f"c{uuid4().hex}"))
    await engine.apply(X)
    await engine.backfill()
    await sent(engine, *(event(0, user=user) for user in USERS))
    return engine


async def stays_so(engine: Engine) -> None:
    """What is said by now is all that is ever said, and the books know exactly that."""
    said = await engine.said()
    await engine.backfill()
    await engine.drain()
    assert await engine.said() == said
    announced = {one["subject"] for one in said}
    states = {subject: status for (subject, _), status in (await engine.unlocks()).items()}
    assert states == {user: "announced" if user in announced else "silent" for user in USERS}


async def test_what_a_relay_announces_meanwhile_is_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine.apply(ONE)
    await engine.backfill()
    monkeypatch.setattr(relaying, "AT_ONCE", 3)
    holds, go, announce = anyio.Event(), anyio.Event(), Broker.announce

    async def slow(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it takes
        holds.set()
        await go.wait()
        return await announce(*args, **named)

    monkeypatch.setattr(Broker, "announce", slow)
    silenced: list[int] = []
    said: list[dict[str, Any]] = []
    done = anyio.Event()

    async def roll_back() -> None:
        silenced.append((await engine.apply(X, Terms(back_to=1))).silenced)
        said.extend(await engine.said())
        done.set()

    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        relay = OutboxRelay(store, broker, engine.settings, Stats(), now=wall_clock)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(relay.run)
                await holds.wait()
                async with anyio.create_task_group() as rolling:
                    rolling.start_soon(roll_back)
                    await until_waiting(engine, done)
                    go.set()
                assert 3 <= len(said) == len(USERS) - silenced[0]
                relay.stop()
    await stays_so(engine)


@pytest.mark.parametrize("terms", [NO_TERMS, Terms(policy=Policy(Announced.NONE))], ids=["loud", "silent"])
async def test_what_a_worker_has_in_its_memory_is_not_announced(engine: Engine, terms: Terms) -> None:
    await engine.apply(ONE, terms)
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        relay = OutboxRelay(store, broker, engine.settings, Stats(), now=wall_clock)
        async with pipeline_on(engine, on_committed=relay.committed) as pipeline:
            # An event that earns nothing: what is granted comes of the new rules.
            assert await send(pipeline, *(event(1, user=user) for user in USERS)) == []
        assert (await engine.apply(X, Terms(back_to=1))).silenced == (len(USERS) if terms is NO_TERMS else 0)
        relay.stop()
        with anyio.fail_after(PATIENCE):
            await relay.run()
    assert await engine.said() == []
    await stays_so(engine)


async def test_corrections_of_what_is_silenced_go_with_it(engine: Engine) -> None:
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(2, user="u0"))
        await engine.apply(ONE.replace(">= 1", ">= 2"))
        await engine.backfill()
        await send(pipeline, event(1, "c.done", user="u0"))
    assert await engine.unlocks() == {("u0", "one"): "contested"}
    assert (await engine.apply(X, Terms(back_to=1))).silenced == 1
    await engine.drain()
    assert await engine.said() == []


async def test_changes_before_the_epoch_are_not_touched(engine: Engine) -> None:
    await engine.apply(ONE)
    await engine.backfill()
    await engine.apply(SLOW.replace(X, ONE))
    assert (await engine.apply(ONE, Terms(back_to=2))).silenced == 0
    await engine.drain()
    assert len(await engine.said()) == len(USERS)
    states = await engine.rows("SELECT state FROM change ORDER BY change_id")
    assert [one["state"] for one in states][2] == "rolled_back"

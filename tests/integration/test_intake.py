"""How messages become batches: read as they arrive, closed when the writers are free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from tests.integration.engine import PATIENCE, Engine, event
from worker.broker.once import connected_once
from worker.broker.streams import BATCH_BYTES, Broker, open_broker
from worker.engine.decoding import Decoding
from worker.pipeline import intake
from worker.pipeline.intake import SLICE, SLICE_BYTES
from worker.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.contract.message import Message
    from worker.engine.batch import Batch, DeadLetter

pytestmark = pytest.mark.anyio


class Gate:
    """Holds up every commit until it is opened, and tells what has come so far."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = anyio.Event()
        self.sizes: list[int] = []
        """Of the batches that have come to be committed."""
        self.read = 0
        """Messages that were read."""
        self._moved = anyio.Event()
        commit, add = Pipeline.commit, Decoding.add

        async def waiting_commit(
            pipeline: Pipeline, batch: Batch, *, waiting: Callable[[], Awaitable[None]]
        ) -> list[DeadLetter]:
            self.sizes.append(batch.size)
            self._move()
            await self.open.wait()
            return await commit(pipeline, batch, waiting=waiting)

        def counting_add(decoding: Decoding, messages: Sequence[Message], *, now: int) -> None:
            add(decoding, messages, now=now)
            self.read += len(messages)
            self._move()

        monkeypatch.setattr(Pipeline, "commit", waiting_commit)
        monkeypatch.setattr(Decoding, "add", counting_add)

    def _move(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def until(self, *, read: int = 0, batches: int = 0) -> None:
        with anyio.fail_after(PATIENCE):
            while self.read < read or len(self.sizes) < batches:
                await self._moved.wait()


async def test_what_arrives_meanwhile_is_read_and_makes_one_batch(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with engine.worker() as stats:
        await engine.publish([event(0)])
        await gate.until(batches=1)
        for at in range(3):
            await engine.publish(event(n) for n in range(1 + at * SLICE, 1 + (at + 1) * SLICE))
            await gate.until(read=1 + (at + 1) * SLICE)
        await engine.publish([event(1000)])
        assert gate.sizes == [1]
        gate.open.set()
        await stats.reach("events", 2 + 3 * SLICE)
    # The last event may have come a moment too late.
    assert gate.sizes[0] == 1
    assert gate.sizes[1] >= 3 * SLICE
    assert len(gate.sizes) <= 3


async def test_a_full_batch_is_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with engine.worker(batch_size=10, writers=1) as stats:
        await engine.publish([event(0)])
        await gate.until(batches=1)
        await engine.publish(event(n) for n in range(1, 36))
        # One is under way, and two wait for the writer; all others stay with the broker, or in the buffer.
        await gate.until(read=21)
        await anyio.wait_all_tasks_blocked()
        assert (gate.sizes, gate.read) == ([1], 21)
        gate.open.set()
        await stats.reach("events", 36)
    assert gate.sizes[:3] == [1, 10, 10]


async def test_free_writers_wait_for_a_backlog_that_is_on_its_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "FILL_SECONDS", PATIENCE)
    monkeypatch.setattr(intake, "STALL_SECONDS", PATIENCE)
    gate, held, brokers = Gate(monkeypatch), list[Any](), list[Broker]()
    gate.open.set()
    on_frames = Broker._on_frames  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def slowly(broker: Broker, frames: list[Any]) -> None:
        if not brokers:
            brokers.append(broker)
            on_frames(broker, frames[:1])
            held.extend(frames[1:])
        elif held:
            held.extend(frames)
        else:
            on_frames(broker, frames)

    monkeypatch.setattr(Broker, "_on_frames", slowly)
    async with engine.worker():
        pass  # it makes the streams
    brokers.clear()
    gate.sizes.clear()
    await engine.publish(event(n) for n in range(250))
    async with engine.worker() as stats:
        await gate.until(read=1)
        await anyio.wait_all_tasks_blocked()
        frames = held[:]
        held.clear()
        on_frames(brokers[0], frames)
        await stats.reach("events", 250)
    assert gate.sizes[:2] == [100, 100]


async def test_a_consumer_that_delivers_few_messages_is_not_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "FILL_SECONDS", PATIENCE)
    monkeypatch.setattr(intake, "STALL_SECONDS", PATIENCE)
    async with connected_once(engine.settings, seconds=5) as client, open_broker(engine.settings):
        await client.jetstream().add_consumer(
            engine.settings.input_stream,
            ConsumerConfig(durable_name="few", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=20, ack_wait=30),
        )
    few = engine.with_settings(consumer="few")
    await few.publish(event(n) for n in range(250))
    with anyio.fail_after(10):
        await few.drain()
    assert len(await engine.rows("SELECT FROM event")) == 250


async def test_a_batch_is_full_by_bytes_too(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SLICE", 1)
    gate = Gate(monkeypatch)
    async with engine.worker(writers=1) as stats:
        await engine.publish([event(0)])
        await gate.until(batches=1)
        for n in range(1, 10):
            await engine.publish([event(n, key="x" * (BATCH_BYTES // 4 + 1))])
        await gate.until(read=9)
        await anyio.wait_all_tasks_blocked()
        assert gate.read == 9
        gate.open.set()
        await stats.reach("events", 10)
    assert gate.sizes[:2] == [1, 4]


async def test_what_waits_when_the_writers_are_free_makes_no_batch_too_large(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches in one keep all writers busy at once, and then none of them."""
    monkeypatch.setattr(intake, "BATCH_BYTES", 4 * SLICE_BYTES)
    monkeypatch.setattr(intake, "SLICE_BYTES", 3 * SLICE_BYTES)
    gate, arrived = Gate(monkeypatch), anyio.Event()
    take_up = Broker._take_up  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def taking_up(broker: Broker, messages: Sequence[Message]) -> None:
        take_up(broker, messages)
        if any(message.seq == 1 + 5 for message in messages):
            arrived.set()

    monkeypatch.setattr(Broker, "_take_up", taking_up)
    async with engine.worker(writers=1) as stats:
        await engine.publish([event(0)])
        await gate.until(batches=1)
        await engine.publish(event(n, key="x" * SLICE_BYTES) for n in range(1, 4))
        await gate.until(read=1 + 3)
        # Too little to be read while a batch is under way.
        await engine.publish(event(n, key="x" * SLICE_BYTES) for n in range(4, 6))
        with anyio.fail_after(PATIENCE):
            await arrived.wait()
        gate.open.set()
        await stats.reach("events", 6)
    assert gate.sizes == [1, 4, 1]


async def test_what_was_read_and_not_handed_on_is_given_back(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    stop_pulling = Broker.stop_pulling

    def stopping(broker: Broker) -> None:
        stop_pulling(broker)
        gate.open.set()

    monkeypatch.setattr(Broker, "stop_pulling", stopping)
    async with engine.worker():
        await engine.publish([event(0)])
        await gate.until(batches=1)
        await engine.publish(event(n) for n in range(1, 1 + SLICE))
        await gate.until(read=1 + SLICE)
    assert len(await engine.rows("SELECT FROM event")) == 1
    with anyio.fail_after(10):  # before any timeout of ours
        stats = await engine.drain()
    assert stats.events == SLICE

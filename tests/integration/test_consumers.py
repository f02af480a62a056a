"""Consumers and streams that an operator made: they stay as they are, and a worker works within their limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import nats
import pytest
import structlog

from tests.integration.engine import PATIENCE, event
from worker.broker import pull
from worker.broker.streams import Broker, BrokerMismatchError, open_broker
from worker.doctor.gather import WorkerChecks
from worker.pipeline.intake import Intake

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

SECOND = 1_000_000_000
EVENTS = 60
BY_HAND: dict[str, Any] = {
    "ack_policy": "explicit",
    "ack_wait": 20 * SECOND,
    "max_deliver": -1,
    "max_ack_pending": 5000,
    "deliver_policy": "all",
    "replay_policy": "instant",
}


async def ask(engine: Engine, subject: str, **what: object) -> dict[str, Any]:
    client = await nats.connect(engine.settings.nats_url)
    try:
        answer = await client.request(f"$JS.API.{subject}", json.dumps(what).encode(), timeout=10)
    finally:
        await client.close()
    said: dict[str, Any] = json.loads(answer.data)
    assert "error" not in said, said
    return said


async def make(engine: Engine, **changes: object) -> dict[str, Any]:
    """Make the stream and the consumer as an operator does; return the consumer's configuration."""
    settings = engine.settings
    await ask(engine, f"STREAM.CREATE.{settings.input_stream}", name=settings.input_stream, subjects=["events.>"])
    config = {**BY_HAND, "durable_name": settings.consumer, **changes}
    await ask(
        engine,
        f"CONSUMER.DURABLE.CREATE.{settings.input_stream}.{settings.consumer}",
        stream_name=settings.input_stream,
        config=config,
    )
    return await config_of(engine)


async def config_of(engine: Engine) -> dict[str, Any]:
    settings = engine.settings
    found: dict[str, Any] = (await ask(engine, f"CONSUMER.INFO.{settings.input_stream}.{settings.consumer}"))["config"]
    return found


@pytest.mark.parametrize(
    "limit",
    [
        {"max_batch": 10},
        {"max_expires": 2 * SECOND},
        {"max_bytes": 2000},
        {"max_bytes": 100},
        {"max_ack_pending": 10},
        {"max_waiting": 1},
        {"max_batch": 3, "max_waiting": 2, "max_expires": SECOND},
        {"backoff": [3 * SECOND, 6 * SECOND], "ack_wait": 3 * SECOND, "max_deliver": 5},
        {"filter_subject": "events.t1.>"},
        {"deliver_policy": "new"},
    ],
    ids=json.dumps,
)
async def test_a_worker_works_within_the_limits_of_an_operators_consumer(
    engine: Engine, limit: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A request over the limits brings nothing: waiting for it takes too long.
    monkeypatch.setattr(pull, "SILENCE_SECONDS", 2 * PATIENCE)
    before = await make(engine, **limit)
    with structlog.testing.capture_logs() as logs:
        async with engine.worker(WorkerChecks(unsafe=True)) as stats:
            await engine.publish(event(n, user=f"u{n % 3}") for n in range(EVENTS))
            await stats.reach("events", EVENTS)
            await stats.reach("announced", 6)
    assert await config_of(engine) == before
    assert not [line for line in logs if line["event"] == "pulling again"]
    doubted = [line["said"] for line in logs if line.get("check", "").startswith("consumer ")]
    for name in limit.keys() & {"max_batch", "max_ack_pending", "max_waiting", "max_deliver", "deliver_policy"}:
        if limit[name] != 2:  # as many requests as there are anyway
            assert len([said for said in doubted if name in said]) == 1, doubted


async def test_limits_that_come_later_are_kept_too(engine: Engine) -> None:
    await make(engine)
    async with engine.worker() as stats:
        await engine.publish(event(n) for n in range(EVENTS))
        await stats.reach("events", EVENTS)
        before = await make(engine, max_batch=7, max_bytes=3000)
        await engine.publish(event(n) for n in range(EVENTS, 2 * EVENTS))
        await stats.reach("events", 2 * EVENTS)
    assert await config_of(engine) == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ack_policy": "none", "max_ack_pending": 0, "ack_wait": 0}, "ack policy is none"),
        ({"ack_policy": "all"}, "ack policy is all"),
        ({"deliver_subject": "somewhere", "max_waiting": 0}, "push consumer"),
        ({"headers_only": True}, "headers only"),
        ({"priority_policy": "overflow", "priority_groups": ["one"]}, "priority policy is overflow"),
    ],
)
async def test_a_consumer_that_is_no_use_is_refused_in_one_sentence(
    engine: Engine, changes: dict[str, object], said: str
) -> None:
    before = await make(engine, **changes)
    with pytest.raises(BrokerMismatchError, match=said):
        async with open_broker(engine.settings):
            pass
    assert await config_of(engine) == before


async def test_patience_is_the_consumers_own(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(engine, ack_wait=6 * SECOND)
    asked: list[float] = []

    async def noting(seconds: float) -> None:
        asked.append(seconds)
        raise RuntimeError

    async with open_broker(engine.settings) as broker:
        assert broker.ack_wait == 6

        async def begin() -> Any:  # noqa: ANN401
            raise AssertionError

        monkeypatch.setattr("worker.pipeline.intake.anyio.sleep", noting)
        with pytest.raises(RuntimeError):
            await Intake(broker, engine.settings, begin, lambda: 0).keep_held()
        monkeypatch.undo()
    assert asked == [2.0]


async def test_an_operators_streams_stay_as_they_are(engine: Engine) -> None:
    settings = engine.settings
    for name, prefix in ((settings.input_stream, "events"), (settings.unlock_stream, "unlocks")):
        await ask(
            engine, f"STREAM.CREATE.{name}", name=name, subjects=[f"{prefix}.>", f"other.{prefix}"], max_msgs=5000
        )
    before = [(await ask(engine, f"STREAM.INFO.{name}"))["config"] for name in ("EVENTS", "UNLOCKS")]
    await engine.publish([event(n) for n in range(3)])
    await engine.drain()
    after = [(await ask(engine, f"STREAM.INFO.{name}"))["config"] for name in ("EVENTS", "UNLOCKS")]
    assert after == before
    assert len(await engine.announced()) == 2


async def test_two_workers_that_make_the_consumer_at_once_agree(engine: Engine) -> None:
    other, waits = engine.with_settings(ack_wait=10), list[float]()
    async with anyio.create_task_group() as tasks:

        async def opened(one: Engine) -> None:
            async with open_broker(one.settings) as broker:
                waits.append(broker.ack_wait)

        for one in (engine, other, engine, other):
            tasks.start_soon(opened, one)
    assert len(set(waits)) == 1
    assert (await config_of(engine))["ack_wait"] == waits[0] * SECOND


async def test_a_request_that_expires_is_followed_by_another_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker always has a request with the broker: the next event does not wait for the next look."""
    monkeypatch.setattr(pull, "PULL_SECONDS", 1)
    monkeypatch.setattr(pull, "HEARTBEAT_SECONDS", 2 * PATIENCE)
    asked, again = 0, anyio.Event()
    ask_for = Broker._ask  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def counting(broker: Broker, way: Any, what: dict[str, int]) -> bool:  # noqa: ANN401 - passed on
        nonlocal asked
        asked += 1
        if asked > 2:
            again.set()
        return await ask_for(broker, way, what)

    monkeypatch.setattr(Broker, "_ask", counting)
    async with open_broker(engine.settings) as broker, anyio.create_task_group() as tasks:
        await broker.subscribe()

        async def take() -> None:
            messages = await broker.next_batch() or []
            await broker.ack(messages)

        tasks.start_soon(take)
        with anyio.fail_after(PATIENCE):
            await again.wait()
        await engine.publish([event(1)])

"""A JetStream cluster with three replicas: leaders that step down, nodes that die, freeze and are parted."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.faults.cluster import cluster
from tests.faults.load import RULES, Shape, load
from tests.faults.oracle import expect_promise, settled
from tests.faults.processes import workers
from tests.faults.producer import producing
from tests.faults.tally import count, tell
from tests.integration.engine import Engine
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.faults.cluster import Cluster, Node

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

STEPS = ("STREAM EVENTS", "STREAM UNLOCKS", "CONSUMER EVENTS.ach")


async def test_a_cluster_whose_nodes_fail_one_at_a_time(database_url: str, tmp_path: Path) -> None:
    rounds, dice = count("CLUSTER", quick=6, long=120), Random(9)  # noqa: S311 - reproducible
    async with cluster(tmp_path / "cluster") as three, workers(tmp_path / "workers") as started:
        engine = Engine(Settings(nats_url=three.url, database_url=database_url, batch_size=50, writer_events=1))
        engine = engine.with_settings(ack_wait=2)
        await three.ready(engine.settings)
        await engine.apply(RULES)
        faults = {"leader steps down": 0, "node killed": 0, "node frozen": 0, "node parted": 0}
        sent = load(9, Shape(events=600 + 350 * rounds, users=20))
        async with producing(three.url, sent, pause=0.005) as producer:
            for _ in range(2):
                child = await started.start(engine.settings)
                assert await child.until("ready"), child.log()
            for number in range(rounds):
                fault = list(faults)[number % len(faults)]
                faults[fault] += await _fail(three, fault, dice)
            await producer.done.wait()
        healed = await settled(engine.settings)
        await expect_promise(engine.settings, producer.published, RULES)
        counts = ", ".join(f"{fault} {times}" for fault, times in faults.items())
        messages = f"{len(producer.published)} messages, {producer.unsure} never acknowledged"
        tell("nodes of a cluster of three (R3) that fail", f"{counts}; {messages}; healed within {healed:.1f} s")


async def _fail(three: Cluster, fault: str, dice: Random) -> int:
    """Make one fault and mend it; return how often it took place."""
    node = dice.choice(three.nodes)
    if fault == "leader steps down":
        return sum([await three.step_down(step) for step in STEPS])
    async with _failing(three, fault, node):
        # As long as elections take (4 to 9 s at the most), and sometimes shorter.
        await anyio.sleep(1 + dice.random() * 5)
    return 1


@asynccontextmanager
async def _failing(three: Cluster, fault: str, node: Node) -> AsyncGenerator[None]:
    match fault:
        case "node killed":
            node.kill()
            yield
            node.start()
        case "node frozen":
            node.send(signal.SIGSTOP)
            yield
            node.send(signal.SIGCONT)
        case _:
            await three.routed(node)
            assert three.part(node), "it had no routes"
            yield
            three.heal()

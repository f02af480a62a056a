from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from bench import soon
from bench.contestants import CONTESTANTS
from bench.events import Shape
from bench.rig import rig
from bench.runs import Load, speed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
BY_KEY = {one.key: one for one in CONTESTANTS}


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
async def test_contestants_drain_a_stream_and_agree(tmp_path: Path) -> None:
    load = Load(Shape(1500, users=40, late=0))

    async with rig(tmp_path) as servers:
        for key in ("worker", "workers", "limit", "batched", "postgres"):
            done = await speed(servers, BY_KEY[key], load, 1, tmp_path)

            assert done.differs == "none"
            assert done.unlocks == (0 if key == "limit" else len(load.expected.unlocks))
            assert done.drained.events_per_second > 0
            assert done.drained.table_bytes > 100
            assert done.drained.peak_bytes > 10_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
async def test_what_is_carried_and_how_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "WARM_SECONDS", 0.0)
    load = Load(Shape(3000, users=20, late=0))

    async with rig(tmp_path) as servers:
        full = await soon.carried(servers, BY_KEY["worker"], load, 50, tmp_path)
        done = await soon.latency(servers, BY_KEY["worker"], load, 50, 3000, tmp_path)

    assert full > 100
    assert (done.rate, done.missing) == (3000, 0)
    assert done.unlocks > 10
    assert done.p50 is not None
    assert done.p99 is not None
    assert 0 < done.p50 <= done.p99 < 10

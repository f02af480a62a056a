from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

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

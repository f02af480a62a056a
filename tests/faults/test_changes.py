"""Chains of changes: whatever authors, operators, clocks and crashes do, the live tables stay a replay of the ledger.

Each chain is drawn from a seed. One that fails is made smaller and printed as a short program. ACH_FAULTS_CHAINS sets
how many are drawn.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.changes_chain import drawn
from tests.faults.changes_run import run_chain, shrunk
from tests.faults.changes_world import ground_of
from tests.faults.tally import count, tell

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(36000)]

CHAINS: Final = count("CHAINS", quick=80, long=10_000)
PARTS: Final = 10
SHRINKS: Final = int(os.environ.get("ACH_FAULTS_SHRINKS", "200"))
"""Tries to make a chain smaller."""


@pytest.mark.parametrize("part", range(PARTS))
async def test_drawn_chains(engine: Engine, part: int) -> None:
    async with ground_of(engine.settings) as ground:
        seeds = range(part, CHAINS, PARTS)
        for seed in seeds:
            failure = await run_chain(ground, drawn(seed))
            if failure is not None:
                pytest.fail((await shrunk(ground, failure, SHRINKS)).text(), pytrace=False)
    tell(f"chains of changes, part {part + 1} of {PARTS}", f"{len(seeds):,}")

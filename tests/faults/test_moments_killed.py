"""A worker dies while it judges all subjects when a version begins: each earns it once, and another worker goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import msgspec
import pytest

from dsl.calendar import format_instant
from tests.faults.changes_chain import Crash
from tests.faults.changes_world import FUSE, Died, fused
from tests.faults.processes import workers
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.pipelines import sent
from tests.integration.test_moments import BEGIN, RULES, moments
from worker.app import wall_clock
from worker.store import UnavailableError, open_store

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

STEPS: Final = 200
"""More than it takes."""
USERS: Final = ("u1", "u2", "u3")
MANY: Final = 400
SECOND: Final = 1_000_000


async def wrong(engine: Engine, users: set[str]) -> list[str]:
    """Return what is wrong with what was earned at the moment."""
    rows = await engine.rows("SELECT subject, achievement FROM unlock WHERE event_id = '' AND achievement = 'five'")
    found = [f"not earned: {name}" for name in users - {row["subject"] for row in rows}]
    decided = await engine.rows(
        "SELECT subject, achievement, count(*) AS n FROM evaluation GROUP BY subject, achievement HAVING count(*) > 1"
    )
    return found + [f"decided more than once: {row}" for row in decided]


@pytest.mark.parametrize("behind", [False, True])
async def test_it_dies_at_every_step(engine: Engine, *, behind: bool) -> None:
    await engine.apply(RULES)
    with fused():
        burnt = True
        for number in range(STEPS):
            for table in ("event", "unlock", "evaluation", "progress", "checkpoint", "moment"):
                await engine.rows(f"DELETE FROM {table}")  # noqa: S608 - names of ours
            await sent(engine, *[event(n, user=user) for user in USERS for n in range(3)])
            async with open_store(engine.settings.database_url) as store:
                try:
                    with FUSE.armed(Crash(number, behind=behind, dies=True)):
                        await moments(engine, store).look()
                except (Died, UnavailableError):
                    pass
                burnt = FUSE.burnt
                await engine.rows("UPDATE moment SET beat_at = beat_at - interval '1 minute'")
                while await moments(engine, store).look():
                    pass
            assert await wrong(engine, set(USERS)) == [], f"dead at step {number}"
            if not burnt:
                break
        assert not burnt, "there are more steps"


async def test_a_worker_is_killed_and_another_one_goes_on(engine: Engine, tmp_path: Path) -> None:
    """Processes: the first is killed once it has granted some; the second waits until the first is silent."""
    settings = msgspec.structs.replace(engine.settings, health_port=None)
    begin = (wall_clock() // SECOND + 8) * SECOND
    await engine.apply(RULES.replace(format_instant(BEGIN), format_instant(begin)))
    users = {f"u{n:03}" for n in range(MANY)}
    await sent(engine, *[event(n, user=user) for user in sorted(users) for n in range(3)])
    query = "SELECT count(*) AS n FROM unlock WHERE event_id = '' AND achievement = 'five'"

    async def until(number: int) -> None:
        with anyio.fail_after(PATIENCE):
            # Polled: another process grants.
            while (await engine.rows(query))[0]["n"] < number:  # noqa: ASYNC110
                await anyio.sleep(0.01)

    async with workers(tmp_path) as started:
        first = await started.start(settings)
        await until(1)
        await first.end()
        assert (await engine.rows(query))[0]["n"] < MANY, "it was done before it was killed"
        await started.start(settings)
        await until(MANY)
    assert await wrong(engine, users) == []
    await engine.drain()
    announced = [one["unlock_id"] for one in await engine.announced() if one["achievement"] == "five"]
    assert len(announced) == len(set(announced)) == MANY

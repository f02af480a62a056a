"""Two operators at once: whatever two commands meet, both end with a clear answer, and nothing is half done.

Both are processes, begun together on a database of their own. What each says is looked at as its operator does; then
the books are held against a fold of the ledger, and the announcements against the books.
"""

from __future__ import annotations

import re
from itertools import combinations_with_replacement
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import pytest

from tests.faults.oracle import HEALING_SECONDS, corrected
from tests.faults.processes import workers
from tests.faults.scenes import NEW, Scene, begin_building, begin_new, copied, made
from tests.faults.tally import count, is_long, tell
from worker.admin.ledger_replay import Part, replay_ledger
from worker.admin.results import read_digest
from worker.engine.agreement import Why
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.processes import Workers
    from tests.faults.scenes import Made
    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

AT_ONCE: Final = 4
PAIRS: Final = count("PAIRS", quick=30, long=10_000)
NEWER: Final = NEW + 'achievement five { title "Five" when count(event=a.done, >= 5) }\n'
OTHER: Final = NEW.replace("achievement after ", "achievement behind ")
COMMANDS: Final = {
    "apply": ("apply", "newer.ach", "-m", "newer"),
    "apply other": ("apply", "other.ach", "-m", "other", "--announce", "none"),
    "backfill": ("backfill",),
    "rollback": ("rollback", "1", "--yes"),
    "retire": ("rules", "retire", "quick", "--reason", "why"),
    "revoke": ("revoke", "--change", "2", "--reason", "why", "--yes"),
    "revoke some": ("revoke", "--achievement", "three", "--reason", "why", "--yes"),
    "rebuild": ("rebuild", "-q"),
    "archive": ("archive", "--older-than", "300d"),
    "erase": ("erase", "u3", "-t", "t1", "--yes"),
    "erase another": ("erase", "u5", "-t", "t1", "--yes"),
    "pause": ("change", "pause", "2"),
    "resume": ("change", "resume", "2"),
    "cancel": ("change", "cancel", "2"),
    "announce": ("change", "announce", "2"),
}
NEVER: Final = re.compile(
    r"Traceback|deadlock|cannot be reached|could not|canceling|duplicate key|SQLSTATE|OV001", re.IGNORECASE
)
"""What no operator should read who has done nothing wrong."""
AGED: Final = "UPDATE event SET received_at = received_at - interval '400 days'"


class Case(NamedTuple):
    """Two commands, and whether the change before them is still built."""

    building: bool
    first: str
    second: str


async def _begin_building(engine: Engine) -> None:
    await begin_building(engine)
    await engine.rows(AGED)


async def _begin_done(engine: Engine) -> None:
    await begin_new(engine)
    await engine.rows(AGED)


def _cases() -> list[Case]:
    pairs = [Case(building, *pair) for building in (False, True) for pair in combinations_with_replacement(COMMANDS, 2)]
    if not is_long():
        Random(1).shuffle(pairs)  # noqa: S311 - reproducible
    return pairs[:PAIRS]


async def _attempt(servers: Servers, started: Workers, template: Made, folder: Path, case: Case) -> list[str]:
    """Let two commands meet; return what is wrong."""
    async with copied(servers, template, folder) as engine:
        for name, text in (("newer", NEWER), ("other", OTHER)):
            (folder / f"{name}.ach").write_text(text)
        both = [
            await started.start(engine.settings, "command", arguments=COMMANDS[name], folder=folder)
            for name in case[1:]
        ]
        wrong: list[str] = []
        for name, child in zip(case[1:], both, strict=True):
            await child.until("dead")
            said = child.log_text()
            if child.code not in {0, 1} or NEVER.search(said) or not said.strip():
                wrong.append(f"{name} ended with {child.code}: {said[-1500:]}")
            if child.code == 1 and not name.startswith("rebuild") and "error:" not in said:
                wrong.append(f"{name} does not say why: {said[-1500:]}")
        await engine.rows("UPDATE change SET state = 'building' WHERE state = 'paused'")
        with anyio.fail_after(4 * HEALING_SECONDS):
            await engine.backfill()
            await engine.drain()
        return wrong + await _judged(engine, case, [child.code == 0 for child in both])


async def _judged(engine: Engine, case: Case, done: list[bool]) -> list[str]:
    """Return where the books are not what ledger and rules make them, or a command has not done what it said."""
    wrong: list[str] = []
    async with open_store(engine.settings.database_url) as store:
        rules = await load_deployed(store, engine.settings)
        (replayed,) = await replay_ledger(store, rules, Part())
        wrong += [f"disagrees: {one}" for one in replayed.disagreements if one.why not in {Why.RETIRED, Why.REVOKED}]
        if replayed.digest != (await read_digest(store, rules)).digest and "revoke" not in " ".join(case[1:]):
            wrong.append("the digest is not that of the ledger")
    wrong += corrected(await engine.said(), await engine.rows("SELECT * FROM unlock"))
    wrong += [f"pending: {row}" for row in await engine.rows("SELECT change_id FROM change WHERE state = 'pending'")]
    wrong += [f"fence: {row}" for row in await engine.rows(_FENCE)]
    for name, query in _EFFECTS.items():
        if any(one == name and went for one, went in zip(case[1:], done, strict=True)):
            wrong += [f"{name} is half done: {row}" for row in await engine.rows(query)]
    return wrong


_FENCE: Final = "SELECT partition FROM partition WHERE rules_epoch <> (SELECT max(epoch) FROM rule_set)"
_EFFECTS: Final = {
    "erase": "SELECT event_id FROM event WHERE user_id = 'u3' UNION ALL"
    " SELECT part::text FROM pack WHERE user_id = 'u3' UNION ALL SELECT achievement FROM unlock WHERE subject = 'u3'",
    "erase another": "SELECT event_id FROM event WHERE user_id = 'u5' UNION ALL"
    " SELECT part::text FROM pack WHERE user_id = 'u5' UNION ALL SELECT achievement FROM unlock WHERE subject = 'u5'",
    "revoke": "SELECT subject, achievement FROM unlock"
    " WHERE change_id = 2 AND revoked_at IS NULL AND granted_at IS NOT NULL",
    "revoke some": "SELECT subject FROM unlock WHERE achievement = 'three' AND version = 1 AND revoked_at IS NULL",
    "archive": "SELECT * FROM packing",
    "rollback": "SELECT 1 WHERE NOT EXISTS (SELECT FROM rule_set WHERE epoch > 2 AND hash = ("
    "SELECT hash FROM rule_set WHERE epoch = 1))",
}
"""What is found where a command has not done all that it said."""


async def test_pairs_of_commands(servers: Servers, tmp_path: Path) -> None:
    broken: list[str] = []
    cases, limit = _cases(), anyio.CapacityLimiter(AT_ONCE)
    scenes = [Scene("building", _begin_building, ()), Scene("done", _begin_done, ())]
    async with (
        made(servers, scenes[0], tmp_path / "building") as building,
        made(servers, scenes[1], tmp_path / "done") as done,
        workers(tmp_path) as started,
    ):

        async def attempt(number: int, case: Case) -> None:
            async with limit:
                template = building if case.building else done
                wrong = await _attempt(servers, started, template, tmp_path / f"{number}", case)
                broken.extend(f"{case}: {one}" for one in wrong)

        async with anyio.create_task_group() as tasks:
            for number, case in enumerate(cases):
                tasks.start_soon(attempt, number, case)
    tell("pairs of commands at once", f"{len(cases)} of {len(COMMANDS)} commands")
    assert not broken, "\n".join(broken[:20])

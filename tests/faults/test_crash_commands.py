"""Commands of operators that die at every point: called again, each of them comes to the same end as if it had not.

A command is a process that kills itself at its point: before or after a statement, or where a file is put in its place.
The quick form takes points of some statements of each command; the long form (ACH_FAULTS=long) all points.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from tests.databases import name_of
from tests.faults.oracle import HEALING_SECONDS
from tests.faults.points import Point
from tests.faults.processes import Workers, workers
from tests.faults.proxy import Fate, proxy
from tests.faults.scenes import ORDERED, SCENES, Made, Scene, copied, differences, made, picture, publish_later
from tests.faults.tally import count, is_long, tell
from worker.admin.journal import read_journal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.processes import Child
    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(7200)]

COMMANDS: Final = tuple(scene for scene in SCENES if not scene.worker)
AT_ONCE: Final = count("AT_ONCE", quick=6, long=6)
KINDS: Final = count("COMMAND_KINDS", quick=8, long=10_000)
"""Statements and the like, of each command, around which it dies."""
LIVES: Final = 3
"""Tries to die at a point."""


class World(NamedTuple):
    """Where the trials of one scene happen."""

    servers: Servers
    workers: Workers
    made: Made
    folder: Path

    @property
    def scene(self) -> Scene:
        """What is done."""
        return self.made.scene


class Life(NamedTuple):
    """How a command has ended, and what was left in the end."""

    died: bool
    wrong: list[str]
    picture: dict[str, list[str]]


async def _start(world: World, engine: Engine, folder: Path, point: Point | None, record: Path | None = None) -> Child:
    work = "drain" if world.scene.worker else "command"
    child = await world.workers.start(
        engine.settings, work, crash=point, record=record, arguments=world.scene.arguments, folder=folder
    )
    await child.until("dead")
    return child


async def _life(world: World, number: int, point: Point | None = None, record: Path | None = None) -> Life:
    """Do it, and once more where it died; then let a worker do what is left."""
    scene, folder = world.scene, world.folder / f"{number}"
    async with copied(world.servers, world.made, folder) as engine:
        if scene.worker:
            await publish_later(engine)
        child = await _start(world, engine, folder, point, record)
        died, wrong = child.code == -9, list[str]()
        if died:
            child = await _start(world, engine, folder, None)
        said = child.log_text()
        was_done = died and child.code == 1 and bool(scene.nothing_left) and scene.nothing_left in said
        if not (was_done or child.code in scene.codes) or "Traceback" in said:
            wrong.append(f"ended with {child.code}: {said[-2000:]}")
        with anyio.fail_after(4 * HEALING_SECONDS):
            if scene.worker:
                await engine.backfill()
            await engine.drain()
        return Life(died, wrong, await picture(engine))


async def _cut(world: World, number: int, fate: Fate, at: int | None) -> tuple[int, Life]:
    """Do it while the connection is cut at one of its commits; return how many commits there were, and what is left."""
    scene, folder = world.scene, world.folder / f"{number}"
    commits = 0

    def fate_of() -> Fate:
        nonlocal commits
        commits += 1
        return fate if commits - 1 == at else Fate.PASS

    parts = urlsplit(world.servers.database_tcp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with (
        copied(world.servers, world.made, folder) as engine,
        proxy(parts.hostname, parts.port) as net,
    ):
        net.fate = fate_of
        before = world.servers.database_tcp_url.rpartition("/")[0].replace(f":{parts.port}", f":{net.port}")
        database = f"{before}/{name_of(engine.settings.database_url)}"
        child = await _start(world, engine.with_settings(database_url=database), folder, None)
        said, wrong = child.log_text(), list[str]()
        if child.code not in scene.codes or "Traceback" in said:
            wrong.append(f"ended with {child.code}: {said[-2000:]}")
        with anyio.fail_after(4 * HEALING_SECONDS):
            await engine.drain()
        found = await picture(engine) | {"journal": _journal(folder)}
        return commits, Life(at is not None and commits > at, wrong, found)


def _journal(folder: Path) -> list[str]:
    """Return what the journal says that was done."""
    path = folder / "journal"
    return sorted({str(entry.what) for entry in read_journal(path)}) if path.exists() else []


@pytest.mark.parametrize("scene", COMMANDS, ids=[scene.name for scene in COMMANDS])
async def test_a_commit_of_a_command_is_cut_off(servers: Servers, tmp_path: Path, scene: Scene) -> None:
    """It tries again by itself, whether the commit took place or not, and ends as if nothing had happened."""
    cuts = count("COMMAND_CUTS", quick=4, long=10_000)
    broken: list[str] = []
    cut = 0
    async with made(servers, scene, tmp_path / "made") as template, workers(tmp_path) as started:
        world = World(servers, started, template, tmp_path)
        commits, wanted = await _cut(world, 0, Fate.PASS, None)
        assert not wanted.wrong
        dice, limit = Random(1), anyio.CapacityLimiter(AT_ONCE)  # noqa: S311 - reproducible
        trials = [(fate, at) for at in range(commits) for fate in (Fate.LOST, Fate.UNKNOWN)]

        async def attempt(number: int, fate: Fate, at: int) -> None:
            nonlocal cut
            async with limit:
                _, life = await _cut(world, number, fate, at)
                cut += life.died
                found = life.wrong + differences(wanted.picture, life.picture)
                broken.extend(f"{fate.value} commit {at}: {one}" for one in found)

        async with anyio.create_task_group() as tasks:
            for number, (fate, at) in enumerate(dice.sample(trials, min(cuts, len(trials))), 1):
                tasks.start_soon(attempt, number, fate, at)
    tell(f"commits of `{scene.name}` cut off", f"{commits} commits, {cut} cut")
    assert not broken, "\n".join(broken[:20])


def _chosen(points: list[Point], dice: Random) -> list[Point]:
    """Return all sides of statements and files; in the quick form, the first of all, and of some kinds one each."""
    sides = [point for point in points if point.kind.startswith(("before ", "after ", "within "))]
    if is_long():
        return sides
    # What lies between two statements is the same to a server: one side of each will do.
    kinds: dict[str, list[Point]] = defaultdict(list)
    for point in sides:
        if not point.kind.startswith("before Session"):
            kinds[point.kind].append(point)
    drawn = dice.sample(sorted(kinds), min(KINDS, len(kinds)))
    return [*sides[:1], *(dice.choice(kinds[kind]) for kind in drawn)]


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name for scene in SCENES])
async def test_a_command_dies_at_every_point(servers: Servers, tmp_path: Path, scene: Scene) -> None:
    broken: list[str] = []
    died = 0
    async with made(servers, scene, tmp_path / "made") as template, workers(tmp_path) as started:
        world = World(servers, started, template, tmp_path)
        record = tmp_path / "points.json"
        wanted = await _life(world, 0, record=record)
        assert not wanted.wrong
        points = msgspec.json.decode(record.read_bytes(), type=list[Point])
        trials = _chosen(points, Random(scene.name))  # noqa: S311 - reproducible, and other statements for each
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def attempt(number: int, point: Point) -> None:
            nonlocal died
            async with limit:
                # Which points a run passes depends on when answers arrive; most come again in the next one.
                for turn in range(LIVES):
                    life = await _life(world, number + turn * 10_000, point)
                    died += life.died
                    but = ORDERED if scene.worker else frozenset[str]()
                    found = life.wrong + differences(wanted.picture, life.picture, but=but)
                    broken.extend(f"{point}: {one}" for one in found)
                    if life.died or broken:
                        break

        async with anyio.create_task_group() as tasks:
            for number, point in enumerate(trials, 1):
                tasks.start_soon(attempt, number, point)
    tell(f"crashes of `{scene.name}`", f"{len(points)} points, {len(trials)} tried, {died} died there")
    assert not broken, "\n".join(broken[:20])
    assert died >= len(trials) * 0.9, f"only {died} of {len(trials)} came to their point"

"""Crashes at every point: a recording run lists where a worker can die, and then one dies at each of them.

A worker is a process that kills itself at its point. Another one then does the rest, and the oracle judges. The quick
form takes a point of every statement and message, and in a share of the functions that wait; the long form
(ACH_FAULTS=long) all points of several seeds.
"""

from __future__ import annotations

import ast
import os
import re
from collections import defaultdict
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple
from unittest.mock import patch

import anyio
import msgspec
import nats
import pytest

import sql
from tests.databases import fresh_database, name_of
from tests.faults.load import MORE, RULES, SETTLES, SETTLING, Sent, Shape, load, twist, without_roles
from tests.faults.oracle import HEALING_SECONDS, all_acknowledged, announced_bodies, findings
from tests.faults.points import Point
from tests.faults.processes import ROOT, Workers, workers
from tests.faults.tally import tell
from tests.integration.engine import Engine, own_streams
from worker.admin import pending
from worker.app import at_once, run, wall_clock
from worker.broker.streams import open_broker
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable
    from pathlib import Path

    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

LONG: Final = os.environ.get("ACH_FAULTS") == "long"
SEEDS: Final = int(os.environ.get("ACH_FAULTS_SEEDS", "3" if LONG else "1"))
SHARE: Final = float(os.environ.get("ACH_FAULTS_SHARE", "1" if LONG else "0"))
"""Of the points of each kind, beyond the first."""
WAITS: Final = float(os.environ.get("ACH_FAULTS_WAITS", "1" if LONG else "0.1"))
"""Share of the functions that wait, with a point in each: between two messages, all points are the same to a server."""
AT_ONCE: Final = int(os.environ.get("ACH_FAULTS_AT_ONCE", "4"))
"""Trials side by side: most of each is waiting for the broker to deliver again."""
LIVES: Final = 3
"""Tries to die at a point."""
SHAPE: Final = Shape(events=26, users=3, late=0.1, poison=0.08, step=90 * 60_000_000)
ACK_WAIT: Final = 0.5

_DETAIL: Final = re.compile(r":\d+|^(resume|suspend) | > (_do_execute|_get_statement)$")
"""What does not make a kind of its own in the quick form."""
_SIDES: Final = ("before ", "after ", "within ")
PLAIN: Final = without_roles(RULES)
WORKS: Final = ("drain", "first", "apply", "plain", "twist")
"""`drain`: start-up, batches, relay, the end; `first`: the same on empty servers; `apply`: new rules and backfill;
`plain`: the same of rules in which events name no other users; `twist`: grants are contested, withdrawn before they
settle, and granted because they have settled."""
APPLIES: Final = ("apply", "plain")
IN_FORCE: Final = {"apply": MORE, "plain": without_roles(MORE), "twist": SETTLING}


class Begun(NamedTuple):
    """Where all lives of a work and seed begin: a database to copy, and what was announced by then."""

    template: str
    prefix: str
    announced: list[tuple[str, bytes]]
    """Subjects, under the prefix, and bodies."""


class World(NamedTuple):
    """Servers, a starter of workers, and databases to copy: one under RULES, and one under PLAIN."""

    servers: Servers
    workers: Workers
    folder: Path
    template: str
    plain: str
    begun: dict[tuple[str, int], Begun]
    """By work and seed, where a change of rules finds a history."""

    def template_of(self, work: str) -> str:
        """Return the database that a work begins with; an empty one for the first."""
        return {"first": "template1", "plain": self.plain}.get(work, self.template)


@asynccontextmanager
async def _world(servers: Servers, folder: Path) -> AsyncGenerator[World]:
    async with fresh_database(servers) as template, fresh_database(servers) as plain, workers(folder) as made:
        await Engine(Settings(database_url=template)).apply(RULES)
        await Engine(Settings(database_url=plain)).apply(PLAIN)
        # Where one has died that had announced its rules, the next one begins at once.
        with patch.object(pending, "PENDING_SILENT_SECONDS", 0.0):
            yield World(servers, made, folder, name_of(template), name_of(plain), {})


@asynccontextmanager
async def _begun(world: World, work: str, seed: int) -> AsyncGenerator[None]:
    """Let all lives of a work and seed within the block begin with a copy of one history."""
    if work not in APPLIES:
        yield
        return
    async with _engine(world, world.template_of(work)) as engine:
        await _publish(engine, load(seed, SHAPE, engine.settings.input_prefix))
        await engine.drain()
        said = await announced_bodies(engine.settings)
        world.begun[work, seed] = Begun(name_of(engine.settings.database_url), engine.settings.unlock_prefix, said)
        yield


@asynccontextmanager
async def _engine(world: World, template: str) -> AsyncGenerator[Engine]:
    """Give an engine with a database and streams of its own."""
    async with fresh_database(world.servers, template) as url:
        settings = Settings(
            nats_url=world.servers.nats_url, database_url=url, **own_streams(), batch_size=8, writer_events=1
        )
        # Settings of a worker count whole seconds; the broker does not mind.
        engine = Engine(settings).with_settings(ack_wait=ACK_WAIT)
        yield engine
        client = await nats.connect(settings.nats_url)
        try:
            for stream in (settings.input_stream, settings.unlock_stream):
                await client.jetstream().delete_stream(stream)
        finally:
            await client.close()


class Trial(NamedTuple):
    """One life that ends at a point, and what has become of it."""

    work: str
    seed: int
    point: Point | None = None


async def _life(world: World, trial: Trial, record: Path | None = None) -> tuple[bool, list[str]]:
    """Let a worker die, and another do the rest; return whether it died at its point, and what is wrong."""
    rules = IN_FORCE.get(trial.work, RULES)
    begun = world.begun.get((trial.work, trial.seed))
    async with _engine(world, world.template_of(trial.work) if begun is None else begun.template) as engine:
        sent = await _prepared(engine, trial, begun)
        work = "apply" if trial.work in APPLIES else "drain"
        child = await world.workers.start(engine.settings, work, rules=rules, crash=trial.point, record=record)
        await child.until("dead")
        if child.code not in {0, -9}:
            return False, [f"ended with {child.code}: {child.log()}"]
        with anyio.fail_after(4 * HEALING_SECONDS):
            if trial.work in {"first", *APPLIES}:
                await engine.apply(rules)
                await engine.backfill()
            if trial.work == "first":
                await _publish(engine, sent)
            await engine.drain()
        return child.code == -9, await findings(engine.settings, all_acknowledged(sent), rules)


async def _prepared(engine: Engine, trial: Trial, begun: Begun | None) -> list[Sent]:
    """Bring servers to where a life begins; return all that is published, in the end."""
    prefix = engine.settings.input_prefix
    sent = load(trial.seed, SHAPE, prefix)
    if trial.work == "first":
        return sent
    if begun is not None:
        async with open_broker(engine.settings) as broker:
            for subject, body in begun.announced:
                await broker.publish(subject.replace(begun.prefix, engine.settings.unlock_prefix, 1), body)
        return sent
    if trial.work == "twist":
        await engine.apply(SETTLING)
        then = wall_clock() - 2 * SETTLES
        before, after = twist(then, prefix)
        await _publish(engine, before)
        await run(engine.settings, drain=at_once(), now=lambda: then)
        await _publish(engine, after)
        return [*before, *after]
    await _publish(engine, sent)
    return sent


async def _publish(engine: Engine, sent: Iterable[Sent]) -> None:
    async with open_broker(engine.settings) as broker:
        for one in sent:
            await broker.publish(one.subject, one.body)


async def _recorded(world: World, work: str, seed: int) -> list[Point]:
    record = world.folder / f"{work}-{seed}.json"
    _, wrong = await _life(world, Trial(work, seed), record)
    assert not wrong, wrong
    return msgspec.json.decode(record.read_bytes(), type=list[Point])


def _chosen(points: list[Point], again: Collection[Point], dice: Random) -> list[Point]:
    """Return a point of every kind, one that the run passed `again` if there is any, and a share of all others.

    In the quick form each function is a kind; of these kinds it takes a share. A statement has one side.
    """
    kinds: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        kinds[point.kind if LONG else _DETAIL.sub("", point.kind)].append(point)
    sample = {
        dice.choice([point for point in alike if point in again] or alike)
        for kind, alike in kinds.items()
        if _is_taken(kind, dice)
    }
    return [point for point in points if point in sample or dice.random() < SHARE]


def _is_taken(kind: str, dice: Random) -> bool:
    if kind.startswith(_SIDES):
        # What lies before a statement lies behind another.
        return LONG or not kind.startswith("before Session")
    return dice.random() < WAITS


async def _try(world: World, trials: Iterable[Trial]) -> tuple[int, list[str]]:
    """Carry out trials side by side; return how many crashed at their point, and what is wrong."""
    limit = anyio.CapacityLimiter(AT_ONCE)
    died, broken = 0, list[str]()

    async def attempt(trial: Trial) -> None:
        nonlocal died
        async with limit:
            # Which points a run passes depends on when answers arrive; most come again in the next one.
            for _ in range(LIVES):
                crashed, wrong = await _life(world, trial)
                died += crashed
                broken.extend(f"{trial}: {one}" for one in wrong)
                if crashed or wrong:
                    break

    async with anyio.create_task_group() as tasks:
        for trial in trials:
            tasks.start_soon(attempt, trial)
    return died, broken


async def test_crash_around_what_is_decisive(servers: Servers, tmp_path: Path) -> None:
    """A few points that are in every run of the tests: around commits, acknowledgements and announcements."""
    async with _world(servers, tmp_path) as world:
        trials = [Trial("drain", 7, Point(kind, number)) for kind, number in DECISIVE]
        died, broken = await _try(world, trials)
    assert not broken, "\n".join(broken)
    assert died == len(trials)


DECISIVE: Final = (
    ("before Connection.execute COMMIT;", 2),
    ("after Connection.execute COMMIT;", 2),
    ("after Session.run insert_events", 0),
    ("before Session.run commit_fast", 0),
    ("after Session.run commit_fast", 0),
    ("before Broker.ack", 0),
    ("after FastClient.publish_each", 1),
    ("before Broker.announce", 0),
    ("after Broker.announce", 0),
    ("before Session.run mark_announced", 0),
    ("after Session.run mark_announced", 0),
)


@pytest.mark.faults
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("work", WORKS)
async def test_crash_at_every_point(servers: Servers, tmp_path: Path, work: str) -> None:
    tried, died, broken = 0, 0, list[str]()
    async with _world(servers, tmp_path) as world:
        # A twist is the same for every seed.
        for seed in range(1, 2 if work == "twist" else SEEDS + 1):
            async with _begun(world, work, seed):
                points = await _recorded(world, work, seed)
                # A busy machine makes batches that no other run has.
                again = set(points if LONG else await _recorded(world, work, seed))
                chosen = _chosen(points, again, Random(seed))  # noqa: S311 - reproducible
                trials = [Trial(work, seed, point) for point in chosen]
                crashed, wrong = await _try(world, trials)
            tried, died = tried + len(trials), died + crashed
            broken.extend(wrong)
            passed = f"{len(points)} points, {len(trials)} tried"
            tell(f"crashes of `{work}`", f"seed {seed}: {passed}; {died:,} of {tried:,} crashes so far")
    assert not broken, "\n".join(broken[:40])
    assert died >= tried * 0.9, f"only {died} of {tried} came to their point"


# -- whether these are all points --------------------------------------------------------------------------------------
#
# A server knows of a worker what the worker sends. Dying anywhere between two messages is the same to it, so the points
# are complete when they have both sides of every statement and of every message.

ROOMS: Final = (
    *("worker/pipeline/*.py", "worker/store/*.py"),
    *(
        f"worker/admin/{name}.py"
        for name in (
            *("ahead", "backfill", "changes", "lease", "members", "pending", "piece", "rollout", "sweep", "versions"),
            "visit",
        )
    ),
)


def _statements() -> set[str]:
    """Return the names of all queries that start-up, pipeline, relay, rules and backfill speak of."""
    texts = (file.read_text("utf-8") for room in ROOMS for file in ROOT.glob(room))
    words = {node.value for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    return {word for word in words if isinstance(word, str) and _is_query(word)}


def _is_query(word: str) -> bool:
    try:
        return bool(sql.query(word))
    except KeyError:
        return False


@pytest.mark.faults
async def test_every_statement_is_a_point(servers: Servers, tmp_path: Path) -> None:
    kinds: set[str] = set()
    async with _world(servers, tmp_path) as world:
        for work in WORKS:
            for seed in (1, 2):
                async with _begun(world, work, seed):
                    kinds |= {point.kind for point in (await _recorded(world, work, seed))}
    passed = {kind.split()[-1] for kind in kinds if kind.startswith(("before Session", "within Session"))}
    others = _statements() - passed
    assert (sorted(others - ELSEWHERE), sorted(ELSEWHERE - others)) == ([], [])
    both = {kind.removeprefix("before ") for kind in kinds if kind.startswith("before ")}
    assert both == {kind.removeprefix("after ") for kind in kinds if kind.startswith("after ")}
    tell("statements and messages with a point on both sides", f"{len(both)}, all that there are")


ELSEWHERE: Final = {
    # of `ach apply`, which goes on with a backfill that was interrupted
    "something_is_building",
    # of `ach rollback`
    *("roll_back_changes", "silence_rolled_back"),
    # of an archive
    *("insert_packed_members", "last_packs_of_person", "packed_users", "packs_by_hash", "packs_by_user"),
    *("digests_of_renamed", "packs_naming_person", "packs_of_users_in_roles"),
    *("packs_of_numbers", "packs_of_person", "packs_of_subjects", "packs_of_tenants", "packs_of_users"),
    # of events that name a user who was erased
    *("insert_pseudonyms", "insert_renamed_events", "pseudonyms_of_users"),
    # of a batch of dead letters alone
    "rules_epoch_of_partition",
    # of a mark on an event that no rule hears any more
    *("last_of_subjects", "last_of_tenants", "last_of_users"),
    # of `ach dead`
    *("count_dead_letters", "dead_letter", "dead_letters", "mark_replayed", "mark_sent", "purge_dead_letters"),
    "letters_died_again",
    # of `ach erase`, and of what older workers have left
    *("add_tokens", "letters_are_read", "tombstones_without_tokens", "unread_letters"),
    # of /readyz
    "count_partitions",
    # of the stream's clock, which replays have
    "latest_instant",
    # of a database that an earlier release has made: tests/migration/test_bins.py interrupts them
    *("define_bins", "ledgers_without_bins", "try_lock_indexes", "unlock_indexes"),
    # of metrics, and of a look at all workers
    *("outbox_size", "grants_between", "workers_seen", "pages_of_progress", "states_of_scope_by_stamp"),
    *("letters_that_wait", "look", "last_letter"),
    # of `ach change`, and of changes that are refused, wait for one another, last longer than a second, or are too late
    *("changes", "changes_open", "change_of_id", "decisions_of_change", "unlocks_of_change"),
    *("pause_change", "cancel_change", "announce_silent_unlocks", "change_announces_all", "drop_pending"),
    *("beat_pending", "live_lag", "pending_sources", "withdraw_retired"),
    # of commands that look for users by their events
    "users_of_types",
    # of fields of teams that are declared otherwise
    "forget_members_of_types",
    # of rules that hear less than those before, and of a database that an earlier release has written
    *("forget_progress", "forget_states_of_scope", "forget_checkpoints_of_scope"),
    *("rule_set_before", "forget_retired_aggregate", "adopt_aggregate"),
}
"""Statements that are no part of start-up, batches, relay or backfill."""

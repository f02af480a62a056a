"""Unlocks are a pure function of events and rules: whatever is done to how events arrive, the same digest comes out.

Drawn rule sets and streams in this process and through real workers, and every fixture. `ACH_METAMORPHIC` multiplies
the numbers of the quick run.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from dsl.outcome import digest, run
from dsl.progress import decode, encode
from dsl.ruleset import build
from dsl.story import Arrival
from tests.databases import FORGET
from tests.fixture_library import NOW, Fixture, histories, in_process, stories
from tests.integration.engine import PATIENCE, Engine
from tests.reference import strategies
from tests.reference.bodies import body_of
from worker import app
from worker.admin.results import read_results
from worker.admin.rollout import apply_rules
from worker.contract.message import Message
from worker.contract.partition import partition_of
from worker.contract.reasons import Reason
from worker.engine.decoding import decode as read_messages
from worker.engine.rule_set import RuleFile
from worker.engine.state_cache import StateCache
from worker.engine.stats import Stats
from worker.pipeline import fence, ledger
from worker.pipeline.pipeline import InForce, Pipeline
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.outcome import Subject, Unlock
    from dsl.progress import State
    from worker.engine.rule_set import Deployed
    from worker.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

TIMES: Final = int(os.environ.get("ACH_METAMORPHIC", "1"))
PARTS: Final = 5
DRAWN: Final = 30 * TIMES
"""Scenarios of each part in this process."""
DRAWN_FOR_PIPELINES: Final = 10 * TIMES
DRAWN_FOR_WORKERS: Final = 4 * TIMES
END: Final = 1_900_000_000_000_000


def drawn(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


class Outcome(NamedTuple):
    """What has to be the same every time."""

    unlocks: list[Unlock]
    digest: str


def straight(program: Program, events: Iterable[Event]) -> Outcome:
    outcome = run(program, events)
    return Outcome(outcome.unlocks, digest(program, outcome.unlocks, outcome.states))


def compiled(text: str) -> Program:
    program = build([("drawn.ach", text.encode())]).program
    assert program is not None
    return program


def scattered(dice: Random, events: Sequence[Event]) -> list[Event]:
    """Return events in any order, a third of them twice."""
    arriving = [*events, *dice.sample(events, len(events) // 3)]
    dice.shuffle(arriving)
    return arriving


def cut(dice: Random, things: Sequence[object], most: int) -> Iterator[slice]:
    """Yield slices of any lengths that cover things."""
    at = 0
    while at < len(things):
        size = dice.randint(1, most)
        yield slice(at, at + size)
        at += size


# -- in this process -----------------------------------------------------------------------------------------


class Partitioned(Arrival):
    """A worker of some partitions alone: it hears everything, and folds the subjects that are its own."""

    def __init__(self, program: Program, mine: int, partitions: int) -> None:
        super().__init__(program)
        self.mine = mine
        self.partitions = partitions

    def _advance(self, subject: Subject, events: Sequence[Event]) -> None:
        if partition_of(*subject, self.partitions) == self.mine:
            super()._advance(subject, events)


def restarted(arrival: Arrival) -> None:
    """Leave of a worker what is written down."""
    for subject, state in arrival.states.items():
        restored = decode(encode(state))
        assert restored is not None
        arrival.states[subject] = restored


def arrived(dice: Random, program: Program, events: Sequence[Event], partitions: int) -> Outcome:
    """Return what comes out of events that arrive somehow, at so many workers that each stop somewhere."""
    clock = max((event.at for event in events), default=0)
    unlocks: list[Unlock] = []
    states: dict[Subject, State] = {}
    for mine in range(partitions):
        worker, arriving = Partitioned(program, mine, partitions), scattered(dice, events)
        for piece in cut(dice, arriving, dice.choice((1, 3, 10, 50))):
            worker.take(arriving[piece])
            if dice.random() < 0.2:
                restarted(worker)
        unlocks += worker.unlocks(clock)
        # A subject of another worker is known there alone.
        states |= {key: state for key, state in worker.states.items() if partition_of(*key, partitions) == mine}
    unlocks.sort(key=lambda unlock: unlock.order)
    return Outcome(unlocks, digest(program, unlocks, states))


def by_tenant(program: Program, events: Sequence[Event]) -> Outcome:
    """Return what comes out where every tenant has an engine of its own."""
    clock = max((event.at for event in events), default=0)
    unlocks: list[Unlock] = []
    states: dict[Subject, State] = {}
    for tenant in {event.tenant for event in events}:
        worker = Arrival(program)
        worker.take([event for event in events if event.tenant == tenant])
        unlocks += worker.unlocks(clock)
        states |= worker.states
    unlocks.sort(key=lambda unlock: unlock.order)
    return Outcome(unlocks, digest(program, unlocks, states))


@pytest.mark.parametrize("part", range(PARTS))
def test_drawn_rules_and_streams(part: int) -> None:
    checked = 0

    @seed(part)
    @drawn(DRAWN)
    @given(strategies.scenarios())
    def check(scenario: strategies.Scenario) -> None:
        nonlocal checked
        dice = Random(f"{part} {checked}")  # noqa: S311 - no secret
        checked += 1
        program, again = compiled(scenario.text), compiled(scenario.text)
        expected = straight(program, scenario.events)
        assert again.fingerprint == program.fingerprint
        assert straight(again, scenario.events[::-1]) == expected
        assert by_tenant(program, scenario.events) == expected
        for partitions in (1, dice.randint(2, 5)):
            assert arrived(dice, program, scenario.events, partitions) == expected

    check()
    assert checked >= DRAWN * 0.9


# -- through pipelines and workers ---------------------------------------------------------------------------


async def deployed(engine: Engine, store: Store, text: str) -> Deployed:
    """Return rules that are in force in a database without anything else."""
    async with store.transaction(patient=True) as session:
        await session.script(FORGET)
    await apply_rules(store, [RuleFile("rules.ach", text)], engine.settings, by="test", now=END)
    return await load_deployed(store, engine.settings)


async def stored(store: Store, rules: Deployed) -> Outcome:
    results = await read_results(store, rules)
    shown = rules.renames.shown_in(results.unlocks)
    return Outcome(sorted(shown, key=lambda unlock: unlock.order), results.digest)


async def commit_all(
    dice: Random, store: Store, engine: Engine, rules: Deployed, bodies: Sequence[bytes], *, now: int = END
) -> None:
    """Commit messages by one pipeline that is stopped and started again anywhere."""

    async def load() -> Deployed:
        return rules

    def start() -> Pipeline:
        memory = StateCache(f"{dice.random()}", dice.choice((2, 1000)))
        options = msgspec.structs.replace(engine.settings, clock=Clock.STREAM)
        return Pipeline(
            store, options, memory, Stats(), in_force=InForce(load), now=lambda: now, stopping=lambda: False
        )

    pipeline = start()
    messages = [Message("events.raw", body, b"", seq, "") for seq, body in enumerate(bodies, 1)]
    # In small batches everything late costs a refold of its own: few of them for a long stream.
    for piece in cut(dice, messages, max(dice.choice((3, 20, 100)), len(messages) // 20)):
        batch = read_messages(messages[piece], rules, now=now)
        await pipeline.commit(batch, waiting=_nothing)
        if dice.random() < 0.2:
            pipeline = start()
        if dice.random() < 0.1:  # the acknowledgement was lost
            await pipeline.commit(batch, waiting=_nothing)


async def _nothing() -> None:
    pass


async def side_by_side(
    dice: Random, store: Store, engine: Engine, rules: Deployed, bodies: Sequence[bytes], pipelines: int
) -> None:
    """Commit messages by so many pipelines at once; each gets what the others have not got."""
    with anyio.fail_after(PATIENCE * TIMES):
        async with anyio.create_task_group() as tasks:
            for number in range(pipelines):
                own = Random(f"{dice.random()}")  # noqa: S311 - no secret
                tasks.start_soon(commit_all, own, store, engine, rules, bodies[number::pipelines])


def repartition(monkeypatch: pytest.MonkeyPatch, partitions: int) -> None:
    for module in (fence, ledger):
        monkeypatch.setattr(module, "partition_of", partial(partition_of, partitions=partitions))


def some_scenarios(number: int, seeded: int) -> list[strategies.Scenario]:
    found: list[strategies.Scenario] = []

    @seed(seeded)
    @drawn(number)
    @given(strategies.scenarios())
    def draw(scenario: strategies.Scenario) -> None:
        found.append(scenario)

    draw()
    return found


@pytest.mark.parametrize("pipelines", [1, 2, 4])
async def test_drawn_rules_through_the_database(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, pipelines: int
) -> None:
    dice = Random(pipelines)  # noqa: S311 - no secret
    async with open_store(engine.settings.database_url, connections=2 + pipelines) as store:
        for scenario in some_scenarios(DRAWN_FOR_PIPELINES, 10 + pipelines):
            repartition(monkeypatch, dice.choice((1, 3, 64)))
            rules = await deployed(engine, store, scenario.text)
            bodies = [body_of(event) for event in scattered(dice, scenario.events)]
            await side_by_side(dice, store, engine, rules, bodies, pipelines)
            assert await stored(store, rules) == straight(rules.program, scenario.events), scenario.text
    assert await engine.rows("SELECT FROM dead_letter") == []


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_drawn_rules_through_workers_on_one_consumer(engine: Engine, workers: int) -> None:
    """The same through the broker, where workers share a consumer and each stops as soon as it sees nothing left."""
    dice = Random(workers)  # noqa: S311 - no secret
    streamed = engine.with_settings(clock=Clock.STREAM, skew=10**9)
    async with open_store(engine.settings.database_url) as store:
        for scenario in some_scenarios(DRAWN_FOR_WORKERS, 20 + workers):
            rules = await deployed(engine, store, scenario.text)
            await engine.publish(body_of(event) for event in scattered(dice, scenario.events))
            async with anyio.create_task_group() as tasks:
                for _ in range(workers):
                    tasks.start_soon(
                        partial(
                            streamed.drain, batch_size=dice.choice((3, 10, 100)), writer_events=dice.choice((1, 500))
                        )
                    )
            assert await stored(store, rules) == straight(rules.program, scenario.events), scenario.text


async def test_a_worker_that_stops_anywhere(engine: Engine) -> None:
    """Stopped after each of its first batches, it goes on where it was."""
    dice = Random(5)  # noqa: S311 - no secret
    streamed = engine.with_settings(clock=Clock.STREAM, skew=10**9)
    async with open_store(engine.settings.database_url) as store:
        for scenario in some_scenarios(DRAWN_FOR_WORKERS, 30):
            rules = await deployed(engine, store, scenario.text)
            await engine.publish(body_of(event) for event in scattered(dice, scenario.events))
            for _ in range(4):
                async with AsyncExitStack() as stack:
                    stats = await stack.enter_async_context(
                        streamed.worker(batch_size=4, writer_events=dice.choice((1, 500)))
                    )
                    with anyio.move_on_after(0.3):  # there may be nothing left to do
                        await stats.reach("batches", dice.randint(1, 5))
            await streamed.drain()
            assert await stored(store, rules) == straight(rules.program, scenario.events), scenario.text


# -- the fixtures --------------------------------------------------------------------------------------------

FIXTURES: Final = [*stories(), *histories()]


def fixtures(fits: Callable[[Fixture], bool] = lambda fixture: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fixture", [pytest.param(one, id=one.name) for one in FIXTURES if fits(one)])


@fixtures()
@pytest.mark.parametrize(
    "pipelines", [pytest.param(1, marks=pytest.mark.faults), 2, pytest.param(4, marks=pytest.mark.faults)]
)
async def test_fixtures_through_the_database(engine: Engine, fixture: Fixture, pipelines: int) -> None:
    dice = Random(f"{fixture.name} {pipelines}")  # noqa: S311 - no secret
    lines = fixture.lines()
    result, dead = in_process(fixture, lines)
    if any(one.reason is Reason.ID_CONFLICT for one in dead):
        # Which of two bodies comes first decides what the event is: in the order of arrival, by one worker.
        pipelines = 1
    else:
        lines += dice.sample(lines, len(lines) // 3)
        dice.shuffle(lines)
    async with open_store(engine.settings.database_url, connections=2 + pipelines) as store:
        rules = await deployed(engine, store, fixture.rules.read_text("utf-8"))
        # The longest takes 25 s by itself, and more than twice that beside another test.
        with anyio.fail_after(1.8 * PATIENCE * TIMES):
            async with anyio.create_task_group() as tasks:
                for number in range(pipelines):
                    work = partial(commit_all, Random(number), store, engine, rules, lines[number::pipelines], now=NOW)  # noqa: S311
                    tasks.start_soon(work)
        assert await stored(store, rules) == Outcome(result.unlocks, result.digest)


@fixtures(lambda fixture: fixture.name in {"game", "saas", "fitness"})
async def test_fixtures_through_four_workers(engine: Engine, fixture: Fixture) -> None:
    lines = fixture.lines()
    result, _ = in_process(fixture, lines)
    Random(7).shuffle(lines)  # noqa: S311 - no secret
    settings = msgspec.structs.replace(engine.settings, clock=Clock.STREAM, batch_size=20, writer_events=1)
    async with open_store(engine.settings.database_url) as store:
        rules = await deployed(engine, store, fixture.rules.read_text("utf-8"))
        await engine.publish(lines)
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(partial(app.run, settings, drain=app.at_once(), now=lambda: NOW))
        assert await stored(store, rules) == Outcome(result.unlocks, result.digest)

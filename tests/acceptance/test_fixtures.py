"""The fixture library and the real streams: what must come out does, in any order of arrival, and however often.

A fixture is a folder of fixtures/streams; a new one joins by being there. Each is run every way there is of running a
stream (`WAYS`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, cast, get_args, get_type_hints

import anyio
import msgspec
import pytest

from dsl import syntax
from dsl.built_ins import ACTOR, ZONED
from dsl.diagnostics import render
from dsl.parse import parse
from dsl.renames import under_first_names
from dsl.source import Source
from dsl.types import FieldType, Unit
from tests.fixture_library import FIXTURES, NOW, Fixture, by_reference, histories, in_process, stories
from worker.commands.test import run_examples
from worker.contract.reasons import Reason
from worker.engine.renames import NO_RENAMES
from worker.engine.replay import Result, as_called
from worker.local.replay_worker import replay_on
from worker.rulefiles import load
from worker.settings import Clock, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STORIES: Final = stories()
EVERYTHING: Final = [*STORIES, *histories()]
SHUFFLES: Final = [("in_process", 1), ("in_process", 2), ("through_worker", 3)]
"""Ways and seeds."""
SLOW: Final = 1000
"""Lines of a stream above which the reference takes its time; fixtures_make holds these against it."""

PATIENCE: Final = 60.0
"""Seconds until a test gives up on a worker."""

Way = Callable[[Fixture, Sequence[bytes]], Awaitable[Result]]
WAYS: Final = ("in_process", "through_worker")
FEW: Final = 100
"""Lines of a stream up to which a worker commits each one alone; so it is certain what was granted before what came."""
SMALL_BATCH: Final = 7
"""Messages in a transaction otherwise: few, so that what is late finds progress written by another batch."""
pytestmark = pytest.mark.anyio


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Return a way to run a stream, to be used once in a test: the database is empty but once."""
    if request.param == "in_process":
        return _in_process
    urls = {"nats_url": request.getfixturevalue("nats_url"), "database_url": request.getfixturevalue("database_url")}

    async def through_worker(fixture: Fixture, lines: Sequence[bytes]) -> Result:
        size = 1 if len(lines) <= FEW else SMALL_BATCH if len(lines) <= SLOW else Settings().batch_size
        settings = Settings(**urls, clock=Clock.STREAM, batch_size=size)
        rules = under_first_names(load([fixture.rules]))
        with anyio.fail_after(PATIENCE):
            result = await replay_on(settings, rules, lines, now=NOW, on_progress=_silent)
        return as_called(result, NO_RENAMES.with_rules(rules))

    return through_worker


def _silent(what: str, done: int) -> None:
    pass


async def _in_process(fixture: Fixture, lines: Sequence[bytes]) -> Result:
    return in_process(fixture, lines)[0]


def named(fixtures: Iterable[Fixture]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fixture", [pytest.param(each, id=each.name) for each in fixtures])


def depends_on_arrival(fixture: Fixture) -> bool:
    """Return whether two events of the stream have one id and say different things.

    The first one to arrive is the event, and the other a dead letter: engine.md §4. With the lines in another order it
    is another set of events, so nothing can be said of what comes out.
    """
    return any(each.reason is Reason.ID_CONFLICT for each in fixture.expected().dead)


def complete(fixture: Fixture) -> Result:
    """Return what is expected; what a real stream's file leaves out is taken from a run in this process."""
    expected = fixture.expected()
    if expected.counts is not None and expected.digest is not None:
        return Result(expected.digest, expected.unlocks, expected.contested, expected.counts)
    result, _ = in_process(fixture, fixture.lines())
    return Result(result.digest, expected.unlocks, expected.contested, result.counts)


# -- what comes out ------------------------------------------------------------------------------------------


@named(EVERYTHING)
async def test_a_stream_grants_what_was_expected(fixture: Fixture, way: Way) -> None:
    expected = complete(fixture)
    result = await way(fixture, fixture.lines())
    assert result.unlocks == expected.unlocks
    assert result.counts == expected.counts
    assert result.digest == expected.digest


@named(each for each in STORIES if len(each.lines()) <= FEW)
@pytest.mark.parametrize("way", ["through_worker"], indirect=True)
async def test_a_grant_that_lost_its_evidence_is_contested(fixture: Fixture, way: Way) -> None:
    result = await way(fixture, fixture.lines())
    expected = fixture.expected().contested
    assert [unlock for unlock in result.contested if unlock not in expected] == []
    # What settles is granted by the relay. Where that is slower than the evidence against it, as on a busy machine, the
    # grant was never made, and is withdrawn instead of contested.
    achievements = load([fixture.rules]).rules.achievements
    missing = [unlock for unlock in expected if unlock not in result.contested]
    assert all(achievements[unlock.achievement][0].settle is not None for unlock in missing)


@named(each for each in EVERYTHING if not depends_on_arrival(each))
@pytest.mark.parametrize(("way", "seed"), SHUFFLES, indirect=["way"])
async def test_the_order_of_arrival_has_no_meaning(fixture: Fixture, way: Way, seed: int) -> None:
    lines = fixture.lines()
    Random(seed).shuffle(lines)  # noqa: S311 - no secret
    expected = complete(fixture)
    result = await way(fixture, lines)
    assert result.unlocks == expected.unlocks
    assert result.digest == expected.digest
    # What is late is a matter of the order.
    assert msgspec.structs.replace(result.counts, late=expected.counts.late) == expected.counts


@named(EVERYTHING)
async def test_a_line_counts_once_however_often_it_arrives(fixture: Fixture, way: Way) -> None:
    expected = complete(fixture)
    result = await way(fixture, [line for line in fixture.lines() for _ in range(2)])
    once = expected.counts
    assert result.unlocks == expected.unlocks
    assert result.digest == expected.digest
    assert result.counts == msgspec.structs.replace(
        once, duplicates=2 * once.duplicates + once.events, dead=2 * once.dead
    )


@named(STORIES)
def test_dead_letters_are_reported(fixture: Fixture) -> None:
    expected = fixture.expected().dead
    _, dead = in_process(fixture, fixture.lines())
    assert [item.reason for item in dead] == [item.reason for item in expected]
    pairs = zip(dead, expected, strict=True)
    assert [item.detail for item, wanted in pairs if not item.detail.startswith(wanted.detail)] == []


@named(each for each in STORIES if len(each.lines()) <= SLOW)
def test_the_slow_reference_grants_the_same(fixture: Fixture) -> None:
    assert by_reference(fixture, fixture.expected().dead) == fixture.expected().unlocks


# -- the library itself --------------------------------------------------------------------------------------


@named(STORIES)
def test_rules_are_without_fault_and_their_examples_hold(fixture: Fixture) -> None:
    rules = load([fixture.rules])
    assert not rules.problems, "\n".join(render(problem) for problem in rules.problems)
    verdicts = list(run_examples(rules))
    assert verdicts
    assert [failure for verdict in verdicts for failure in verdict.failures] == []


@named(STORIES)
def test_a_fixture_is_complete_and_explained(fixture: Fixture) -> None:
    expected = fixture.expected()
    assert expected.unlocks
    assert expected.counts is not None
    assert expected.digest is not None
    assert f"`{fixture.name}`" in (FIXTURES / "README.md").read_text("utf-8")


def test_every_reason_that_a_stream_can_carry_occurs() -> None:
    # A recorded line has no subject to disagree with; the last two are the database's and the engine's own.
    elsewhere = {Reason.TENANT_MISMATCH, Reason.USER_MISMATCH, Reason.REFUSED, Reason.DEFECT}
    assert {item.reason for each in STORIES for item in each.expected().dead} == set(Reason) - elsewhere


# -- all of the language occurs ------------------------------------------------------------------------------


def trees() -> Iterator[object]:
    """Yield every node of every rule file of the library."""
    for each in STORIES:
        file, problems = parse(Source(each.name, each.rules.read_text("utf-8")))
        assert not problems
        yield from nodes(file.declarations)


def nodes(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for item in cast("tuple[object, ...]", value):
            yield from nodes(item)
    if isinstance(value, syntax.Node | syntax.Modifiers):
        yield value
        for field in msgspec.structs.fields(value):
            yield from nodes(getattr(value, field.name))


def kinds() -> list[type[msgspec.Struct]]:
    return [*cast("list[type[msgspec.Struct]]", syntax.Node.__subclasses__()), syntax.Modifiers]


def test_every_clause_argument_and_modifier_occurs() -> None:
    given = {
        (type(node).__name__, field.name)
        for node in trees()
        if isinstance(node, msgspec.Struct)
        for field in msgspec.structs.fields(node)
        if getattr(node, field.name) != field.default
    }
    every = {(kind.__name__, field.name) for kind in kinds() for field in msgspec.structs.fields(kind)}
    every -= {("Alternative", "seen"), ("Alternative", "counts")}  # nothing that is written: the check puts it in
    assert every - given == set()


def test_every_choice_occurs() -> None:
    """`max` and `min`, each comparison, each kind of zone: whatever a field of the tree has a closed list of."""
    hints = {kind: get_type_hints(kind, dict(vars(syntax))) for kind in kinds()}
    choices = {
        (kind.__name__, name, value)
        for kind, fields in hints.items()
        for name, hint in fields.items()
        if getattr(hint, "__origin__", None) is syntax.OneOf
        for value in cast("tuple[str, ...]", get_args(hint))
    }
    chosen = {
        (type(node).__name__, name, getattr(node, name))
        for node in trees()
        for name in {name for _, name, _ in choices}
        if hasattr(node, name)
    }
    assert choices
    assert choices - chosen == set()


def test_every_unit_type_and_built_in_occurs() -> None:
    found = list(trees())
    pers = {node.per.text for node in found if isinstance(node, syntax.Modifiers) and node.per is not None}
    assert pers == set(Unit)
    assert {node.unit.text for node in found if isinstance(node, syntax.Streak)} == set(Unit)
    assert {node.unit.text for node in found if isinstance(node, syntax.RepeatEvery)} == set(Unit)
    assert {node.type.text for node in found if isinstance(node, syntax.FieldDecl)} == set(FieldType)
    built_in = {node.name for node in found if isinstance(node, syntax.Ref) and node.builtin}
    assert built_in == {*ZONED, ACTOR}
    literals = {type(node.value).__name__ for node in found if isinstance(node, syntax.Literal)}
    assert literals == {"str", "int", "Decimal", "bool", "Hole"}
    units = {node.text.lstrip("0123456789_") for node in found if isinstance(node, syntax.Duration)}
    assert units == {"s", "m", "h", "d", "w"}
    scopes = {node.name for node in found if isinstance(node, syntax.Scope)}
    assert scopes > {"user", "tenant"}

"""Achievements over `unlocks`, judged behind the others: in stages, each after those whose unlocks it may count.

At an event, the plain achievements are judged first. What they earn stands right behind the event, one unlock after the
other, and each ends a prefix: the first stage is judged at the event itself and at each unlock that it hears. A second
stage counts unlocks of the first, and so on. For a stage, all that is earned at the event in the stages before it is a
fact of that event. So what a subject earns is a function of its events, whatever the unlocks are made of, and a state
needs nothing but what the aggregates over unlocks remember.

A plan without `unlocks` has no stages, and none of this takes place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.built_ins import UNLOCKS
from dsl.filters import any_of, compile_pattern
from dsl.judge import Judge, OfUnlocks
from dsl.memory import Unlocks
from dsl.moments import Act, Moment, moments_of
from dsl.syntax import CountUnits, StreakUnits
from dsl.trees import below, counted, judged, with_zone
from dsl.trees import whens as whens_of
from dsl.unlocks import counted_names, depths, kinds_of, named, unlock_events, uses_unlocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dsl.event import Event
    from dsl.filters import Test
    from dsl.local_time import Clock
    from dsl.memory import Memory, Operation
    from dsl.nodes.node import Step
    from dsl.progress import Grant, State
    from dsl.syntax import Achievement, Condition, Pattern
    from dsl.types import Value

    AtUnlock = Callable[[State, Event, Event], list[Grant] | None]
    """Takes an unlock, and the event that earned it."""
    Said = Mapping[tuple[str, str | None, int], Mapping[str, Value]]


def heard(tests: Sequence[Test | None]) -> Test:
    """Return whether an unlock is heard that passes one of some tests; None is passed by all."""
    if not tests:
        return lambda state, event: False
    return any_of(tests) or (lambda state, event: True)


class Stage:
    """The operations of one stage, in order, and what its judges hear of unlocks."""

    def __init__(self, operations: Sequence[Operation], said: Said) -> None:
        self.operations = tuple(operations)
        self._said = said
        judges = [each for each in operations if isinstance(each, Judge)]
        self._names = frozenset[str]().union(*(judge.unlocks.names for judge in judges))
        self._heard = heard([judge.unlocks.hears for judge in judges])
        self._acts = [_at_unlock(each) for each in operations if UNLOCKS in each.types]

    def steps(self, event_type: str) -> tuple[Step, ...]:
        """Return what an event of a type costs, right at it."""
        return tuple(each.stepper(event_type) for each in self.operations if event_type in each.types)

    def behind(self, state: State, event: Event, grants: list[Grant]) -> None:
        """Take in the unlocks that an event has earned in the stages before, and add what they earn."""
        found = [grant for grant in grants if grant.achievement in self._names]
        for unlock in unlock_events(event, found, self._said) if found else ():
            if self._heard(state, unlock):
                for act in self._acts:
                    if earned := act(state, unlock, event):
                        grants += earned


def _at_unlock(operation: Operation) -> AtUnlock:
    """Return what an operation does at an unlock: aggregates see it, and judges grant by the event that earned it."""
    step = operation.stepper(UNLOCKS)
    if not isinstance(operation, Judge):
        return lambda state, unlock, event: step(state, unlock)
    hears = operation.unlocks.hears
    return lambda state, unlock, event: step(state, event) if hears(state, unlock) else None


class Stages:
    """All stages of a plan behind that of plain achievements."""

    def __init__(
        self, stages: Sequence[Sequence[Operation]], achievements: Mapping[str, Sequence[Achievement]]
    ) -> None:
        said: Said = {
            (kind.achievement, kind.tier, kind.version): kind.fields
            for versions in achievements.values()
            for kind in kinds_of(versions)
        }
        self._stages = [Stage(operations, said) for operations in stages]

    def step(self, event_type: str, plain: Sequence[Step]) -> tuple[Step, ...]:
        """Return what an event of a type costs, with `plain` before all stages."""
        here = [(stage, stage.steps(event_type)) for stage in self._stages]
        if not plain and not any(steps for _, steps in here):
            return ()
        idle = not any(steps for _, steps in here)

        def step(state: State, event: Event) -> list[Grant]:
            grants: list[Grant] = []
            for each in plain:
                if earned := each(state, event):
                    grants += earned
            if idle and not grants:
                return grants
            for stage, steps in here:
                for each in steps:
                    if earned := each(state, event):
                        grants += earned
                if grants:
                    stage.behind(state, event, grants)
            return grants

        return (step,)

    def moments(self, plain: Sequence[Operation]) -> tuple[Moment, ...]:
        """Return the moments of a plan: at each, the stages are judged one after the other."""
        each = [moments_of(plain), *(moments_of(stage.operations) for stage in self._stages)]
        acts = [{moment.at: moment.acts for moment in moments} for moments in each]
        instants = sorted({at for known in acts for at in known})
        return tuple(Moment(at, (self._at(at, acts),)) for at in instants)

    def _at(self, at: int, acts: Sequence[Mapping[int, tuple[Act, ...]]]) -> Act:
        first, *others = [known.get(at, ()) for known in acts]

        def step(state: State, event: Event) -> list[Grant]:
            grants: list[Grant] = []
            earned: set[int] = set()
            _take(first, state, event, grants, earned)
            for stage, own in zip(self._stages, others, strict=True):
                _take(own, state, event, grants, earned)
                if grants:
                    stage.behind(state, event, grants)
            return grants

        return Act(step, None, -1)


def _take(acts: Sequence[Act], state: State, event: Event, grants: list[Grant], earned: set[int]) -> None:
    """Do what is done at a moment, in order."""
    for step, if_earned, slot in acts:
        if (if_earned is None or not if_earned.isdisjoint(earned)) and (more := step(state, event)):
            grants += more
            earned.add(slot)


# -- what is heard, and from where ----------------------------------------------------------------------------------


class Hearing(NamedTuple):
    """What a version hears of unlocks: those of some achievements that pass one of some tests."""

    names: frozenset[str] = frozenset()
    tests: tuple[Test | None, ...] = ()


class Hearings:
    """What the achievements of a plan hear of unlocks, found while they are built, one after the other."""

    def __init__(self, achievements: Mapping[str, tuple[Achievement, ...]], memory: Memory) -> None:
        self._achievements = achievements
        self._memory = memory
        self._depths = depths(achievements)
        self._known: dict[str, Hearing] = {}
        self._sources: dict[str, frozenset[str]] = {}
        """By achievement, where some count unlocks: the event types at which it can be earned."""

    def ordered(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield achievements, given so that each follows those that it asks for, with their depth: plain ones first."""
        yield from ((name, self._depth(name)) for name in sorted(names, key=self._depth))

    def _depth(self, name: str) -> int:
        return self._depths.get(name, 0)

    def begin(self, name: str) -> list[Hearing]:
        """Return what each version of an achievement hears, before it is built."""
        versions = self._achievements[name]
        if name not in self._depths:
            self._memory.unlocks = Unlocks()
            return [Hearing()] * len(versions)
        self._memory.unlocks = self._unlocks(versions)
        return [self._hearing_of(version) for version in versions]

    def end(self, name: str, hearing: Sequence[Hearing]) -> None:
        """Note what an achievement hears that has been built."""
        if not self._depths:
            return
        self._known[name] = _together(hearing)
        self._sources[name] = (self._memory.hears[name] - {UNLOCKS}) | self._memory.unlocks.sources

    def terms(self, hearing: Hearing) -> OfUnlocks | None:
        """Return what a judge has to know of it."""
        counted, sources = self._memory.unlocks
        return OfUnlocks(hearing.names, heard(hearing.tests), counted, sources) if hearing.tests else None

    def _hearing_of(self, version: Achievement) -> Hearing:
        """Return what a version hears: what it counts, and what the achievements hear that it names."""
        found = [self._known[other] for other in sorted(named(version)) if other in self._known]
        if uses_unlocks(version):
            whens = [judged(version, when) for when in whens_of(version)]
            tests = tuple(test for when in whens for test in tests_of(self._memory, when))
            found.append(Hearing(counted_names(version), tests))
        return _together(found)

    def _unlocks(self, versions: Sequence[Achievement]) -> Unlocks:
        """Return the rulings whose unlocks an achievement counts in any version, and what may earn what it asks for."""
        counted = frozenset[str]().union(*map(counted_names, versions)) & self._memory.slots.keys()
        asked = counted.union(*map(named, versions)) & self._sources.keys()
        slots = frozenset(slot for name in counted for slot in self._memory.slots[name].values())
        return Unlocks(slots, frozenset[str]().union(*(self._sources[name] for name in asked)))


def _together(found: Sequence[Hearing]) -> Hearing:
    names = frozenset[str]().union(*(each.names for each in found))
    return Hearing(names, tuple(test for each in found for test in each.tests))


def tests_of(memory: Memory, tree: Condition) -> Iterator[Test | None]:
    """Yield the tests of all patterns over `unlocks` in a condition; None where every unlock passes."""
    for pattern, clock in _patterns(memory, tree):
        tests = compile_pattern(pattern, clock)
        if UNLOCKS in tests:
            yield tests[UNLOCKS]


def _patterns(memory: Memory, tree: Condition) -> Iterator[tuple[Pattern, Clock]]:
    clock = memory.clock(tree.mods)
    for pattern in (*counted(tree), *(() if tree.mods.unless is None else (tree.mods.unless,))):
        yield pattern, clock
    for part in below(tree):
        inside = with_zone(part, tree.mods.tz) if isinstance(tree, CountUnits | StreakUnits) else part
        yield from _patterns(memory, inside)

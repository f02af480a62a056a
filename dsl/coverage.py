"""The decisions of a rule set that its examples cover, and those that no example covers.

A *decision* is a part of a rule with two outcomes: a condition holds or not, an event passes a filter or not, a
window is met or missed, an `unless` resets a condition or not, a `for` or an `after` is met or missing. The examples
cover a decision if they show both outcomes. Coverage watches conditions in the fold (`dsl.watch`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from dsl import words
from dsl.expressions import leaves
from dsl.filters import compile_test, field_getter, pattern_types
from dsl.fold import reach, start, step
from dsl.judge import trait_getter
from dsl.moments import now_at
from dsl.outcome import by_subject, canonical_order, clock_of
from dsl.source import Span
from dsl.syntax import Count, Expect
from dsl.types import FieldType
from dsl.watch import watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.compile import Program
    from dsl.event import Event, Position
    from dsl.filters import Test
    from dsl.nodes.node import Measure
    from dsl.outcome import Subject
    from dsl.progress import State
    from dsl.schema import Rules
    from dsl.syntax import Condition, Example, Pattern, Predicate
    from dsl.watch import Probe, Watch

Kind = Literal["when", "part", "filter", "within", "per", "unless", "for", "after", "active"]

_LACKS: dict[Kind, tuple[str, str]] = {
    "when": ("no example earns it", "no example leaves it unearned"),
    "part": ("it holds in no example", "it holds at every event that an example checks"),
    "filter": ("no event of an example passes", "no event of an example is rejected"),
    "within": ("no example completes it in time", "no example completes it too slowly"),
    "per": ("no example completes it in one unit", "no example completes it across two units"),
    "unless": ("it holds in no example", "no example resets it while it is in progress"),
    "for": ("no user of an example passes", "no user of an example is rejected"),
    "after": ("no example has it", "no example lacks only this"),
    "active": ("no event lies inside", "no event lies outside"),
}


class Decision(msgspec.Struct):
    """A part of a rule with two outcomes, `yes` and `no`; with `both`, coverage needs both outcomes."""

    achievement: str
    version: int
    kind: Kind
    text: str
    span: Span
    both: bool = True
    yes: bool = False
    no: bool = False

    def saw(self, *, which: bool) -> None:
        """Note that it went one way."""
        if which:
            self.yes = True
        else:
            self.no = True

    @property
    def sides(self) -> int:
        """How many ways there are to go."""
        return 2 if self.both else 1

    @property
    def seen(self) -> int:
        """How many of them were gone."""
        return self.yes + (self.no and self.both)

    @property
    def lacks(self) -> str | None:
        """What no example shows, None where nothing is left."""
        lacking = [
            text for text, seen in zip(_LACKS[self.kind], (self.yes, self.no or not self.both), strict=True) if not seen
        ]
        return " and ".join(lacking) or None


class Covered(NamedTuple):
    """One achievement: the outcomes of its decisions seen, the outcomes in all, and the decisions with one missing."""

    achievement: str
    seen: int
    sides: int
    left: tuple[Decision, ...]

    @property
    def percent(self) -> float:
        """Per cent, 100 where there is nothing to decide."""
        return 100 * self.seen / self.sides if self.sides else 100.0


class Coverage:
    """Watches the examples of a rule set, one after the other."""

    def __init__(self, rules: Rules, program: Program) -> None:
        self.rules = rules
        self.program = program
        self.plans = {scope: watched(rules, scope) for scope in program.scopes}
        self._decisions: dict[tuple[str, int, str, Span], Decision] = {}
        self._lookers = {scope: [_Looker(self, watch) for watch in plan.watches] for scope, plan in self.plans.items()}

    def decision(self, watch: Watch, kind: Kind, text: str, span: Span, *, both: bool = True) -> Decision:
        """Return the decision at one place of a version, the same for all its tiers."""
        version = watch.judge.version
        key = (version.name.text, version.version, kind, span)
        known = self._decisions.get(key)
        if known is None:
            made = Decision(version.name.text, version.version, kind, text, span, both)
            known = self._decisions[key] = made
        return known

    def take(self, example: Example, events: Iterable[Event]) -> None:
        """Watch the events of one example."""
        events = list(events)
        clock = clock_of(events, None if example.until is None else example.until.us)
        found = by_subject(self.program, events)
        for subject, heard in found.items():
            self._fold(subject, sorted(heard, key=canonical_order), clock)
        self._expected(example, found.keys())

    def _fold(self, subject: Subject, events: Sequence[Event], clock: int) -> None:
        plan, lookers = self.plans[subject.scope].plan, self._lookers[subject.scope]
        state = start(plan)
        for looker in lookers:
            looker.begin()
        earned: set[tuple[str, str | None, int]] = set()
        for event in events:
            grants = step(plan, state, event)
            earned.update((grant.achievement, grant.tier, grant.version) for grant in grants)
        earned.update((grant.achievement, grant.tier, grant.version) for grant in reach(plan, state, clock))
        for looker in lookers:
            looker.end(earned)

    def _expected(self, example: Example, subjects: Iterable[Subject]) -> None:
        """Count `expect U not A` for a user without events as an achievement that was not earned."""
        named = {subject.subject for subject in subjects}
        for line in example.lines:
            if isinstance(line, Expect) and (line.negated or line.progress is not None) and line.user not in named:
                for lookers in self._lookers.values():
                    for looker in lookers:
                        looker.left_out(line)

    def covered(self) -> list[Covered]:
        """Return the coverage of each achievement, in the order of their names."""
        grouped: defaultdict[str, list[Decision]] = defaultdict(list)
        for decision in self._decisions.values():
            grouped[decision.achievement].append(decision)
        return [
            Covered(
                name,
                sum(each.seen for each in own),
                sum(each.sides for each in own),
                tuple(sorted((each for each in own if each.lacks), key=lambda each: (each.version, each.span))),
            )
            for name, own in sorted(grouped.items())
        ]


def total(covered: Iterable[Covered]) -> float:
    """Return how much was covered of everything, in per cent."""
    pairs = [(each.seen, each.sides) for each in covered]
    sides = sum(pair[1] for pair in pairs)
    return 100 * sum(pair[0] for pair in pairs) / sides if sides else 100.0


class _Filter(NamedTuple):
    """One comparison of a filter, its event types, and its decision."""

    types: frozenset[str]
    test: Test
    decision: Decision


class _Looker:
    """Looks at one version and tier."""

    def __init__(self, coverage: Coverage, watch: Watch) -> None:
        self.watch = watch
        self.judge = watch.judge
        self._ask = coverage.decision
        tier = self.judge.ruling.tier
        text = (
            words.condition(watch.probe.tree) if tier is None else f"tier {tier}: {words.condition(watch.probe.tree)}"
        )
        both = not _at_once(watch.probe.tree)
        self.root = self._ask(watch, "when", text, watch.probe.tree.span, both=both)
        self.parts = [
            (
                probe,
                self._ask(watch, "part", words.condition(probe.tree), probe.tree.span, both=not _at_once(probe.tree)),
            )
            for probe in watch.probe.walk()
            if probe is not watch.probe
        ]
        self.spans = [each for probe in watch.probe.walk() for each in self._spans(probe)]
        self.filters = [each for probe in watch.probe.walk() for each in self._filters(probe)]
        self.audience = list(self._audience(coverage.rules))
        self.after = [
            (slots, self._ask(watch, "after", words.target_name(target), target.span))
            for target, slots in zip(self.judge.version.after, self.judge.after, strict=True)
        ]
        active = self.judge.version.active
        self.active = None if active is None else self._ask(watch, "active", words.active(active), active.span)
        self._touched = False
        self._before: dict[int, Measure] = {}
        watch.look = self.look

    # -- what there is to decide --

    def _spans(self, probe: Probe) -> Iterator[tuple[Probe, Decision]]:
        mods = probe.tree.mods
        if mods.within is not None:
            yield probe, self._ask(self.watch, "within", words.within(mods.within), mods.within.span)
        if mods.per is not None:
            yield probe, self._ask(self.watch, "per", f"all in one {mods.per.text}", mods.per.span)
        if mods.unless is not None:
            yield probe, self._ask(self.watch, "unless", f"unless {words.pattern(mods.unless)}", mods.unless.span)

    def _filters(self, probe: Probe) -> Iterator[_Filter]:
        unless = probe.tree.mods.unless
        for pattern in (*probe.patterns, *(() if unless is None else (unless,))):
            for types, predicate in _predicates(pattern):
                for leaf in leaves(predicate):
                    test = compile_test(leaf, lambda ref, probe=probe: field_getter(ref, probe.clock))
                    yield _Filter(types, test, self._ask(self.watch, "filter", words.predicate(leaf), leaf.span))

    def _audience(self, rules: Rules) -> Iterator[tuple[Test, Decision]]:
        where = self.judge.version.where
        if where is None:
            return
        decimals = frozenset(name for name, kind in rules.traits.items() if kind is FieldType.DECIMAL)
        for leaf in leaves(where):
            test = compile_test(leaf, trait_getter(decimals))
            yield test, self._ask(self.watch, "for", words.predicate(leaf), leaf.span)

    # -- what is seen --

    def begin(self) -> None:
        """Begin with another subject."""
        self._touched = False
        self._before = {}

    def look(self, state: State, event: Event, position: Position) -> None:
        """See which way things go at one event."""
        del position
        for types, test, decision in self.filters:
            if event.type in types:
                decision.saw(which=test(state, event))
        self._look_at_active(event)
        if not self.judge.covers(event.at) or (event.id and event.type not in self.judge.types):
            return
        self._touched = True
        for probe, decision in self.parts:
            decision.saw(which=probe.full(state, now_at(event)))
        for probe, decision in self.spans:
            self._look_at_span(probe, decision, state, event)
        for test, decision in self.audience:
            decision.saw(which=test(state, event))
        holds = self.watch.probe.full(state, now_at(event))
        for slots, decision in self.after:
            met = any(slot in state.earned for slot in slots)
            if met or holds:
                decision.saw(which=met)

    def _look_at_span(self, probe: Probe, decision: Decision, state: State, event: Event) -> None:
        holds = probe.full(state, now_at(event))
        if holds:
            decision.saw(which=True)
        elif decision.kind != "unless" and probe.loose is not None and probe.loose.start(state) is not None:
            decision.saw(which=False)
        if decision.kind == "unless":
            before = self._before.get(id(probe))
            if before is not None and 0 < before.fraction < 1 and probe.stopped_by(state, event):
                decision.saw(which=False)
            self._before[id(probe)] = probe.measure(state, now_at(event))

    def _look_at_active(self, event: Event) -> None:
        if self.active is not None and event.type in self.watch.probe.node.types:
            self.active.saw(which=self.watch.probe.sees(event))

    def end(self, earned: set[tuple[str, str | None, int]]) -> None:
        """Come to the end of a subject's events: was it earned?"""
        key = (self.judge.version.name.text, self.judge.ruling.tier, self.judge.version.version)
        if key in earned:
            self.root.saw(which=True)
        elif self._touched:
            self.root.saw(which=False)

    def left_out(self, line: Expect) -> None:
        """Note that an example expects a user without events not to have it."""
        tier = line.target.tier
        if line.target.achievement.text == self.judge.version.name.text and (
            tier is None or tier.text == self.judge.ruling.tier
        ):
            self.root.saw(which=False)


def _at_once(tree: Condition) -> bool:
    """Return whether the first event that it hears makes it hold: then there is no other way to see."""
    return (
        isinstance(tree, Count)
        and not tree.distinct
        and words.at_least(tree.cmp) <= 1
        and not words.modified(tree.mods)
        and not list(_predicates(tree.event))
    )


def _predicates(pattern: Pattern) -> Iterator[tuple[frozenset[str], Predicate]]:
    """Yield the filters of a pattern, each with the event types that it is for."""
    for one in pattern.alternatives:
        if one.where is not None:
            yield frozenset(one.types), one.where
    if pattern.where is not None:
        yield pattern_types(pattern), pattern.where

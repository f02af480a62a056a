"""What aggregates, judges, traits and events of a plan mean, as texts that can be compared between plans.

A text is a set of lines. Lines about one event type begin with its name: they can be left out where a subject
has no event of the type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.conditions import context_of
from dsl.filters import predicate_key
from dsl.local_time import TIMEZONE
from dsl.memory import USER_ZONE, Entry
from dsl.reads import Reads, declared, reads_of
from dsl.references import tier_conditions
from dsl.syntax import RepeatBy, RepeatEach
from dsl.unlocks import asked_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.compile import Plan
    from dsl.judge import Judge, Ruling
    from dsl.syntax import Repeat

Text = frozenset[str]

ALWAYS: Final = -(2**63)
"""Before every instant."""
NEVER: Final = 2**63
"""Behind every instant."""


class Span(NamedTuple):
    """A judge: in effect from an instant, inclusive, to another, exclusive, and what it means."""

    low: int
    high: int
    text: Text


class Texts:
    """All texts of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.aggregates: dict[str, Text] = {entry.base: self._aggregate(entry) for entry in plan.entries}
        """By canonical form, without how much is remembered."""
        self.rulings: dict[tuple[str, str | None], tuple[Span, ...]] = {
            (ruling.achievement, ruling.tier): self._spans(ruling) for ruling in plan.rulings
        }
        self.named: dict[str, frozenset[str]] = {
            ruling.achievement: frozenset[str]().union(*map(asked_for, plan.rules.achievements[ruling.achievement]))
            for ruling in plan.rulings
        }
        """Achievements that each one names, or whose unlocks it counts."""
        traits = {name for entry in plan.dispatch.values() for name in entry.traits}
        self.traits: dict[str, Text] = {
            name: self._declared(Reads(frozenset(), frozenset(), frozenset({name}))) for name in traits
        }
        self.heard: dict[str, Text] = {
            name: self._declared(Reads(frozenset({name}), frozenset())) for name in plan.dispatch
        }

    def _declared(self, reads: Reads) -> Text:
        lines = (f"{place} {said}" for place, said in declared(self._plan.rules, self._plan.scope, reads))
        return frozenset(lines)

    def _aggregate(self, entry: Entry) -> Text:
        traits = frozenset({TIMEZONE}) if USER_ZONE in entry.base else frozenset[str]()
        return self._declared(Reads(entry.types, entry.reads, traits)) | _heard(entry.types)

    def _spans(self, ruling: Ruling) -> tuple[Span, ...]:
        return tuple(
            Span(
                ALWAYS if judge.since is None else judge.since,
                NEVER if judge.until is None else judge.until,
                self._judge(judge),
            )
            for judge in ruling.judges
        )

    def _judge(self, judge: Judge) -> Text:
        version, tier = judge.version, judge.ruling.tier
        reads = reads_of(version, [when for name, when in tier_conditions(version) if name == tier])
        types = judge.types.union(*(aggregate.types for aggregate in judge.asked()))
        after = sorted(f"{one.achievement.text}.{'' if one.tier is None else one.tier.text}" for one in version.after)
        active = (
            None
            if version.active is None
            else [each and each.us for each in (version.active.start, version.active.end)]
        )
        said = (
            f"v{version.version} when {context_of(version, tier).prefix()}{judge.built.key}",
            f"repeat {_repeat(version.repeat)}{_units(judge)}",
            f"for {None if version.where is None else predicate_key(version.where)}",
            f"after {after} active {active} settle {0 if version.settle is None else version.settle.us}",
        )
        every = reads._replace(types=reads.types | types, every_type=False)
        return self._declared(every) | _heard(types) | frozenset(said)


def _units(judge: Judge) -> str:
    """Return which calendar units an unlock uses up."""
    spender = judge.spender()
    return "" if spender is None else f" uses up {sorted(spender.rulers)}"


def _repeat(repeat: Repeat | None) -> str:
    """Return what is remembered of occurrences: none, those of units, a number, or the values."""
    if isinstance(repeat, RepeatBy):
        return f"by {repeat.field.text}"
    return "each" if isinstance(repeat, RepeatEach) else str(repeat is not None)


def _heard(types: Iterable[str]) -> Text:
    return frozenset(f"event {name}: heard" for name in types)


def alike(one: Text, other: Text, ignored: AbstractSet[str]) -> bool:
    """Tell whether two texts mean the same for a subject without events of some types."""
    if one == other:
        return True
    if not ignored:
        return False
    prefixes = tuple(f"event {name}: " for name in ignored)
    return all(line.startswith(prefixes) for line in one ^ other)


def differs_from(one: Sequence[Span], other: Sequence[Span], ignored: AbstractSet[str]) -> int:
    """Return the earliest instant at which the versions in effect do not mean the same; NEVER if there is none."""
    edges = sorted({ALWAYS, *(edge for span in (*one, *other) for edge in (span.low, span.high))})
    for edge in edges:
        left, right = _at(one, edge), _at(other, edge)
        if (left is None) != (right is None):
            return edge
        if left is not None and right is not None and not alike(left, right, ignored):
            return edge
    return NEVER


def _at(spans: Sequence[Span], instant: int) -> Text | None:
    return next((span.text for span in spans if span.low <= instant < span.high), None)

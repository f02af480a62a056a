"""The standing of a subject with every achievement: its unlocks, and its progress. Pure.

The unlocks say what is earned, because operators may decide it and a settling unlock is not granted yet. The state says
how far the current occurrence is. Only this module combines the two, so that all that shows a subject's standing agrees
with the list of unlocks.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.calendar import index_of
from dsl.nodes.node import NOTHING, Measure, whole
from dsl.progress import State
from worker.engine.reconcile import State as Stands

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.judge import Judge, Ruling
    from dsl.outcome import Subject
    from dsl.progress import Amount
    from worker.engine.reconcile import Stored
    from worker.engine.rule_set import Deployed


class Status(StrEnum):
    """Where a subject stands with one achievement and tier; of one that repeats, with its current occurrence."""

    LOCKED = "locked"
    """No progress yet."""
    IN_PROGRESS = "in_progress"
    SETTLING = "settling"
    """Earned; it is granted when it has settled."""
    EARNED = "earned"
    """Granted and supported, by events or by an operator."""
    CONTESTED = "contested"
    """Granted, and no longer supported: the progress says how far the events support it now."""
    REVOKED = "revoked"
    """Taken back by an operator; no event changes that."""


_OF_ROW: Final = {
    Stands.BY_HAND: Status.EARNED,
    Stands.GRANTED: Status.EARNED,
    Stands.SETTLING: Status.SETTLING,
    Stands.CONTESTED: Status.CONTESTED,
    Stands.REVOKED: Status.REVOKED,
}
_FOREMOST: Final = (Status.EARNED, Status.SETTLING, Status.CONTESTED, Status.REVOKED)
"""The order in which unlocks count, for an achievement that is earned once now and repeated in an earlier version."""
FULL: Final = frozenset({Status.EARNED, Status.SETTLING})
"""Exactly these show 100 %."""
ALMOST: Final = 99
"""The highest percentage of an achievement that is not earned."""


class Reached(NamedTuple):
    """How far the current occurrence is.

    `current` and `target` are None where nothing is counted: in compositions, and where no version is in effect. What
    was revoked has no `current`.
    """

    current: Amount | None
    target: Amount | None
    percent: int
    """100 exactly where the status is earned or settling."""
    more_than: bool = False
    """Whether `current` lies on a target that it has to exceed."""
    held_back: bool = False
    """Whether the condition holds and something else is missing: `for`, `after`, a span of time, or a further event."""


class Item(NamedTuple):
    """The standing with one achievement and tier."""

    achievement: str
    tier: str | None
    version: int
    """The version in effect; if none is, the latest version of its unlocks."""
    status: Status
    reached: Reached
    occurrence: str | None
    """The current occurrence, if the achievement repeats."""
    unlock: Stored | None
    """The unlock that the status describes."""
    last: Stored | None
    """The unlock of the last earned occurrence."""
    times: int
    """The number of earned occurrences."""


class Whole(NamedTuple):
    """The standing with all achievements of the rules in force, in their order, and the unlocks of earlier rules."""

    items: list[Item]
    kept: list[Stored]


def standing_of(rules: Deployed, subject: Subject, state: State | None, rows: Iterable[Stored], now: int) -> Whole:
    """Return the standing of a subject at `now` (microseconds).

    `state` is None if the subject has none; `rows` are all its unlocks, as of the same moment.
    """
    known = State() if state is None else state
    unlocks: defaultdict[tuple[str, str], list[Stored]] = defaultdict(list)
    for row in rows:
        unlocks[row.achievement, row.tier].append(row)
    items: list[Item] = []
    plan = rules.program.scopes.get(subject.scope)
    for ruling in () if plan is None else plan.rulings:
        judge, own = ruling.in_effect(now), unlocks.pop((ruling.achievement, ruling.tier or ""), [])
        if judge is not None or own:
            items.append(_item(ruling, judge, known, own, now))
    kept = [row for own in unlocks.values() for row in own]
    return Whole(items, sorted(kept, key=lambda row: (row.achievement, row.tier, row.occurrence)))


def status_of(row: Stored) -> Status:
    """Return the status that an unlock gives its occurrence."""
    return _OF_ROW[row.state]


def _item(ruling: Ruling, judge: Judge | None, state: State, own: Sequence[Stored], now: int) -> Item:
    occurrence = None if judge is None else judge.occurrence(state, now)
    if occurrence is None:
        row = min(own, key=lambda one: (_FOREMOST.index(status_of(one)), one.occurrence), default=None)
    else:
        row = next((one for one in own if one.occurrence == occurrence), None)
    measure = NOTHING if judge is None else judge.measure(state, now)
    status = _status(row, measure)
    earned = [one for one in own if status_of(one) is Status.EARNED]
    last = max(earned, key=lambda one: (_place(judge, one), one.earned_at), default=None)
    return Item(
        achievement=ruling.achievement,
        tier=ruling.tier,
        version=judge.version.version if judge is not None else max(one.version for one in own),
        status=status,
        reached=_reached(status, measure),
        occurrence=occurrence,
        unlock=row,
        last=last,
        times=len(earned),
    )


def _status(row: Stored | None, measure: Measure) -> Status:
    if row is not None:
        return status_of(row)
    return Status.IN_PROGRESS if measure.fraction else Status.LOCKED


def _reached(status: Status, measure: Measure) -> Reached:
    current, target = measure.current, measure.target
    if status in FULL:
        full = Measure(Fraction(1)) if target is None else whole(target)
        return Reached(full.current, full.target, 100)
    if status is Status.REVOKED:
        return Reached(None, target, 0)
    met = measure.fraction == 1
    on_bound = not met and current is not None and current == target
    return Reached(current, target, min(int(measure.fraction * 100), ALMOST), more_than=on_bound, held_back=met)


def _place(judge: Judge | None, row: Stored) -> int:
    """Return the place of an occurrence in their order; -1 if the version of the unlock repeated in another way."""
    unit = None if judge is None else judge.built.unit
    if unit is not None:
        index = index_of(unit, row.occurrence)
        return -1 if index is None else index
    return int(row.occurrence) if row.occurrence.isdecimal() else -1

"""Why late events may take back what counts unlocks: they move an unlock to an earlier instant, or to another version.

What is only counted, or added up, bears that. What asks when an unlock came, or between which others, does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.built_ins import COUNTED, UNLOCKS, is_reward
from dsl.expressions import refs
from dsl.syntax import (
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    RepeatBy,
    RepeatEach,
    RepeatEvery,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
)
from dsl.trees import all_counted, counted, key_of, walk, whens
from dsl.unlocks import equal, filter_of, patterns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.source import Span
    from dsl.syntax import Achievement, Condition, Name, Pattern
    from dsl.unlocks import Versions


class Move(NamedTuple):
    """A reason: in words, the span that decides it, and what could be written instead."""

    text: str
    span: Span
    rewrite: str


_EARLIER = "a late event may move an unlock to an earlier instant"
_COUNT = "count the unlocks plainly: no span, no order, no time"


def moves(version: Achievement, achievements: Versions) -> Iterator[Move]:
    """Yield why what a version makes of unlocks may be taken back, though none of them is."""
    if next(patterns_of(version), None) is None:
        return
    yield from _of_version(version)
    for when in whens(version):
        for part in walk(when):
            if over_unlocks(part):
                yield from _of_part(part, achievements)
    if isinstance(version.repeat, RepeatBy):
        yield from _unequal(version.repeat.field, _names(version), achievements)


def over_unlocks(part: Condition) -> bool:
    """Return whether a condition counts unlocks anywhere."""
    return any(_counts(pattern) for pattern in all_counted(part))


def _counts(pattern: Pattern) -> bool:
    return any(one.event.text == UNLOCKS for one in pattern.alternatives)


def _of_version(version: Achievement) -> Iterator[Move]:
    repeat, active, since = version.repeat, version.active, version.since
    if isinstance(repeat, RepeatEvery):
        yield Move(f"{_EARLIER}, and into another {repeat.unit.text}", repeat.span, "leave out `repeat every`")
    if isinstance(repeat, RepeatEach) and not all(map(_is_number, whens(version))):
        text = f"{_EARLIER}, and before an occurrence that uses it up"
        yield Move(text, repeat.span, "count unlocks and nothing else, or leave out `repeat each`")
    begin = active.start if active is not None and active.start is not None else since if version.fresh else None
    if begin is not None:
        yield Move(f"{_EARLIER}, before this one", begin.span, "leave out the start")


def _is_number(when: Condition) -> bool:
    return isinstance(when, Count) and not when.distinct and not key_of(when)


def _of_part(part: Condition, achievements: Versions) -> Iterator[Move]:
    mods = part.mods
    for span in (mods.within and mods.within.span, mods.per and mods.per.span):
        if span is not None:
            yield Move(f"{_EARLIER}, and out of the window", span, _COUNT)
    match part:
        case Sequence() | Streak():
            what = "out of its place among the others" if isinstance(part, Sequence) else "out of its unit"
            yield Move(f"{_EARLIER}, {what}", part.span, _COUNT)
        case CountUnits() | StreakUnits():
            yield Move(f"{_EARLIER}, and out of its {part.unit.text}", part.unit.span, _COUNT)
        case _:
            pass
    fields = list(key_of(part))
    match part:
        case Count(distinct=names):
            fields += names
        case Sum(of=name) | Extreme(of=name):
            fields.append(name)
        case CountGroups(by=names):
            fields += names
        case _:
            pass
    names = frozenset[str]().union(*map(_named, all_counted(part)))
    for field in fields:
        yield from _unequal(field, names, achievements, may_reward=isinstance(part, Sum | Extreme))
    for pattern in counted(part):
        yield from _of_filters(pattern)


def _named(pattern: Pattern) -> frozenset[str]:
    return frozenset[str]().union(*(one.counts.names for one in pattern.alternatives if one.counts is not None))


def _names(version: Achievement) -> frozenset[str]:
    return frozenset[str]().union(*(one.counts.names for _, one in patterns_of(version) if one.counts is not None))


def _unequal(field: Name, names: frozenset[str], achievements: Versions, *, may_reward: bool = False) -> Iterator[Move]:
    """Yield that a field asks for the instant, or may be another one in another version."""
    name = field.text
    if name in COUNTED:
        yield Move(f"{_EARLIER}, which `{name}` shows", field.span, _COUNT)
        return
    if is_reward(name) and not may_reward:
        yield Move(f"`{name}` is of the version that grants, which a late event may change", field.span, _COUNT)
        return
    other = next((each for each in sorted(names) if not equal(achievements[each], name)), None)
    if other is not None:
        text = f"`{name}` differs in the versions of `{other}`, and a late event may change which one grants"
        yield Move(text, field.span, f"give all versions of `{other}` the same")


def _of_filters(pattern: Pattern) -> Iterator[Move]:
    for one in pattern.alternatives:
        where = filter_of(pattern, one) if one.event.text == UNLOCKS else None
        if where is None or one.counts is None:
            continue
        if any(ref.builtin for ref in refs(where)):
            yield Move(f"{_EARLIER}, and the filter asks for the time", where.span, _COUNT)
        elif not one.counts.sure:
            text = "the filter reads what differs between versions, and a late event may change which one grants"
            yield Move(text, where.span, "filter by achievement, tier or occurrence")

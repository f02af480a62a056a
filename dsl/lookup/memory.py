"""The stored progress of one subject, in words.

The bound is not part of it: a count is one number for any number of rules and bounds. Only if something above a
condition needs its latest start (a span), the state holds single events, and at most as many as the bound requires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl import words
from dsl.syntax import (
    Combine,
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
    Unlocked,
)
from dsl.trees import in_group, judged, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.syntax import Achievement, Condition, Nested, Zone

_OWN = "this achievement's own, since `repeat each` resets it"
_SHARED = "shared by all rules with the same count, for any bound"
_SPANNED = "shared by all rules with the same count, up to the highest bound"


def remembered(node: Achievement, when: Condition) -> list[str]:
    """Return what one `when` of an achievement remembers, a line each."""
    repeat, when = node.repeat, judged(node, when)
    own = _OWN if isinstance(repeat, RepeatEach) else _SHARED
    if isinstance(repeat, RepeatBy):
        own = _OWN.replace("each", "by")
    if isinstance(repeat, RepeatEvery) and isinstance(when, Count | Sum) and _plain(when) and _fixed(repeat.tz):
        return [f"{_total(when)} in the latest {repeat.unit.text}: {own}"]
    return list(dict.fromkeys(_of(when, own, spanned=isinstance(repeat, RepeatEvery))))


def _plain(node: Condition) -> bool:
    return not words.modified(node.mods)


def _fixed(tz: Zone | None) -> bool:
    return tz is None or tz.kind == "iana"


def _of(node: Condition, own: str, *, spanned: bool) -> Iterator[str]:
    if _keyed(node):
        yield from _for_each(words.fields(key_of(node)), in_group(node), own, spanned=spanned)
        return
    fused = not spanned and isinstance(node, Count | Sum) and _number_only(node)
    spanned = spanned or words.modified(node.mods)
    if isinstance(node, Combine):
        for part in node.parts:
            yield from _of(part, own, spanned=spanned)
    else:
        yield from _operator(node, own, fused=fused, spanned=spanned)


def _operator(node: Condition, own: str, *, fused: bool, spanned: bool) -> Iterator[str]:
    match node:
        case Count() | Sum() if fused or not spanned:
            yield f"{_total(node)}{_since(node)}: {own}"
        case Extreme() if not spanned:
            yield f"one number, the {node.kind}imum of {node.of.text} in {words.pattern(node.event)}: {own}"
        case Count() | Sum() | Extreme():
            yield f"{_recent(node)}: {_SPANNED if own is _SHARED else own}"
        case Streak():
            yield f"the runs of active {node.unit.text}s with {words.pattern(node.event)}: {own}"
        case Sequence(steps=steps):
            each = "" if node.by is None else f" for each {node.by.text}"
            yield f"the progress of the {len(steps)} steps{each}: {own}"
        case CountGroups() | CountUnits() | StreakUnits():
            yield from _nested(node, own, spanned=spanned)
        case Unlocked():
            yield f"no state of its own; the grant of {words.target_name(node)} is stored anyway"
        case Combine():
            raise TypeError(node)


def _keyed(node: Condition) -> bool:
    """Return whether each value has a memory of its own; a sequence has one memory for all, where nothing resets it."""
    return bool(key_of(node)) and not (isinstance(node, Sequence) and node.mods.unless is None)


def _nested(node: Nested, own: str, *, spanned: bool) -> Iterator[str]:
    if isinstance(node, CountGroups):
        yield from _for_each(words.fields(node.by), node.inner, own, spanned=spanned)
        return
    yield from _for_each(f"recent {node.unit.text}", node.inner, own, spanned=spanned)
    yield f"which {node.unit.text}s were enough: {own}"


def _for_each(what: str, inner: Condition, own: str, *, spanned: bool) -> Iterator[str]:
    """Yield what is remembered for each value, or each unit."""
    for line in _of(inner, own, spanned=spanned):
        text = line.removesuffix(f": {own}").removesuffix(f": {_SPANNED}")
        yield line if isinstance(inner, Unlocked) else f"for each {what}, {text}: {own}"


def _number_only(node: Count | Sum) -> bool:
    """Return whether a number is enough in spite of a span: one `per` or one `unless`; see dsl/conditions.py."""
    mods = node.mods
    if mods.within is not None or (mods.per is not None and mods.unless is not None):
        return False
    return mods.per is None or _fixed(mods.tz)


def _total(node: Count | Sum) -> str:
    events = words.pattern(node.event)
    if isinstance(node, Sum):
        return f"one number, the total {node.of.text} of {events}"
    if node.distinct:
        return f"the different values of {words.fields(node.distinct)} in {events}, up to the highest bound"
    return f"one number, the count of {events}"


def _since(node: Count | Sum) -> str:
    if node.mods.per is not None:
        return f" in the latest {node.mods.per.text}, and the most of any"
    if node.mods.unless is not None:
        return f" since the last {words.pattern(node.mods.unless)}, and the most ever"
    return ""


def _recent(node: Count | Sum | Extreme) -> str:
    events = words.pattern(node.event)
    match node:
        case Count(distinct=()):
            return f"the moments of the latest {events}"
        case Count(distinct=names):
            return f"the latest moment of each {words.fields(names)} of {events}"
        case Sum():
            return f"the latest {events} with their {node.of.text}"
        case Extreme():
            return f"the {node.kind}imum of {node.of.text} among recent {events}"

"""Final or contestable: can evidence that arrives late take a grant back?

A condition is *final* when more events can only make it hold earlier. What makes one contestable is listed here as the
language defines it, each reason with the span that decides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dsl.filters import pattern_types, uses_builtin
from dsl.source import Span
from dsl.syntax import (
    Achievement,
    Combine,
    Condition,
    Count,
    Extreme,
    Pattern,
    RepeatEach,
    RepeatEvery,
    Sequence,
    Streak,
    Sum,
    Unlocked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsl.schema import Rules
    from dsl.syntax import Predicate


class Reason(msgspec.Struct, frozen=True):
    """Why a grant may be taken back: in words, and what in the file decides it."""

    text: str
    span: Span


class Verdict(msgspec.Struct, frozen=True):
    """Final where there is no reason against it."""

    reasons: tuple[Reason, ...]

    @property
    def final(self) -> bool:
        """Tell whether a grant, once made, stays right whatever arrives late."""
        return not self.reasons


def verdicts(rules: Rules) -> dict[tuple[str, int], Verdict]:
    """Return the verdict of every (achievement, version)."""
    own = {
        (name, version.version): tuple(_reasons(rules, version))
        for name, versions in rules.achievements.items()
        for version in versions
    }
    shaky = _shaky(rules, {name for (name, _), reasons in own.items() if reasons})
    result: dict[tuple[str, int], Verdict] = {}
    for name, versions in rules.achievements.items():
        for version in versions:
            named = (
                Reason(f"it names {other}, which is contestable", span)
                for other, span in _names(version)
                if other in shaky
            )
            result[name, version.version] = Verdict((*own[name, version.version], *named))
    return result


def _shaky(rules: Rules, seed: set[str]) -> set[str]:
    """Return the achievements that are contestable themselves or name one that is."""
    shaky = set(seed)
    grown = True
    while grown:
        more = {
            name
            for name, versions in rules.achievements.items()
            if name not in shaky and any(other in shaky for version in versions for other, _ in _names(version))
        }
        shaky |= more
        grown = bool(more)
    return shaky


def _names(version: Achievement) -> Iterator[tuple[str, Span]]:
    for target in version.after:
        yield target.achievement.text, target.span
    for when in _whens(version):
        for part, _ in _walk(when, windowed=False):
            if isinstance(part, Unlocked):
                yield part.achievement.text, part.span


def _whens(version: Achievement) -> Iterator[Condition]:
    if version.when is not None:
        yield version.when
    for tier in version.tiers:
        yield tier.when


def _walk(condition: Condition, *, windowed: bool) -> Iterator[tuple[Condition, bool]]:
    """Yield every condition with whether it or one above it has a window."""
    windowed = windowed or condition.mods.within is not None or condition.mods.per is not None
    yield condition, windowed
    if isinstance(condition, Combine):
        for part in condition.parts:
            yield from _walk(part, windowed=windowed)


def _reasons(rules: Rules, version: Achievement) -> Iterator[Reason]:
    if version.where is not None:
        yield Reason("`for` looks at traits, and a late trait event may change what they were", version.where.span)
    repeat = version.repeat
    if isinstance(repeat, RepeatEach):
        yield Reason("`repeat each` starts afresh after every unlock, and a late event may move one", repeat.span)
    if isinstance(repeat, RepeatEvery) and repeat.tz is not None and repeat.tz.kind == "user":
        yield Reason("`tz=user` follows a trait, and a late trait event may change what it was", repeat.tz.span)
    plain = repeat is None and version.active is None and not version.fresh
    for when in _whens(version):
        for part, windowed in _walk(when, windowed=isinstance(repeat, RepeatEvery)):
            yield from _reasons_of(rules, part, windowed=windowed, plain=plain and _bare(when, part))


def _bare(when: Condition, part: Condition) -> bool:
    """Tell whether no composition above a part has a span of its own."""
    return when is part or not any(
        other.mods.within or other.mods.per or other.mods.unless
        for other, _ in _walk(when, windowed=False)
        if isinstance(other, Combine)
    )


def _reasons_of(rules: Rules, part: Condition, *, windowed: bool, plain: bool) -> Iterator[Reason]:
    mods = part.mods
    if mods.unless is not None:
        yield Reason("an `unless` event that arrives late takes back what it should have interrupted", mods.unless.span)
    if isinstance(part, Unlocked) and windowed:
        yield Reason("`unlocked` under a window moves when the grant that it names moves", part.span)
    if isinstance(part, Sum) and _signed(rules, part):
        yield Reason(f"the sum of `{part.of.text}` may fall, since the field is not declared `>= 0`", part.of.span)
    if mods.tz is not None and mods.tz.kind == "user" and _uses_zone(part):
        yield Reason("`tz=user` follows a trait, and a late trait event may change what it was", mods.tz.span)
    if not (plain and isinstance(part, Count) and _plain_count(part)):
        for pattern in patterns(part):
            yield from _once_reasons(rules.events, pattern)


def _once_reasons(events: Mapping[str, object], pattern: Pattern) -> Iterator[Reason]:
    for name in sorted(pattern_types(pattern)):
        if getattr(events.get(name), "once", None) is not None:
            yield Reason(
                f"`{name}` is counted `once per` fingerprint, and a late copy may change which copy that is",
                pattern.span,
            )


def _plain_count(part: Count) -> bool:
    unfiltered = part.event.where is None and all(a.where is None for a in part.event.alternatives)
    mods = part.mods
    return unfiltered and part.distinct is None and not (mods.within or mods.per or mods.unless)


def _signed(rules: Rules, part: Sum) -> bool:
    fields = (rules.events[name].fields.get(part.of.text) for name in pattern_types(part.event))
    return any(field is None or field.low is None or field.low < 0 for field in fields)


def _uses_zone(part: Condition) -> bool:
    if isinstance(part, Streak) or part.mods.per is not None:
        return True
    return any(uses_builtin(test) for pattern in patterns(part) for test in _filters(pattern))


def _filters(pattern: Pattern) -> Iterator[Predicate]:
    for test in (pattern.where, *(alternative.where for alternative in pattern.alternatives)):
        if test is not None:
            yield test


def patterns(part: Condition) -> tuple[Pattern, ...]:
    """Return the patterns of one condition, that of `unless` last; those of its parts not."""
    unless = () if part.mods.unless is None else (part.mods.unless,)
    match part:
        case Count() | Sum() | Extreme() | Streak():
            return (part.event, *unless)
        case Sequence(steps=steps):
            return (*steps, *unless)
        case _:
            return unless

"""Final or contestable: can late evidence take a grant back?

A condition is *final* when more events can only make it hold earlier. This module lists the reasons that make an
achievement contestable, each with the span that decides it and an alternative. The list matches the language page.
docs/decisions/0002-meaning.md explains the rarer reasons, and tests/property/test_final.py searches for late events
that prove the list wrong.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.built_ins import ACTOR, ZONED
from dsl.filters import pattern_types, uses_builtin, view_of
from dsl.local_time import TIMEZONE
from dsl.moving_unlocks import moves
from dsl.prove.clocks import steady
from dsl.roles import bases
from dsl.schema import fields_in
from dsl.source import Span
from dsl.syntax import (
    Achievement,
    Combine,
    Condition,
    Count,
    CountGroups,
    CountUnits,
    Nested,
    Pattern,
    RepeatBy,
    RepeatEach,
    RepeatEvery,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
)
from dsl.trees import all_counted, counted, in_group, judged, key_names, key_of, unit_of, walk, whens, with_zone
from dsl.types import Unit
from dsl.unlocks import asked_for, filter_of, patterns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dsl.schema import EventSchema, Rules
    from dsl.syntax import Instant, Predicate, Zone


class Kind(StrEnum):
    """Why a grant may be taken back."""

    UNLESS = "unless"
    FOR = "for"
    SIGNED_SUM = "signed sum"
    USER_ZONE = "tz=user"
    UNLOCKED_IN_WINDOW = "unlocked under a window"
    ONCE_PER = "once per"
    ONCE_PER_MOMENT = "once per, by the clock of events"
    ONCE_PER_BEGIN = "once per, from an instant on"
    EVENT_ZONE_STREAK = "streak by the clock of events, under a calendar unit"
    CLOCK_SET_BACK = "a clock whose labels come back"
    SPENT_UNIT = "repeat each, in calendar units by the clock of events"
    NAMED = "names a contestable achievement"
    COUNTED = "counts unlocks of a contestable achievement"
    MOVED = "asks when, or in which order, unlocks came"


class Reason(msgspec.Struct, frozen=True):
    """Why a grant may be taken back: the reason in words, the deciding span of the file, and a final alternative."""

    kind: Kind
    text: str
    span: Span
    rewrite: str


class Verdict(msgspec.Struct, frozen=True):
    """Final if there are no reasons against it."""

    reasons: tuple[Reason, ...]

    @property
    def final(self) -> bool:
        """Return whether late events can never invalidate a grant."""
        return not self.reasons


def verdicts(rules: Rules) -> dict[tuple[str, int], Verdict]:
    """Return the verdict of every (achievement, version)."""
    heard = _Heard(rules)
    own = {
        (name, version.version): tuple(dict.fromkeys(_reasons(rules, version, heard)))
        for name, versions in rules.achievements.items()
        for version in versions
    }
    shaky = _shaky(rules, {name for (name, _), reasons in own.items() if reasons})
    return {
        (name, version.version): Verdict((*own[name, version.version], *_named(version, shaky)))
        for name, versions in rules.achievements.items()
        for version in versions
    }


# -- references among achievements
# ------------------------------------------------------------------------------------


def _shaky(rules: Rules, seed: set[str]) -> set[str]:
    """Return the achievements that are contestable themselves or name one that is, directly or not."""
    named_by: dict[str, list[str]] = {}
    for name, versions in rules.achievements.items():
        for other in frozenset[str]().union(*map(asked_for, versions)):
            named_by.setdefault(other, []).append(name)
    shaky, waiting = set(seed), list(seed)
    while waiting:
        for name in named_by.get(waiting.pop(), ()):
            if name not in shaky:
                shaky.add(name)
                waiting.append(name)
    return shaky


def _named(version: Achievement, shaky: set[str]) -> Iterator[Reason]:
    for other, span in names(version):
        if other in shaky:
            text = f"it names `{other}`, which is contestable"
            yield Reason(Kind.NAMED, text, span, f"make `{other}` final, or name another achievement")
    for pattern, one in patterns_of(version):
        found = sorted(one.counts.names & shaky) if one.counts is not None else []
        if found:
            more = "" if len(found) == 1 else f", and {len(found) - 1} more"
            text = f"it counts unlocks of `{found[0]}`, which is contestable{more}"
            where = filter_of(pattern, one)
            rewrite = "make what is counted final, or filter it"
            yield Reason(Kind.COUNTED, text, one.span if where is None else where.span, rewrite)


def names(version: Achievement) -> Iterator[tuple[str, Span]]:
    """Yield the achievements that one names in `after` and `unlocked`, and where."""
    for target in version.after:
        yield target.achievement.text, target.span
    for when in whens(version):
        for part in walk(when):
            if isinstance(part, Unlocked):
                yield part.achievement.text, part.span


class _Heard:
    """The event types at which each achievement can be earned, including those of the achievements that it names."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._once = frozenset(name for name, schema in rules.events.items() if schema.once is not None)
        self._known: dict[str, frozenset[str]] = {}

    @property
    def any_once(self) -> bool:
        """Return whether any event is counted once per fingerprint."""
        return bool(self._once)

    def once(self, version: Achievement) -> frozenset[str]:
        """Return the events with `once per` that a version hears."""
        if not self._once:
            return self._once
        return self._own(version).union(*(self._of(other) for other, _ in names(version)))

    def _own(self, version: Achievement) -> frozenset[str]:
        parts = (part for when in whens(version) for part in walk(when))
        return (
            frozenset(name for part in parts for each in patterns(part) for name in bases(pattern_types(each)))
            & self._once
        )

    def _of(self, name: str) -> frozenset[str]:
        """Return those of all versions of an achievement; found without recursion, for chains may be long."""
        waiting = [name]
        while waiting:
            each = waiting[-1]
            versions = self._rules.achievements.get(each, ())
            named = {other for version in versions for other, _ in names(version)}
            left = named - self._known.keys() - {each}
            if left:
                waiting.extend(left)
                continue
            own = (self._own(version) for version in versions)
            self._known[each] = frozenset[str]().union(*own, *(self._known[other] for other in named - {each}))
            waiting.pop()
        return self._known[name]


# -- trees ------------------------------------------------------------------------------------------------------------


def patterns(part: Condition) -> tuple[Pattern, ...]:
    """Return the patterns of one condition, that of `unless` last; those of its parts not."""
    return (*counted(part), *(() if part.mods.unless is None else (part.mods.unless,)))


class _Around(msgspec.Struct, frozen=True):
    """The context of a condition: a window, a calendar unit, and whether a count in it is a plain one."""

    window: str | None = None
    unit: str | None = None
    plain: bool = True


# -- reasons ----------------------------------------------------------------------------------------------------------


def _reasons(rules: Rules, version: Achievement, heard: _Heard) -> Iterator[Reason]:
    if version.where is not None:
        text = "`for` reads traits, and a late trait event changes their past values"
        rewrite = "leave out `for`, or filter the events by one of their own fields"
        yield Reason(Kind.FOR, text, version.where.span, rewrite)
    yield from _repeat_reasons(rules, version)
    for move in moves(version, rules.achievements):
        yield Reason(Kind.MOVED, *move)
    yield from _begin_reasons(version, heard)
    once = version.repeat is None or isinstance(version.repeat, RepeatBy)
    around = _Around(plain=once and version.active is None and not version.fresh)
    if isinstance(version.repeat, RepeatEvery):
        every = f"`repeat every {version.repeat.unit.text}`"
        around = _Around(every, every, plain=False)
    for when in whens(version):
        yield from _within(_Analysis(rules, heard), judged(version, when), around)


def _repeat_reasons(rules: Rules, version: Achievement) -> Iterator[Reason]:
    repeat = version.repeat
    if isinstance(repeat, RepeatEvery):
        yield from _zone_reasons(rules, repeat.tz, Unit(repeat.unit.text), repeat.span)
    if isinstance(repeat, RepeatEach):
        for part in (part for when in whens(version) for part in walk(when)):
            yield from _spent_units(part)


def _spent_units(part: Condition) -> Iterator[Reason]:
    """Yield that an earlier unlock may use up a unit whose label comes back after the later one."""
    unit, tz = unit_of(part), part.mods.tz
    if unit is None:
        return
    if tz is not None and tz.kind == "event":
        text = "an unlock uses up its unit, and by the clock of events a late one may use up a unit that comes back"
        yield Reason(Kind.SPENT_UNIT, text, tz.span, 'give it one zone, such as tz="UTC"')
    elif tz is not None and tz.kind == "iana" and unit.text in set(Unit) and not steady(tz, Unit(unit.text)):
        text = f"this zone set its clock back, so the label of a past {unit.text} came back"
        yield Reason(Kind.CLOCK_SET_BACK, text, tz.span, 'use another zone, such as tz="UTC"')


def _begin_reasons(version: Achievement, heard: _Heard) -> Iterator[Reason]:
    """Return whether a late copy can move the one moment at which the version could grant to before its begin."""
    begin = _begin(version)
    once = sorted(heard.once(version)) if begin is not None else []
    if begin is not None and once:
        text = (
            f"`{once[0]}` counts `once per` fingerprint: a late copy from before this instant "
            "replaces the event that earned it"
        )
        rewrite = f"leave out this start, or the `once per` of `{once[0]}`"
        yield Reason(Kind.ONCE_PER_BEGIN, text, begin.span, rewrite)


def _begin(version: Achievement) -> Instant | None:
    """Return the instant from which a version can grant at events alone; None where it is judged on those before it."""
    start, since = version.active.start if version.active else None, version.since
    if since is None or (not version.fresh and start is not None and start.us > since.us):
        return start
    return since if version.fresh else None


def _zone_reasons(rules: Rules, tz: Zone | None, unit: Unit, span: Span) -> Iterator[Reason]:
    """Yield the reasons that a calendar unit in a zone adds."""
    if tz is not None and tz.kind == "user":
        yield from _user_zone(rules, tz)
    elif not steady(tz, unit):
        text = f"this zone set its clock back, so the label of a past {unit} came back"
        yield Reason(Kind.CLOCK_SET_BACK, text, span if tz is None else tz.span, 'use another zone, such as tz="UTC"')


def _user_zone(rules: Rules, tz: Zone) -> Iterator[Reason]:
    if TIMEZONE in rules.traits:  # otherwise it is UTC for all users
        text = "`tz=user` reads a trait, and a late trait event changes its past values"
        rewrite = 'use tz=event, the clock of each event, or one zone for all, such as tz="Europe/Berlin"'
        yield Reason(Kind.USER_ZONE, text, tz.span, rewrite)


class _Analysis(NamedTuple):
    """The data beside the condition."""

    rules: Rules
    heard: _Heard


def _within(known: _Analysis, part: Condition, around: _Around) -> Iterator[Reason]:
    """Yield the reasons of a condition and of its parts."""
    if key_of(part):
        yield from _in_groups(known, part, around)
        return
    yield from _span_reasons(known, part)
    inner = _around(part, around)
    match part:
        case Combine(parts=parts):
            for each in parts:
                yield from _within(known, each, inner)
            return
        case CountGroups() | CountUnits() | StreakUnits():
            yield from _nested(known, part, inner)
            return
        case Unlocked() if inner.window is not None:
            text = f"under {inner.window}, `unlocked` moves when the named grant moves"
            rewrite = f"take it out of the window, or write `after {part.achievement.text}`"
            yield Reason(Kind.UNLOCKED_IN_WINDOW, text, part.span, rewrite)
        case Sum() if _signed(known.rules, part):
            text = f"the sum of `{part.of.text}` may fall, since the field is not declared `>= 0`"
            yield Reason(
                Kind.SIGNED_SUM, text, part.of.span, f"if it is never negative, declare it: `{part.of.text}: int >= 0`"
            )
        case Streak():
            yield from _ahead(part, inner)
        case _:
            pass
    if not (inner.plain and isinstance(part, Count) and _plain_count(part)):
        yield from _once_reasons(known.rules.events, part)


def _nested(known: _Analysis, part: Nested, around: _Around) -> Iterator[Reason]:
    """Yield the reasons of what each value or each calendar unit is asked."""
    if isinstance(part, CountGroups):
        yield from _within(known, part.inner, _apart(known, part.inner, {name.text for name in part.by}, around))
        return
    if isinstance(part, StreakUnits):
        yield from _ahead(part, around)
    asked = with_zone(part.inner, part.mods.tz)
    yield from _within(known, asked, msgspec.structs.replace(around, plain=False))


def _in_groups(known: _Analysis, part: Condition, around: _Around) -> Iterator[Reason]:
    """Yield the reasons of a condition by the values of fields: those that it has in each group."""
    yield from _within(known, in_group(part), _apart(known, part, set(key_names(part)), around))


def _apart(known: _Analysis, part: Condition, names: set[str], around: _Around) -> _Around:
    """Return the context in a group: a late copy may move the one that counts into another group."""
    events = bases(name for pattern in all_counted(part) for name in pattern_types(pattern))
    schemas = (known.rules.events[name] for name in events if name in known.rules.events)
    same = all(each.once is None or names - {ACTOR} <= set(each.once[0]) for each in schemas)
    return around if same else msgspec.structs.replace(around, plain=False)


def _ahead(part: Streak | StreakUnits, around: _Around) -> Iterator[Reason]:
    """Yield that a streak by the clock of events may start later than now, and so outside of a calendar unit."""
    tz = part.mods.tz
    if tz is not None and tz.kind == "event" and around.unit is not None:
        text = f"on the clock of its event, a unit may start later than now and so fall outside {around.unit}"
        yield Reason(Kind.EVENT_ZONE_STREAK, text, tz.span, "give the streak its own zone, or no tz=")


def _around(part: Condition, around: _Around) -> _Around:
    mods = part.mods
    per = None if mods.per is None else f"`per={mods.per.text}`"
    window = around.window or (f"`within={mods.within.text}`" if mods.within is not None else per)
    spanned = mods.within is not None or mods.per is not None or mods.unless is not None
    return _Around(window, around.unit or per, plain=around.plain and not spanned)


def _span_reasons(known: _Analysis, part: Condition) -> Iterator[Reason]:
    """Yield what the modifiers of one condition bring with them."""
    mods, rules = part.mods, known.rules
    if mods.unless is not None:
        names = " or ".join(f"`{name}`" for name in sorted({view_of(one) for one in mods.unless.alternatives}))
        text = f"a late {names} undoes what it should have interrupted"
        yield Reason(Kind.UNLESS, text, mods.unless.span, "leave out `unless`, or count within a span: `within=1d`")
    if mods.per is not None:
        yield from _zone_reasons(rules, mods.tz, Unit(mods.per.text), mods.per.span)
        if mods.tz is not None and mods.tz.kind == "event" and known.heard.any_once:
            text = (
                "every event brings its own clock, and a late copy can displace an event that counts `once per` a field"
            )
            yield Reason(Kind.ONCE_PER_MOMENT, text, mods.tz.span, 'give it one zone, such as tz="UTC"')
    elif mods.tz is not None and mods.tz.kind == "user" and _reads_clock(part):
        yield from _user_zone(rules, mods.tz)


def _reads_clock(part: Condition) -> bool:
    if isinstance(part, Streak | CountUnits | StreakUnits):
        return True
    if isinstance(part, Count) and any(name.text in ZONED for name in part.distinct):
        return True
    return any(uses_builtin(test) for pattern in patterns(part) for test in _filters(pattern))


def _filters(pattern: Pattern) -> Iterator[Predicate]:
    for test in (pattern.where, *(alternative.where for alternative in pattern.alternatives)):
        if test is not None:
            yield test


def _once_reasons(events: Mapping[str, EventSchema], part: Condition) -> Iterator[Reason]:
    for pattern in patterns(part):
        if pattern is not part.mods.unless:
            yield from _once_of(events, pattern)


def _once_of(events: Mapping[str, EventSchema], pattern: Pattern) -> Iterator[Reason]:
    for name in sorted(bases(pattern_types(pattern))):
        if name in events and events[name].once is not None:
            text = f"`{name}` counts `once per` fingerprint, and a late copy changes which copy counts"
            rewrite = f"count `{name}` plainly: no filter, no distinct=, no span"
            yield Reason(Kind.ONCE_PER, text, pattern.span, rewrite)


def _plain_count(part: Count) -> bool:
    unfiltered = part.event.where is None and all(one.where is None for one in part.event.alternatives)
    return unfiltered and not part.distinct


def _signed(rules: Rules, part: Sum) -> bool:
    fields = fields_in(rules, part.event, part.of.text)
    return any(field is None or field.low is None or field.low < 0 for field in fields)

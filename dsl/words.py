"""Conditions in words: what a tree asks for, as a plain English phrase.

For readers of a catalogue, an explanation or a hover in an editor. A phrase is not a second definition: it describes
the author's text, omits defaults, and never says more than the condition means. Event and field names stay unchanged.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Final

import msgspec

from dsl.syntax import (
    And,
    Arithmetic,
    Call,
    Combine,
    Compare,
    Contains,
    Count,
    CountGroups,
    CountUnits,
    Duration,
    Extreme,
    Instant,
    Literal,
    Member,
    Not,
    Or,
    Present,
    Ref,
    RepeatBy,
    RepeatEach,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Truth,
    Unlocked,
)
from dsl.types import DAY, HOUR, MINUTE, SECOND
from dsl.values import canonical_number, canonical_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.syntax import (
        Achievement,
        Active,
        Alternative,
        Cmp,
        Condition,
        Expression,
        Modifiers,
        Name,
        Nested,
        Operand,
        Pattern,
        Predicate,
        Repeat,
        Reveal,
        Scope,
        Target,
        Zone,
    )
    from dsl.types import Number

_OF_DURATION: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
_LENGTHS: Final = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"))
_WEEKDAYS: Final = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
_IS: Final = {
    "=": "is",
    "!=": "is not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
}
_IS_AT: Final = {
    "=": "is",
    "!=": "is not",
    "<": "is before",
    "<=": "is not after",
    ">": "is after",
    ">=": "is not before",
}


class Phrase(msgspec.Struct, frozen=True):
    """A condition as an outline: `text` is its phrase, or where it has `parts`, what it asks of them."""

    text: str
    parts: tuple[Phrase, ...] = ()


# -- conditions -------------------------------------------------------------------------------------------------------


def condition(tree: Condition) -> str:
    """Return a condition as one phrase."""
    return operator(tree) + modifiers(tree)


def outline(tree: Condition) -> Phrase:
    """Return a condition as an outline: a composition has its parts below it."""
    if not isinstance(tree, Combine):
        return Phrase(condition(tree))
    return Phrase(heading(tree) + modifiers(tree), tuple(outline(part) for part in tree.parts))


def heading(tree: Combine) -> str:
    """Return what a composition asks of its parts: `all of these`, `any of these`, `2 of these`."""
    return f"{tree.k if tree.kind == 'at_least' else tree.kind} of these"


def operator(tree: Condition) -> str:
    """Return a condition without its modifiers."""
    match tree:
        case Count():
            return _count(tree)
        case Sum():
            return f"{tree.of.text} of {pattern(tree.event)} adding up to {bound(tree.cmp)}"
        case Extreme():
            return f"1 {pattern(tree.event)} with {tree.of.text} of {bound(tree.cmp)}"
        case Streak():
            return _streak(tree)
        case Sequence():
            steps = ", then ".join(pattern(step) for step in tree.steps)
            return steps if tree.by is None else f"{steps}, all with the same {tree.by.text}"
        case Combine():
            return _combined(tree)
        case Unlocked():
            return f"{target_name(tree)} unlocked"
        case CountGroups() | CountUnits() | StreakUnits():
            return _nested(tree)


def _count(tree: Count) -> str:
    number = canonical_number(at_least(tree.cmp))
    if not tree.distinct:
        return f"{number} {pattern(tree.event)}"
    return f"{number} different {combined(tree.distinct)} of {pattern(tree.event)}"


def _streak(tree: Streak) -> str:
    units = plural(at_least(tree.cmp), tree.unit.text)
    each = pattern(tree.event) if tree.min == 1 else f"{tree.min} {pattern(tree.event)}"
    rests = f", with up to {plural(tree.grace, tree.unit.text)} off in between" if tree.grace else ""
    return f"{units} in a row with {each} each{rests}"


def _nested(tree: Nested) -> str:
    """Return what each value, or each calendar unit, is asked."""
    if isinstance(tree, CountGroups):
        return f"{canonical_number(at_least(tree.cmp))} different {fields(tree.by)}, each with {_part(tree.inner)}"
    units = plural(at_least(tree.cmp), tree.unit.text)
    if isinstance(tree, CountUnits):
        return f"{units}, each with {_part(tree.inner)}"
    rests = f", with up to {plural(tree.grace, tree.unit.text)} off in between" if tree.grace else ""
    return f"{units} in a row, each with {_part(tree.inner)}{rests}"


def _combined(tree: Combine) -> str:
    parts = [_part(part) for part in tree.parts]
    if len(parts) == 1:
        return parts[0]
    if tree.kind == "at_least":
        return f"{tree.k} of {len(parts)}: " + "; ".join(parts)
    return (" and " if tree.kind == "all" else " or ").join(parts)


def _part(tree: Condition) -> str:
    """Return a part of a composition, in brackets where it has a comma or a composition of its own."""
    text = condition(tree)
    return f"({text})" if isinstance(tree, Combine) or "," in text else text


# -- modifiers --------------------------------------------------------------------------------------------------------


def modifiers(tree: Condition) -> str:
    """Return what the modifiers of a condition ask for, each behind a comma."""
    mods = tree.mods
    texts = [within(mods.within)] if mods.within is not None else []
    if mods.per is not None:
        texts.append(f"all in one {mods.per.text}")
    if mods.unless is not None:
        texts.append(f"with no {pattern(mods.unless)} in between")
    if mods.by:
        texts.append(f"all with the same {fields(mods.by)}")
    if (place := zone_of(tree)) is not None:
        texts.append(place)
    return "".join(f", {text}" for text in texts)


def fields(names: tuple[Name, ...]) -> str:
    """Return the fields of a key: `post_id`, `course_id and lesson_id`."""
    return listed((name.text for name in names), "and")


def within(length: Duration) -> str:
    """Return a window: `all within 7 days`."""
    return f"all within {duration(length)}"


def zone_of(tree: Condition) -> str | None:
    """Return whose clock a condition goes by, None where no clock shows, or it is the default."""
    return zone(tree.mods.tz)


def zone(tz: Zone | None) -> str | None:
    """Return whose clock a `tz=` means: `in Europe/Berlin time`; None for the default."""
    if tz is None:
        return None
    if tz.kind == "user":
        return "in the user's time zone"
    if tz.kind == "event":
        return "by the clock where it happened"
    return "in UTC" if tz.name == "UTC" else f"in {tz.name} time"


# -- patterns and filters ---------------------------------------------------------------------------------------------


def pattern(tree: Pattern) -> str:
    """Return an E: `lesson.completed where duration_seconds is more than 60`."""
    names = listed((_alternative(one) for one in tree.alternatives), "or")
    if tree.where is None:
        return names
    return f"{names} where {predicate(tree.where)}" if len(tree.alternatives) == 1 else _of_all(names, tree.where)


def _of_all(names: str, where: Predicate) -> str:
    return f"({names}) where {predicate(where)}"


def combined(names: tuple[Name, ...]) -> str:
    """Return what `distinct=` counts: `users`, `combinations of course_id and days`."""
    texts = [counted(name.text) for name in names]
    return texts[0] if len(texts) == 1 else f"combinations of {listed(texts, 'and')}"


def counted(name: str) -> str:
    """Return what `distinct=` counts: the name of a field, or words for the user and the time of an event."""
    return _COUNTED.get(name, name)


_COUNTED: Final = {
    "actor": "users",
    "at.minute": "minutes of the hour",
    "at.hour": "hours of the day",
    "at.weekday": "weekdays",
    "at.day": "days of the month",
    "at.month": "months of the year",
    "at.year": "years",
    "at.week": "weeks",
    "at.date": "days",
}


def _alternative(tree: Alternative) -> str:
    name = tree.event.text if tree.role is None else f"{tree.event.text} as {tree.role.text}"
    return name if tree.where is None else f"{name} where {predicate(tree.where)}"


def predicate(tree: Predicate) -> str:
    """Return a filter, or a `for`: `plan is "pro" or "team"`."""
    match tree:
        case Compare():
            return _compare(tree)
        case Member():
            return _member(tree)
        case Contains(left=left, negated=negated, list=name):
            return f"{value(left)} is{' not' * negated} in {name.name}"
        case Present(left=left, negated=negated):
            return f"{left.name} is {'missing' if negated else 'given'}"
        case Truth(left=left):
            return f"{left.name} is true"
        case Not(part=Truth(left=left)):
            return f"{left.name} is not true"
        case Not(part=part):
            return f"not ({predicate(part)})"
        case And(parts=parts):
            return " and ".join(_bracketed(part, Or) for part in parts)
        case Or(parts=parts):
            return " or ".join(_bracketed(part, And) for part in parts)


def _bracketed(tree: Predicate, kind: type[Predicate]) -> str:
    return f"({predicate(tree)})" if isinstance(tree, kind) else predicate(tree)


def _compare(tree: Compare) -> str:
    left, op, right = tree.left, tree.op, tree.right
    if isinstance(left, Ref) and isinstance(right, Literal) and left.builtin and left.name in _CLOCK:
        return _moment(left, op, right)
    phrases = _IS_AT if isinstance(right, Instant) else _IS
    phrase = op if op in _TEXTUAL else phrases[op]
    return f"{value(left)} {phrase} {value(right)}"


def _moment(left: Ref, op: str, right: Literal) -> str:
    """Return a comparison with the time of the event: `it is before 05:00`, `it is Monday`."""
    text = _of_clock(left, right)
    if left.name == "at.weekday":
        return f"it {_IS[op]} {text}"
    if left.name == "at.hour" and op in {"=", "!="}:
        return f"the hour {_IS[op]} {text}"
    if left.name == "at.hour" and op in {">", "<="}:
        return f"the hour {_IS[op]} {operand(right)}"
    return f"it {_IS_AT[op]} {text}"


def value(tree: Expression) -> str:
    """Return a value that is compared: `seconds`, `the length of title`, `at - opened_at`."""
    match tree:
        case Ref(name=name):
            return _BUILT_INS.get(name, name) if tree.builtin else name
        case Call(function=function, of=of):
            return _CALLS[function].format(value(of))
        case Arithmetic(op=op, left=left, right=right):
            return " ".join((_grouped(left), op, _grouped(right)))
        case Duration():
            return length(tree.us)
        case _:
            return operand(tree)


def _grouped(tree: Expression) -> str:
    if isinstance(tree, Ref):
        return tree.name
    return f"({value(tree)})" if isinstance(tree, Arithmetic) else value(tree)


def _member(tree: Member) -> str:
    left = tree.left
    if not isinstance(left, Ref) or not left.builtin or left.name not in _CLOCK:
        values = listed(map(operand, tree.values), "or")
        return f"{value(left)} {'is none of' if tree.negated else 'is'} {values}"
    values = listed((_of_clock(left, each) for each in tree.values), "or")
    subject = "the hour" if left.name == "at.hour" else "it"
    return f"{subject} {'is none of' if tree.negated else 'is'} {values}"


def _of_clock(left: Ref, right: Operand) -> str:
    value = None if isinstance(right, Instant) else right.value
    if left.name == "at.hour" and isinstance(value, int):
        return f"{value:02d}:00"
    return _WEEKDAYS.get(value, value) if isinstance(value, str) else operand(right)


_CLOCK: Final = ("at.hour", "at.weekday", "at.date")
_TEXTUAL: Final = ("starts with", "ends with", "contains")
_CALLS: Final = {"length": "the length of {}", "lower": "{} in lower case", "size": "the number of {}"}
_BUILT_INS: Final = {
    "actor": "the user of the event",
    "at": "the time of the event",
    "at.minute": "the minute",
    "at.hour": "the hour",
    "at.weekday": "the weekday",
    "at.day": "the day of the month",
    "at.month": "the month",
    "at.year": "the year",
    "at.week": "the week",
    "at.date": "the date",
}


def operand(tree: Operand) -> str:
    """Return the right side of a comparison: numbers in plain decimals, strings in quotes, instants as written."""
    if isinstance(tree, Instant):
        return tree.text
    if isinstance(tree.value, bool):
        return "true" if tree.value else "false"
    return canonical_text(tree.value) if isinstance(tree.value, str) else canonical_number(tree.value)


# -- clauses of an achievement ----------------------------------------------------------------------------------------


def clauses(version: Achievement) -> list[str]:
    """Return what an achievement asks for beside its `when`, a sentence's end each, in the order of the language."""
    texts: list[str] = []
    if version.where is not None:
        texts.append(f"for users whose {predicate(version.where)}")
    if version.after:
        texts.append(f"after {listed((target_name(target) for target in version.after), 'and')}")
    if version.active is not None:
        texts.append(active(version.active))
    if version.repeat is not None:
        texts.append(repeat(version.repeat))
    if version.scope is not None and version.scope.name != "user":
        texts.append(scope(version.scope))
    if version.settle is not None:
        texts.append(f"announced {duration(version.settle)} later, if it still holds")
    return texts


def active(tree: Active) -> str:
    """Return the span of `active`: only what happens in it counts."""
    start = None if tree.start is None else f"from {tree.start.text}"
    end = None if tree.end is None else f"until {tree.end.text}"
    return " ".join(text for text in (start, end) if text is not None) or "at any time"


def repeat(tree: Repeat) -> str:
    """Return how an achievement repeats."""
    if isinstance(tree, RepeatEach):
        return "again and again, each time from the beginning"
    if isinstance(tree, RepeatBy):
        return f"once for each {tree.field.text}"
    place = zone(tree.tz)
    return f"once every {tree.unit.text}" + ("" if place is None else f", {place}")


def scope(tree: Scope) -> str:
    """Return whose achievement it is."""
    return "for the whole tenant together" if tree.name == "tenant" else f"for each {tree.name} together"


def reveal(tree: Reveal | None) -> str:
    """Return when an achievement is shown."""
    if tree is None or tree.kind == "always":
        return "always shown"
    if tree.kind == "at":
        return f"hidden until {tree.percent}% of the way"
    if tree.kind == "after" and tree.after is not None:
        return f"hidden until {target_name(tree.after)} is earned"
    return "secret until earned"


def target_name(tree: Target | Unlocked) -> str:
    """Return `NAME` or `NAME.TIER`."""
    return tree.achievement.text if tree.tier is None else f"{tree.achievement.text}.{tree.tier.text}"


# -- small things -----------------------------------------------------------------------------------------------------


def bound(cmp: Cmp) -> str:
    """Return a bound on a sum or an extreme: `100 or more`, `more than 100`."""
    number = canonical_number(cmp.bound)
    match cmp.op:
        case ">=":
            return f"{number} or more"
        case ">":
            return f"more than {number}"
        case "<=":
            return f"{number} or less"
        case "<":
            return f"less than {number}"


def at_least(cmp: Cmp) -> int:
    """Return the smallest whole number that satisfies a lower bound, at least zero."""
    least = floor(cmp.bound)
    return max(0, least if cmp.op == ">=" and least == cmp.bound else least + 1)


def duration(tree: Duration) -> str:
    """Return a length as the author wrote it: `7 days`, `90 seconds`."""
    number = tree.text[:-1].replace("_", "")
    unit = _OF_DURATION.get(tree.text[-1:])
    return length(tree.us) if unit is None or not number.isdigit() else plural(int(number), unit)


def length(us: int) -> str:
    """Return a length in microseconds by its two largest units: `2 days 3 hours`, `1 second`."""
    texts: list[str] = []
    left = us
    for size, unit in _LENGTHS:
        if len(texts) == 2:  # noqa: PLR2004 - two, as said above
            break
        number, left = divmod(left, size) if left >= size else (0, left)
        if number:
            texts.append(plural(number, unit))
        elif texts:
            break
    return " ".join(texts) or ("no time" if us == 0 else "less than a second")


def plural(number: Number, what: str) -> str:
    """Return `1 day`, `2 days`."""
    shown = canonical_number(number)
    return f"{shown} {what}" if number == 1 else f"{shown} {what}s"


def listed(texts: Iterable[str], last: str) -> str:
    """Return `a`, `a or b`, `a, b or c`."""
    *head, tail = texts
    return f"{', '.join(head)} {last} {tail}" if head else tail


def modified(mods: Modifiers) -> bool:
    """Return whether a condition has a span of its own, or groups."""
    return mods.within is not None or mods.per is not None or mods.unless is not None or bool(mods.by)

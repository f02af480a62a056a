"""Argument lists to conditions: what each operator makes of its arguments, and the messages where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast
from typing import Literal as OneOf

from msgspec.structs import replace

from dsl.diagnostics import Suggestion, nearest
from dsl.parse.argument_values import (
    event_of,
    fields,
    modifiers_of,
    name_of,
    one_field,
    pattern,
    required,
    unit_of,
    whole_of,
)
from dsl.parse.arguments import OPERATORS, Arguments, sort
from dsl.parse.bounds import cmp_of
from dsl.parse.raw import Named, RawEvent, RawList, Unread
from dsl.parse.reading import READING, error
from dsl.source import Span
from dsl.syntax import (
    Combine,
    Condition,
    Count,
    CountGroups,
    CountUnits,
    Extreme,
    Name,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.parse.raw import Argument, RawPattern


def read(name: Name, arguments: tuple[Argument, ...], span: Span) -> Condition | Unread:
    """Turn `name(arguments)` into a condition."""
    shape = OPERATORS.get(name.text)
    if shape is None:
        error("ACH109", name.span, f"`{name.text}` is not an operator", _other_operator(name))
        return Unread(span)
    gathered = Arguments(name.text, shape, name.span, span)
    gathered.has_event = any(isinstance(each, Named) and each.name.text == "event" for each in arguments)
    for argument in arguments:
        sort(gathered, argument)
    built = _BUILDERS[name.text](gathered)
    return built if built is not None and not READING.get().broken else Unread(span)


def _other_operator(name: Name) -> str | Suggestion:
    from dsl.parse.aliases import other_operator  # noqa: PLC0415 - for faulty calls alone

    suggestion = other_operator(READING.get().source.text, name.span.start)
    guess = nearest(name.text, OPERATORS)
    return suggestion or (f"did you mean `{guess}`?" if guess else f"operators are {', '.join(OPERATORS)}")


def _count(args: Arguments) -> Condition | None:
    if args.parts:
        return _nested_count(args)
    event, cmp = event_of(args), cmp_of(args)
    distinct, mods = fields(args, "distinct"), modifiers_of(args)
    if event is None or cmp is None:
        return None
    return Count(event=event, distinct=distinct, cmp=cmp, mods=mods, span=args.span)


def _sum(args: Arguments) -> Condition | None:
    event, cmp = event_of(args), cmp_of(args)
    of = required(args, "of") and name_of(args, "of")
    mods = modifiers_of(args)
    if event is None or cmp is None or of is None:
        return None
    return Sum(event=event, of=of, cmp=cmp, mods=mods, span=args.span)


def _extreme(args: Arguments) -> Condition | None:
    event, cmp = event_of(args), cmp_of(args)
    of = required(args, "of") and name_of(args, "of")
    mods = modifiers_of(args)
    if event is None or cmp is None or of is None:
        return None
    kind: OneOf["max", "min"] = "max" if args.operator == "max" else "min"
    return Extreme(kind=kind, event=event, of=of, cmp=cmp, mods=mods, span=args.span)


def _nested_count(args: Arguments) -> Condition | None:
    """Read `count(by=F, C, CMP)` or `count(per=UNIT, C, CMP)`."""
    cmp, mods = cmp_of(args), modifiers_of(args)
    by = mods.by
    if not _only_one_event(args) or cmp is None:
        return None
    inner = args.parts[0]
    if by:
        return CountGroups(by=by, inner=inner, cmp=cmp, mods=replace(mods, by=()), span=args.span)
    if mods.per is not None:
        return CountUnits(unit=mods.per, inner=inner, cmp=cmp, mods=replace(mods, per=None), span=args.span)
    if "by" not in args.named and "per" not in args.named:
        hint = "count the values of a field: count(by=post_id, ...); or calendar units: count(per=day, ...)"
        error("ACH112", args.at, "`count` of a condition needs `by=` or `per=`", hint)
    return None


def _nested_streak(args: Arguments) -> Condition | None:
    """Read `streak(per=UNIT, C, CMP)`."""
    cmp, unit = cmp_of(args), unit_of(required(args, "per"))
    mods, grace = modifiers_of(args), whole_of(args, "grace", 0)
    if not _only_one_event(args) or cmp is None or unit is None:
        return None
    return StreakUnits(unit=unit, inner=args.parts[0], cmp=cmp, grace=grace, mods=mods, span=args.span)


def _only_one_event(args: Arguments) -> bool:
    """Tell whether nothing beside the condition says again what is counted."""
    wrong = [args.named[name] for name in ("event", "distinct", "min") if name in args.named]
    for each in wrong:
        name = each.name.text
        hint = (
            f"write `{name}=` inside the condition"
            if name != "min"
            else "give the condition the bound: count(event=..., >= 5)"
        )
        error("ACH110", each.name.span, f"beside a condition, `{args.operator}` takes no `{name}`", hint)
    return not wrong


def _streak(args: Arguments) -> Condition | None:
    if args.parts:
        return _nested_streak(args)
    event, cmp = event_of(args), cmp_of(args)
    unit = unit_of(required(args, "per"))
    mods = modifiers_of(args)
    least, grace = whole_of(args, "min", 1), whole_of(args, "grace", 0)
    if event is None or cmp is None or unit is None:
        return None
    return Streak(event=event, unit=unit, cmp=cmp, min=least, grace=grace, mods=mods, span=args.span)


def _sequence(args: Arguments) -> Condition | None:
    by, mods = one_field(args), modifiers_of(args)
    items = _steps(args)
    if items is None:
        return None
    return Sequence(steps=tuple(pattern(item) for item in items), by=by, mods=mods, span=args.span)


def _steps(args: Arguments) -> tuple[RawPattern, ...] | None:
    match args.patterns:
        case [RawList(where=None, role=None, items=(_, *_) as items)]:
            return tuple(items)
        case []:
            args.wrong("ACH112", args.at, "`sequence` needs its steps in brackets")
        case [RawList(items=()) as steps]:
            error("ACH112", steps.span, "an empty sequence can never complete", "name at least one step")
        case [RawList(role=Name()) as steps]:
            args.wrong("ACH113", steps.span, "give each step of a sequence its own `as`, not all of them one")
        case [RawList() as steps]:
            args.wrong("ACH113", steps.span, "filter the steps of a sequence one by one, not as a whole")
        case loose:
            span = Span(loose[0].span.start, loose[-1].span.end)
            message = "write the steps of a sequence in one pair of brackets"
            args.wrong("ACH113", span, message, args.meant(span))
    return None


def _combine(args: Arguments) -> Condition | None:
    mods, parts = modifiers_of(args), tuple(args.parts)
    if not parts:
        # A part with an error is already reported.
        if not READING.get().broken:
            args.wrong("ACH112", args.at, f"`{args.operator}` needs conditions to combine")
        return None
    kind = cast("OneOf['all', 'any', 'at_least']", args.operator)
    k = {"all": len(parts), "any": 1}.get(kind) or _least(args)
    return None if k is None else Combine(kind=kind, k=k, parts=parts, mods=mods, span=args.span)


def _least(args: Arguments) -> int | None:
    if args.number is None:
        args.wrong("ACH112", args.at, "`at_least` needs the number of conditions that must hold")
        return None
    value = args.number.value
    if not isinstance(value, int):
        error("ACH113", args.number.span, "the number of conditions must be a whole number")
        return None
    return value


def _unlocked(args: Arguments) -> Condition | None:
    mods = modifiers_of(args)
    target = _unlocked_target(args)
    if target is None:
        return None
    return Unlocked(achievement=target[0], tier=target[1], mods=mods, span=args.span)


def _unlocked_target(args: Arguments) -> tuple[Name, Name | None] | None:
    match args.patterns:
        case [RawEvent(where=None, role=None) as only]:
            return split(only.name)
        case []:
            if "name" not in args.doubtful:
                args.wrong("ACH112", args.at, "`unlocked` needs the name of an achievement")
        case patterns:
            message = "`unlocked` takes one achievement, or one tier of it"
            args.wrong("ACH113", patterns[0].span, message, "join several: all(unlocked(first), unlocked(second))")
    return None


def split(name: Name) -> tuple[Name, Name | None] | None:
    """Split `NAME` or `NAME.TIER`; more dots are an error."""
    first, dot, rest = name.text.partition(".")
    if not dot:
        return name, None
    if "." in rest:
        error("ACH118", name.span, f"`{name.text}` is neither an achievement nor a tier of one")
        return None
    middle = name.span.start + len(first)
    return (
        Name(text=first, span=Span(name.span.start, middle)),
        Name(text=rest, span=Span(middle + 1, name.span.end)),
    )


_BUILDERS: Final[dict[str, Callable[[Arguments], Condition | None]]] = {
    "count": _count,
    "sum": _sum,
    "max": _extreme,
    "min": _extreme,
    "streak": _streak,
    "sequence": _sequence,
    "all": _combine,
    "any": _combine,
    "at_least": _combine,
    "unlocked": _unlocked,
}

"""Argument lists to conditions: the arguments of each operator, and the messages for wrong ones.

Arguments may be in any order. A slip with a clear meaning (`lesson.completed` without `event=`, `=> 10`) is reported
and corrected. Any other error is reported, and the condition is left unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast
from typing import Literal as OneOf

from msgspec.structs import replace

from dsl.built_ins import is_reward
from dsl.diagnostics import Suggestion, nearest
from dsl.parse.literals import Percent
from dsl.parse.raw import Bound, BoundedName, Glued, Named, RawEvent, RawList, Unread
from dsl.parse.reading import READING, error, slip
from dsl.source import Span
from dsl.syntax import (
    Alternative,
    Cmp,
    Combine,
    Condition,
    Count,
    CountGroups,
    CountUnits,
    Duration,
    Extreme,
    Instant,
    Literal,
    Modifiers,
    Name,
    Pattern,
    Sequence,
    Streak,
    StreakUnits,
    Sum,
    Unlocked,
    Zone,
)
from dsl.types import DAY, HOUR, MINUTE, SECOND, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.parse.raw import Argument, RawPattern, Scalar

_BOUNDS: Final = ("at_least", "least", "min", "minimum", "max", "times", "number", "n", "value", "bound", "target")
MOST_FIELDS: Final = 8
"""Fields of one key, at most."""
_MOST_ASKED: Final = 4
"""Places of one call at which it is asked what the author may have meant."""
MODIFIERS: Final = ("within", "per", "unless", "tz", "by")


class Shape(NamedTuple):
    """What an operator takes beside the modifiers."""

    named: tuple[str, ...]
    required: tuple[str, ...]
    example: str
    bound: OneOf["", ">=", "<="] = ""
    lists: bool = False
    parts: bool = False
    number: bool = False
    target: bool = False
    nests: bool = False
    """Whether one condition may stand in the place of the event: asked of each value, or of each unit."""


_EVENT: Final = ("event",)
OPERATORS: Final = {
    "count": Shape(("event", "distinct"), _EVENT, "count(event=lesson.completed, >= 10)", ">=", nests=True),
    "sum": Shape(("event", "of"), ("event", "of"), "sum(event=purchase.placed, of=amount, >= 100)", ">="),
    "max": Shape(("event", "of"), ("event", "of"), "max(event=game.over, of=score, >= 1000)", ">="),
    "min": Shape(("event", "of"), ("event", "of"), "min(event=race.finished, of=seconds, <= 60)", "<="),
    "streak": Shape(
        ("event", "per", "min", "grace"),
        ("event", "per"),
        "streak(event=lesson.completed, per=day, >= 7)",
        ">=",
        nests=True,
    ),
    "sequence": Shape((), (), "sequence([profile.completed, tutorial.finished])", lists=True),
    "all": Shape((), (), "all(count(event=a.b, >= 1), count(event=c.d, >= 1))", parts=True),
    "any": Shape((), (), "any(count(event=a.b, >= 1), count(event=c.d, >= 1))", parts=True),
    "at_least": Shape((), (), "at_least(2, count(event=a.b, >= 1), ...)", parts=True, number=True),
    "unlocked": Shape((), (), "unlocked(first_lesson) or unlocked(bookworm.gold)", target=True),
}


class Arguments:
    """The arguments of one operator, sorted by kind, with what they share: the operator's name and place."""

    def __init__(self, operator: str, shape: Shape, at: Span, span: Span) -> None:
        self.operator = operator
        self.shape = shape
        self.at = at
        self.span = span
        self.named: dict[str, Named] = {}
        self.bound: Bound | None = None
        self.patterns: list[RawPattern] = []
        self.number: Literal | None = None
        self.parts: list[Condition] = []
        self.suggested: Suggestion | None = None
        self.asked = 0
        """How often it was asked what is meant."""
        self.has_event = False
        """Whether an argument is `event=`, perhaps one further on."""

    @property
    def inside(self) -> Span:
        """Where the arguments begin."""
        return Span(self.span.end - 1, self.span.end)

    def wrong(self, code: str, span: Span, message: str, hint: str | Suggestion | None = None) -> None:
        """Report an error; without its own hint it shows an example of the operator.

        Where a whole call was suggested, that answers what else is wrong with it.
        """
        if self.suggested is None:
            error(code, span, message, hint or f"for example: {self.shape.example}")
        if isinstance(hint, Suggestion):
            self.suggested = hint

    def meant(self, span: Span) -> Suggestion | None:
        """Return what the author may have meant by what stands at a place."""
        from dsl.parse.intents import meant  # noqa: PLC0415 - for faulty calls alone

        self.asked += 1
        if self.suggested is not None or self.asked > _MOST_ASKED:
            return self.suggested
        return meant(READING.get().source.text, span.start, taken)


def taken(operator: str) -> tuple[str, ...] | None:
    """Return the names of an operator's arguments; None for what is no operator."""
    shape = OPERATORS.get(operator)
    return None if shape is None else (*shape.named, *MODIFIERS)


def read(name: Name, arguments: tuple[Argument, ...], span: Span) -> Condition | Unread:
    """Turn `name(arguments)` into a condition."""
    shape = OPERATORS.get(name.text)
    if shape is None:
        error("ACH109", name.span, f"`{name.text}` is not an operator", _other_operator(name))
        return Unread(span)
    gathered = Arguments(name.text, shape, name.span, span)
    gathered.has_event = any(isinstance(each, Named) and each.name.text == "event" for each in arguments)
    for argument in arguments:
        _sort(gathered, argument)
    built = _BUILDERS[name.text](gathered)
    return built if built is not None and not READING.get().broken else Unread(span)


def _other_operator(name: Name) -> str | Suggestion:
    from dsl.parse.aliases import other_operator  # noqa: PLC0415 - for faulty calls alone

    suggestion = other_operator(READING.get().source.text, name.span.start)
    guess = nearest(name.text, OPERATORS)
    return suggestion or (f"did you mean `{guess}`?" if guess else f"operators are {', '.join(OPERATORS)}")


# -- sorting -------------------------------------------------------------------------------------------------


def _sort(args: Arguments, argument: Argument) -> None:
    match argument:
        case Named():
            _sort_named(args, argument)
        case Bound():
            _sort_bound(args, argument)
        case Glued():
            _sort_glued(args, argument)
        case BoundedName():
            _sort_bounded_name(args, argument)
        case RawEvent() | RawList():
            _sort_pattern(args, argument)
        case Literal() | Duration() | Instant() | Percent():
            _sort_scalar(args, argument)
        case Unread():
            pass
        case _:
            _sort_part(args, argument)


def _sort_named(args: Arguments, argument: Named) -> None:
    name = argument.name
    allowed = (*args.shape.named, *MODIFIERS)
    if name.text not in allowed:
        hint = args.meant(name.span) or _unknown_hint(args, name.text)
        args.wrong("ACH110", name.span, f"`{args.operator}` takes no `{name.text}`", hint)
    elif name.text in args.named:
        error("ACH111", name.span, f"`{name.text}` is given twice")
    else:
        args.named[name.text] = argument


def _unknown_hint(args: Arguments, name: str) -> str | None:
    if args.shape.bound and name in _BOUNDS:
        return f"write a bound without a name: {args.shape.bound} 10"
    if name in ("where", "filter", "if"):
        return "write the filter after the event: event=lesson.completed where duration_seconds > 60"
    allowed = (*args.shape.named, *MODIFIERS)
    guess = nearest(name, allowed)
    if guess:
        return f"did you mean `{guess}`?"
    return f"`{args.operator}` takes {', '.join(allowed)}" if args.shape.named else None


def _sort_bound(args: Arguments, bound: Bound) -> None:
    if not args.shape.bound:
        args.wrong("ACH110", bound.span, f"`{args.operator}` takes no bound")
    elif args.bound is not None:
        error("ACH111", bound.span, "the bound is given twice; an operator takes one")
    else:
        args.bound = bound


def _sort_glued(args: Arguments, glued: Glued) -> None:
    named, bound = glued
    if named.name.text in (*args.shape.named, *MODIFIERS) and args.shape.bound:
        hint = f"write {named.name.text}=..., {bound.op} ..."
        slip("ACH115", Span(named.span.end, named.span.end + 1), "a comma is missing before the bound", hint)
        _sort_named(args, named)
        _sort_bound(args, bound)
    else:
        _sort_named(args, named)


def _sort_bounded_name(args: Arguments, argument: BoundedName) -> None:
    if not args.shape.bound:
        args.wrong("ACH110", argument.bound.span, f"`{args.operator}` takes no bound")
        return
    hint = f"write event=..., {argument.bound.op} ...: {args.shape.example}"
    span = argument.name.span
    if args.shape.required == _EVENT and "event" not in args.named:
        slip("ACH115", span, "the event before the bound needs `event=` and a comma", hint)
        args.named["event"] = Named(Name(text="event", span=span), argument.name, span)
        _sort_bound(args, argument.bound)
    else:
        args.wrong("ACH115", span, "a bound takes no name before it", args.meant(span) or hint)


def _sort_pattern(args: Arguments, pattern: RawPattern) -> None:
    if args.shape.lists or args.shape.target:
        args.patterns.append(pattern)
    elif "event" in args.shape.named and "event" not in args.named and not args.has_event:
        slip("ACH112", pattern.span, f"`{args.operator}` takes its event as `event=`", "write `event=` before it")
        args.named["event"] = Named(Name(text="event", span=pattern.span), pattern, pattern.span)
    else:
        unit = pattern.name.text if isinstance(pattern, RawEvent) else ""
        hint = f"write per={unit}" if unit in set(Unit) and "per" in args.shape.named else args.meant(pattern.span)
        args.wrong("ACH113", pattern.span, f"`{args.operator}` takes no bare name or list here", hint)


def _sort_scalar(args: Arguments, value: Scalar) -> None:
    is_number = isinstance(value, Literal) and not isinstance(value.value, str | bool)
    if args.shape.number and is_number and args.number is None:
        args.number = cast("Literal", value)
    elif args.shape.bound and is_number:
        slip("ACH114", value.span, "a bound needs a comparison", f"write `{args.shape.bound}` before it")
        _sort_bound(args, Bound(args.shape.bound, value.span, value, value.span))
    else:
        text = isinstance(value, Literal) and isinstance(value.value, str)
        hint = "write events without quotes: event=lesson.completed" if text and args.shape.required else None
        hint = args.meant(value.span) or hint
        args.wrong("ACH113", value.span, f"`{args.operator}` takes no bare value here", hint)


def _sort_part(args: Arguments, part: Condition) -> None:
    if args.shape.parts or (args.shape.nests and not args.parts):
        args.parts.append(part)
    elif args.shape.nests:
        hint = "write one condition: join several with all(...) or any(...)"
        args.wrong("ACH113", part.span, f"`{args.operator}` takes one condition", hint)
    else:
        hint = "combine conditions with all(...), any(...) or at_least(K, ...)"
        args.wrong("ACH113", part.span, f"`{args.operator}` takes no conditions", hint)


# -- one argument --------------------------------------------------------------------------------------------


def _required(args: Arguments, name: str) -> Named | None:
    argument = args.named.get(name)
    if argument is None:
        args.wrong("ACH112", args.at, f"`{args.operator}` needs `{name}=`")
    return argument


def _wrong_value(argument: Named, expected: str, hint: str | None = None) -> None:
    error("ACH113", argument.value.span, f"`{argument.name.text}=` takes {expected}", hint)


def _event(args: Arguments) -> Pattern | None:
    argument = _required(args, "event")
    return None if argument is None else _pattern_of(argument)


def _pattern_of(argument: Named) -> Pattern | None:
    if isinstance(argument.value, RawEvent | RawList):
        return pattern(argument.value)
    _wrong_value(argument, "an event or a list of events", "write events without quotes")
    return None


def pattern(raw: RawPattern) -> Pattern:
    """Turn an event or a list of alternatives into a pattern."""
    if isinstance(raw, RawEvent):
        one = Alternative(event=raw.name, role=raw.role, where=raw.where, span=raw.span)
        return Pattern(alternatives=(one,), span=raw.span)
    alternatives: list[Alternative] = []
    for item in raw.items:
        if isinstance(item, RawEvent):
            if item.role is not None and raw.role is not None:
                hint = "write `as` behind the brackets for all, or behind each event"
                error("ACH111", item.role.span, "the role of this event is given twice", hint)
            role = item.role or raw.role
            alternatives.append(Alternative(event=item.name, role=role, where=item.where, span=item.span))
        else:
            error("ACH113", item.span, "a list of alternatives holds events, not lists")
    if not raw.items:
        error("ACH112", raw.span, "an empty list matches nothing", "name at least one event")
    return Pattern(alternatives=tuple(alternatives), where=raw.where, role=raw.role, listed=True, span=raw.span)


def _name(args: Arguments, name: str) -> Name | None:
    """Return a plain name, or None if it is missing or something else (which is reported)."""
    argument = args.named.get(name)
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, RawEvent) and _is_bare(value) and _is_field(name, value.name.text):
        return value.name
    if isinstance(value, Literal) and isinstance(value.value, str):
        _wrong_value(argument, "the name of a field", "write names without quotes")
    else:
        _wrong_value(argument, "the name of a field")
    return None


def _is_bare(value: RawEvent) -> bool:
    return value.where is None and value.role is None


def _is_field(argument: str, written: str) -> bool:
    """Return whether an argument may name this: a field, or for `distinct` something of the event's own time.

    The rewards of unlocks are fields with a dot.
    """
    return "." not in written or is_reward(written) or (argument == "distinct" and written.startswith("at."))


def _unit(argument: Named | None) -> Name | None:
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, RawEvent) and _is_bare(value) and "." not in value.name.text:
        return value.name
    units = "a calendar unit: minute, hour, day, week, month or year"
    if isinstance(value, Duration):
        _wrong_value(argument, units, f"did you mean within={value.text}, or per={_unit_of(value)}?")
    elif isinstance(value, Literal) and value.value in set(Unit):
        _wrong_value(argument, units, "write units without quotes")
    else:
        _wrong_value(argument, units)
    return None


def _unit_of(value: Duration) -> str:
    return {"m": "minute", "h": "hour", "w": "week"}.get(value.text[-1], "day")


def _within(argument: Named | None) -> Duration | None:
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, Duration):
        return value
    hint = "write a duration such as 90s, 15m, 1h, 7d or 2w"
    if isinstance(value, RawEvent):
        word = value.name.text
        unit = word if word in set(Unit) else nearest(word, Unit)
        if unit:
            length = {"minute": "1m", "hour": "1h", "day": "1d", "week": "1w", "month": "30d", "year": "365d"}[unit]
            hint = f"did you mean within={length}, or per={unit} for the calendar {unit}?"
    _wrong_value(argument, "a duration", hint)
    return None


def _zone(argument: Named | None) -> Zone | None:
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, RawEvent) and _is_bare(value):
        return zone(value.name)
    if isinstance(value, Literal):
        return zone(value)
    return zone(Name(text="", span=value.span))


def zone(value: Name | Literal) -> Zone | None:
    """Turn the right side of `tz=` into a zone."""
    match value:
        case Name(text="user"):
            return Zone(kind="user", span=value.span)
        case Name(text="event"):
            return Zone(kind="event", span=value.span)
        case Literal(value=str() as name):
            return Zone(kind="iana", name=name, span=value.span)
        case _:
            hint = 'write tz="Europe/Berlin", tz=user or tz=event'
            error("ACH113", value.span, "`tz=` takes a zone in quotes, `user` or `event`", hint)
            return None


def _whole(args: Arguments, name: str, default: int) -> int:
    argument = args.named.get(name)
    if argument is None:
        return default
    match argument.value:
        case Literal(value=int() as value) if not isinstance(value, bool):
            return value
        case _:
            _wrong_value(argument, "a whole number")
            return default


def _modifiers(args: Arguments) -> Modifiers:
    unless = args.named.get("unless")
    return Modifiers(
        within=_within(args.named.get("within")),
        per=None if args.operator == "streak" else _unit(args.named.get("per")),
        unless=None if unless is None else _pattern_of(unless),
        tz=_zone(args.named.get("tz")),
        by=() if args.operator == "sequence" and one_field(args) else fields(args, "by"),
    )


def one_field(args: Arguments) -> Name | None:
    """Return the field of `by=FIELD`, None where there is none, or a list."""
    argument = args.named.get("by")
    return None if argument is None or isinstance(argument.value, RawList) else _name(args, "by")


def fields(args: Arguments, name: str) -> tuple[Name, ...]:
    """Return the fields of `by=FIELD` or `by=[FIELD, FIELD]`."""
    argument = args.named.get(name)
    if argument is None:
        return ()
    if not isinstance(argument.value, RawList):
        found = _name(args, name)
        return () if found is None else (found,)
    items = argument.value.items
    if argument.value.where is not None or not 1 <= len(items) <= MOST_FIELDS:
        _wrong_value(argument, f"one field, or 2 to {MOST_FIELDS} of them in brackets")
        return ()
    names = [
        item.name
        for item in items
        if isinstance(item, RawEvent) and item.where is None and _is_field("by", item.name.text)
    ]
    if len(names) < len(items):
        _wrong_value(argument, "names of fields in the brackets", "write by=[course_id, lesson_id]")
        return ()
    twice = next((one for number, one in enumerate(names) if one.text in {each.text for each in names[:number]}), None)
    if twice is not None:
        error("ACH111", twice.span, f"`{twice.text}` is given twice")
    return tuple(names)


# -- bounds --------------------------------------------------------------------------------------------------


def _cmp(args: Arguments) -> Cmp | None:
    bound = args.bound
    if bound is None and args.suggested is not None:
        return None
    if bound is None:
        message = f"`{args.operator}` needs a bound such as `{args.shape.bound} 10`"
        hint = args.meant(args.inside) or f"for example: {args.shape.example}"
        READING.get().open_bounds.append((args.at, message, hint))
        op: OneOf[">=", "<="] = ">=" if args.shape.bound == ">=" else "<="
        return Cmp(op=op, bound=0, kind="open", span=args.at)
    return _bound(bound, _direction(args, bound), args)


def _bound(bound: Bound, op: OneOf[">=", ">", "<=", "<"] | None, args: Arguments | None = None) -> Cmp | None:
    value = bound.value
    if isinstance(value, Duration) and not value.us and READING.get().broken:
        return None  # neither a number nor a duration, and already reported
    if isinstance(value, Name) and value.text == "all" and op is not None:
        READING.get().open_names = True
        return Cmp(op=op, bound=0, kind="all", span=bound.span)
    if not isinstance(value, Literal) or isinstance(value.value, str | bool):
        hint = _of_a_duration(args, value) if isinstance(value, Duration) else None
        if isinstance(value, Name):
            hint = "the one word that can stand here is `all`: every value of the list in the filter"
        if args is None:
            error("ACH113", value.span, "a bound must be a number", hint)
        else:
            args.wrong("ACH113", value.span, "a bound must be a number", args.meant(value.span) or hint)
        return None
    return None if op is None else Cmp(op=op, bound=value.value, span=bound.span)


def _of_a_duration(args: Arguments | None, value: Duration) -> str:
    """Return what a bound such as `24h` may mean: a span, or so many of the unit that a field counts."""
    field = None if args is None else args.named.get("of")
    if args is None or field is None or not isinstance(field.value, RawEvent):
        return f"for a span of time write within={value.text}"
    name = field.value.name.text
    units = (("sec", SECOND), ("min", MINUTE), ("hour", HOUR), ("hr", HOUR), ("day", DAY))
    unit = next((length for word, length in units if word in name), None)
    if unit is None or value.us % unit:
        return f"a bound is a number, in the unit of `{name}`"
    return f"a bound is a number, in the unit of `{name}`: write {args.shape.bound} {value.us // unit}"


def free_bound(bound: Bound) -> Cmp | None:
    """Return the bound of a tier; which operator it is for, and whether it fits, is seen later."""
    op = {"=>": ">=", "=<": "<="}.get(bound.op, bound.op)
    if op not in (">=", ">", "<=", "<"):
        message = f"the bound of a tier must be `>=` or `>`, or `<=` or `<` for `min`, not `{bound.op}`"
        error("ACH114", bound.op_span, message)
        return None
    if op != bound.op:
        slip("ACH114", bound.op_span, f"`{bound.op}` is not a comparison", f"did you mean `{op}`?")
    return _bound(bound, op)


def _direction(args: Arguments, bound: Bound) -> OneOf[">=", ">", "<=", "<"] | None:
    """Return the comparison of a bound, corrected if its meaning is clear."""
    down = args.shape.bound == "<="
    allowed = ("<=", "<") if down else (">=", ">")
    op = {"=>": ">=", "=<": "<="}.get(bound.op, bound.op)
    if op in allowed:
        if op != bound.op:
            slip("ACH114", bound.op_span, f"`{bound.op}` is not a comparison", f"did you mean `{op}`?")
        return cast("OneOf['>=', '>', '<=', '<']", op)
    words = "`<=` or `<`" if down else "`>=` or `>`"
    message = f"the bound of `{args.operator}` must be {words}, not `{bound.op}`"
    meant_instead = args.meant(bound.op_span)
    if meant_instead is None and op in ("=", "=="):
        slip("ACH114", bound.op_span, message, f"one more event must not undo it: write `{allowed[0]}`")
        return allowed[0]
    hint = "use min(...) for the smallest value of a field" if args.operator == "max" and op != "!=" else None
    args.wrong("ACH114", bound.op_span, message, meant_instead or hint)
    return None


# -- operators -----------------------------------------------------------------------------------------------


def _count(args: Arguments) -> Condition | None:
    if args.parts:
        return _nested_count(args)
    event, cmp = _event(args), _cmp(args)
    distinct, mods = _name(args, "distinct"), _modifiers(args)
    if event is None or cmp is None:
        return None
    return Count(event=event, distinct=distinct, cmp=cmp, mods=mods, span=args.span)


def _sum(args: Arguments) -> Condition | None:
    event, cmp = _event(args), _cmp(args)
    of = _required(args, "of") and _name(args, "of")
    mods = _modifiers(args)
    if event is None or cmp is None or of is None:
        return None
    return Sum(event=event, of=of, cmp=cmp, mods=mods, span=args.span)


def _extreme(args: Arguments) -> Condition | None:
    event, cmp = _event(args), _cmp(args)
    of = _required(args, "of") and _name(args, "of")
    mods = _modifiers(args)
    if event is None or cmp is None or of is None:
        return None
    kind: OneOf["max", "min"] = "max" if args.operator == "max" else "min"
    return Extreme(kind=kind, event=event, of=of, cmp=cmp, mods=mods, span=args.span)


def _nested_count(args: Arguments) -> Condition | None:
    """Read `count(by=F, C, CMP)` or `count(per=UNIT, C, CMP)`."""
    cmp, by, mods = _cmp(args), fields(args, "by"), _modifiers(args)
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
    cmp, unit = _cmp(args), _unit(_required(args, "per"))
    mods, grace = _modifiers(args), _whole(args, "grace", 0)
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
    event, cmp = _event(args), _cmp(args)
    unit = _unit(_required(args, "per"))
    mods = _modifiers(args)
    least, grace = _whole(args, "min", 1), _whole(args, "grace", 0)
    if event is None or cmp is None or unit is None:
        return None
    return Streak(event=event, unit=unit, cmp=cmp, min=least, grace=grace, mods=mods, span=args.span)


def _sequence(args: Arguments) -> Condition | None:
    by, mods = one_field(args), _modifiers(args)
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
    mods, parts = _modifiers(args), tuple(args.parts)
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
    mods = _modifiers(args)
    target = _unlocked_target(args)
    if target is None:
        return None
    return Unlocked(achievement=target[0], tier=target[1], mods=mods, span=args.span)


def _unlocked_target(args: Arguments) -> tuple[Name, Name | None] | None:
    match args.patterns:
        case [RawEvent(where=None, role=None) as only]:
            return split(only.name)
        case []:
            args.wrong("ACH112", args.at, "`unlocked` needs the name of an achievement")
        case patterns:
            args.wrong("ACH113", patterns[0].span, "`unlocked` takes one achievement, or one tier of it")
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

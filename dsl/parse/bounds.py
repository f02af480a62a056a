"""The bounds of operators and of tiers: `>= 10`, and what stands in their place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast
from typing import Literal as OneOf

from dsl.parse.literals import Percent
from dsl.parse.raw import RawEvent
from dsl.parse.reading import READING, error, slip
from dsl.syntax import Cmp, Duration, Literal, Name
from dsl.types import DAY, HOUR, MINUTE, SECOND

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)

if TYPE_CHECKING:
    from dsl.parse.arguments import Arguments
    from dsl.parse.raw import Bound


_OTHER_EXTREME: Final = {
    "max": "use min(...) for the smallest value of a field",
    "min": "use max(...) for the largest value of a field",
}


def cmp_of(args: Arguments) -> Cmp | None:
    """Return the bound of an operator; one that is left out is open, for a tier to give it."""
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
        hint = _in_figures(args, value, op or bound.op)
        if args is None:
            error("ACH113", value.span, "a bound must be a number", hint)
        else:
            args.wrong("ACH113", value.span, "a bound must be a number", args.meant(value.span) or hint)
        return None
    return None if op is None else Cmp(op=op, bound=value.value, span=bound.span)


def _in_figures(args: Arguments | None, value: object, op: str) -> str | None:
    """Return what a bound may mean that is no number."""
    match value:
        case Duration():
            return _of_a_duration(args, value, op)
        case Name():
            return f"write it in figures: {op} 10; the one word that can stand here is `all`, with `>=`"
        case Percent():
            from dsl.parse.aliases import NO_AVERAGE  # noqa: PLC0415 - for faulty calls alone

            many = args is None or args.operator not in ("max", "min", "sum")
            return NO_AVERAGE if many else f"write the number alone: {op} {value.value}"
        case Literal(value=str() as text) if _NUMBER.fullmatch(text):
            return f"write numbers without quotes: {op} {text}"
        case _:
            return None


def _of_a_duration(args: Arguments | None, value: Duration, op: str) -> str:
    """Return what a bound such as `24h` may mean: a span, or so many of the unit that a field counts."""
    field = None if args is None else args.named.get("of")
    if args is None or field is None or not isinstance(field.value, RawEvent):
        return f"for a span of time write within={value.text}"
    name = field.value.name.text
    number = in_the_unit_of(name, value.us)
    if number is None:
        return f"a bound is a number, in the unit of `{name}`"
    return f"a bound is a number, in the unit of `{name}`: write {op} {number}"


def in_the_unit_of(name: str, us: int) -> int | None:
    """Return a span of microseconds in the unit that a field such as `duration_seconds` names; None where unknown."""
    units = (("sec", SECOND), ("min", MINUTE), ("hour", HOUR), ("hr", HOUR), ("day", DAY))
    unit = next((length for word, length in units if word in name), None)
    return None if unit is None or us % unit else us // unit


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
    hint = None
    if args.operator in _OTHER_EXTREME and op != "!=":
        hint = _OTHER_EXTREME[args.operator]
    args.wrong("ACH114", bound.op_span, message, meant_instead or hint)
    return None

"""The bounds of operators and of tiers: `>= 10`, and what stands in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from typing import Literal as OneOf

from dsl.parse.literals import Percent
from dsl.parse.raw import RawEvent
from dsl.parse.reading import READING, error, slip
from dsl.syntax import Cmp, Duration, Literal, Name
from dsl.types import DAY, HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from dsl.parse.arguments import Arguments
    from dsl.parse.raw import Bound


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
        hint = _of_a_duration(args, value, op or bound.op) if isinstance(value, Duration) else None
        if isinstance(value, Percent):
            from dsl.parse.aliases import NO_AVERAGE  # noqa: PLC0415 - for faulty calls alone

            hint = NO_AVERAGE
        if isinstance(value, Name):
            hint = "the one word that can stand here is `all`: every value of the list in the filter"
        if args is None:
            error("ACH113", value.span, "a bound must be a number", hint)
        else:
            args.wrong("ACH113", value.span, "a bound must be a number", args.meant(value.span) or hint)
        return None
    return None if op is None else Cmp(op=op, bound=value.value, span=bound.span)


def _of_a_duration(args: Arguments | None, value: Duration, op: str) -> str:
    """Return what a bound such as `24h` may mean: a span, or so many of the unit that a field counts."""
    field = None if args is None else args.named.get("of")
    if args is None or field is None or not isinstance(field.value, RawEvent):
        return f"for a span of time write within={value.text}"
    name = field.value.name.text
    number = number_for(name, value)
    if number is None:
        return f"a bound is a number, in the unit of `{name}`"
    return f"a bound is a number, in the unit of `{name}`: write {op} {number}"


def number_for(field: str, value: Duration) -> int | None:
    """Return a length as the number that a field counts, as far as its name says in which unit."""
    units = (("sec", SECOND), ("min", MINUTE), ("hour", HOUR), ("hr", HOUR), ("day", DAY))
    unit = next((length for word, length in units if word in field), None)
    return None if unit is None or value.us % unit else value.us // unit


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

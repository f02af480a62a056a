"""The arguments of one operator: what each operator takes, and its arguments sorted by kind.

Arguments may be in any order. A slip with a clear meaning (`lesson.completed` without `event=`, `10` without `>=`) is
reported and corrected. Any other error is reported, and the condition is left unread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast
from typing import Literal as OneOf

from dsl.diagnostics import Suggestion, nearest
from dsl.parse.literals import Percent
from dsl.parse.raw import Bound, BoundedName, Glued, Named, RawEvent, RawList, Unread
from dsl.parse.reading import READING, error, slip
from dsl.source import Span
from dsl.syntax import Condition, Duration, Instant, Literal, Name
from dsl.types import Unit

if TYPE_CHECKING:
    from dsl.parse.raw import Argument, RawPattern, Scalar

_BOUNDS: Final = ("at_least", "least", "min", "minimum", "max", "times", "number", "n", "value", "bound", "target")
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
        self.doubtful: set[str] = set()
        """Arguments that are there in a form that is reported: they are not missing as well."""

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


# -- sorting -------------------------------------------------------------------------------------------------


def sort(args: Arguments, argument: Argument) -> None:
    """Put an argument where its kind belongs, or report it."""
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
            args.doubtful |= {"event", "distinct"} if args.shape.nests else set()
        case _:
            _sort_part(args, argument)


def _sort_named(args: Arguments, argument: Named) -> None:
    name = argument.name
    allowed = (*args.shape.named, *MODIFIERS)
    if name.text not in allowed:
        hint = args.meant(name.span) or _unknown_hint(args, name.text)
        args.doubtful.add(nearest(name.text, (*args.shape.named, *MODIFIERS)) or "")
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
    if name in _APART:
        return _least_time(args)
    if name in _SPANS:
        return "which events count is a clause of the achievement: active 2026-05-01T00:00:00Z .. 2026-06-01T00:00:00Z"
    if name in ("as", "role"):
        return "a role follows the event: event=like as author"
    if name == "distinct" and args.operator == "streak":
        return "count values in each unit: streak(per=week, count(event=habit.done, distinct=at.date, >= 5), >= 4)"
    allowed = (*args.shape.named, *MODIFIERS)
    guess = nearest(name, allowed)
    if guess:
        return f"did you mean `{guess}`?"
    return f"`{args.operator}` takes {', '.join(allowed)}" if args.shape.named else None


_SPANS: Final = ("since", "from", "until", "to", "before", "after", "start", "end", "starts", "ends", "between")
_APART: Final = ("gap", "min_gap", "mingap", "apart", "delay", "at_least_after", "min_interval", "cooldown", "spacing")


def _least_time(args: Arguments) -> str | None:
    """Return what to write for a least time between steps: no form asks for that."""
    if args.operator != "sequence":
        return None
    return (
        "`within=` limits the time of all steps, and nothing asks for a least time between two: "
        "let your product send it, as `days_away: int`, and filter it"
    )


_NO_BOUND: Final = {
    "sequence": "a sequence is complete once; for several times write `repeat each` in the achievement",
    "all": "to ask for some of the conditions write at_least(K, ...)",
    "any": "to ask for several of the conditions write at_least(K, ...)",
    "at_least": "the number stands before the conditions: at_least(2, ...)",
}


def _sort_bound(args: Arguments, bound: Bound) -> None:
    if not args.shape.bound:
        args.wrong("ACH110", bound.span, f"`{args.operator}` takes no bound", _NO_BOUND.get(args.operator))
    elif args.bound is not None:
        args.wrong("ACH111", bound.span, "the bound is given twice; an operator takes one", args.meant(bound.span))
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
        args.wrong("ACH110", argument.bound.span, f"`{args.operator}` takes no bound", _least_time(args))
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
    elif args.shape.bound and is_number and _is_thousands(args.bound, value.span):
        error("ACH111", value.span, "a comma separates arguments, not thousands", "write 1000, or 1_000")
    elif args.shape.bound and is_number:
        slip("ACH114", value.span, "a bound needs a comparison", f"write `{args.shape.bound}` before it")
        _sort_bound(args, Bound(args.shape.bound, value.span, value, value.span))
    else:
        text = isinstance(value, Literal) and isinstance(value.value, str)
        hint = "write events without quotes: event=lesson.completed" if text and args.shape.required else None
        if text and args.shape.target:
            hint = f"write names without quotes: {args.operator}({cast('Literal', value).value})"
        if text and hint:
            args.doubtful |= {"event", "name"}
        hint = args.meant(value.span) or hint
        args.wrong("ACH113", value.span, f"`{args.operator}` takes no bare value here", hint)


def _is_thousands(bound: Bound | None, span: Span) -> bool:
    """Return whether a number stands right behind a bound, as in `>= 1,000`."""
    text = READING.get().source.text
    return bound is not None and span.end - span.start == 3 and text[bound.span.end : span.start] == ","  # noqa: PLR2004


def _sort_part(args: Arguments, part: Condition) -> None:
    if args.shape.parts or (args.shape.nests and not args.parts):
        args.parts.append(part)
    elif args.shape.nests:
        hint = "write one condition: join several with all(...) or any(...)"
        args.wrong("ACH113", part.span, f"`{args.operator}` takes one condition", hint)
    else:
        hint = "combine conditions with all(...), any(...) or at_least(K, ...)"
        args.wrong("ACH113", part.span, f"`{args.operator}` takes no conditions", hint)

"""The parser's callbacks: each grammar rule or terminal of the same name becomes a node.

A method in capitals is given a token as it is read; any other the values of its rule's parts. Declarations are
handed to the reading under way, everything else to the rule above.
"""

# The grammar gives the methods their names and says what they are about.
# ruff: noqa: D102, N802

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, cast
from typing import Literal as OneOf

from dsl.parse import literals, operators
from dsl.parse.argument_values import zone_from
from dsl.parse.bounds import free_bound
from dsl.parse.filters import Filters, as_test, elements
from dsl.parse.raw import Bound, BoundedName, Glued, Named, RawEvent, RawList, Unread
from dsl.parse.reading import READING, Mark, error, place, slip
from dsl.parse.stories import Payload, read_lines
from dsl.source import Span
from dsl.syntax import (
    Achievement,
    Active,
    Duration,
    EventDecl,
    Example,
    FieldDecl,
    ForEach,
    Hole,
    Instant,
    ListDecl,
    Literal,
    Name,
    OncePer,
    RepeatBy,
    RepeatEach,
    RepeatEvery,
    Reveal,
    Reward,
    Rung,
    Scope,
    Target,
    Tier,
    Title,
    TraitsDecl,
)

if TYPE_CHECKING:
    from dsl.parse.filters import Value
    from dsl.parse.literals import Percent
    from dsl.parse.raw import Argument, RawPattern, Scalar
    from dsl.parse.reading import Token
    from dsl.parse.stories import Piece
    from dsl.syntax import Condition, Operand
    from dsl.types import Json

_TIER_CLAUSES = ("title", "when", "reward", "reveal")


class Clause(NamedTuple):
    """One clause of an achievement or tier: its keyword, where that stands, and what it says."""

    keyword: str
    at: Span
    value: object


class Version(NamedTuple):
    """`version N [from INSTANT] [fresh]`."""

    number: int
    since: Instant | None
    fresh: bool


class Terminals:
    """What single tokens become."""

    def NAME(self, token: Token) -> Name:
        return Name(text=token.value, span=Span(token.start_pos, token.end_pos))

    def DOTTED(self, token: Token) -> Name:
        if "not" in token.value.split("."):
            error("ACH118", place(token), "`not` cannot be a name or part of one")
        return Name(text=token.value, span=Span(token.start_pos, token.end_pos))

    def MADE(self, token: Token) -> Name:
        READING.get().open_names = True
        return Name(text=token.value, span=Span(token.start_pos, token.end_pos))

    def VAR(self, token: Token) -> Literal:
        READING.get().open_names = True
        return Literal(value=Hole(token.value), span=place(token))

    NUMBER = staticmethod(literals.number)
    STRING = staticmethod(literals.string)
    INSTANT = staticmethod(literals.instant)
    DURATION = staticmethod(literals.duration)
    PERCENT = staticmethod(literals.percent)

    def NOT(self, token: Token) -> Mark:
        return Mark(token.value, place(token))

    SLASH = NOT

    def LPAR(self, token: Token) -> Token:
        READING.get().enter(token)
        return token

    LSQB = LBRACE = LPAR

    def RPAR(self, token: Token) -> Token:
        READING.get().leave()
        return token

    RSQB = RBRACE = RPAR


class Conditions:
    """Operators and their arguments; `operators` makes sense of them."""

    def event_name(self, name: Name) -> RawEvent:
        return RawEvent(name, None, name.span)

    def list(self, opening: Token, *rest: RawPattern | Token) -> RawList:
        items = tuple(part for part in rest if isinstance(part, RawEvent | RawList))
        return RawList(items, None, Span(opening.start_pos, cast("Token", rest[-1]).end_pos))

    def in_role(self, pattern: RawPattern, role: Name) -> RawPattern:
        return pattern._replace(role=role, span=Span(pattern.span.start, role.span.end))

    def filtered(self, pattern: RawPattern, value: Value) -> RawPattern:
        test = as_test(value)
        return pattern._replace(where=test.node, span=Span(pattern.span.start, test.span.end))

    def named(self, name: Name, value: RawPattern | Scalar) -> Named:
        return Named(name, value, Span(name.span.start, value.span.end))

    def missing_comma(self, name: Name, value: RawPattern, bound: Bound) -> Glued:
        return Glued(self.named(name, value), bound)

    def bounded_name(self, name: RawPattern, bound: Bound) -> BoundedName:
        return BoundedName(name, bound, Span(name.span.start, bound.span.end))

    def bound(self, op: Token, value: Scalar | Name) -> Bound:
        return Bound(op.value, place(op), value, Span(op.start_pos, value.span.end))

    equals = bound

    def condition(self, name: Name, *rest: Argument | Token) -> Condition | Unread:
        span = Span(name.span.start, cast("Token", rest[-1]).end_pos)
        return operators.read(name, cast("tuple[Argument, ...]", rest[1:-1]), span)


class Clauses:
    """The clauses of achievements and tiers."""

    def title(self, keyword: Token, text: Literal) -> Clause:
        span = Span(keyword.start_pos, text.span.end)
        return Clause("title", place(keyword), Title(texts=(("", str(text.value)),), span=span))

    def titles(self, keyword: Token, *rest: tuple[Name | Literal, Literal] | Token) -> Clause:
        pairs = [part for part in rest if isinstance(part, tuple)]
        texts = {_key(key): str(text.value) for key, text in pairs}
        _no_key_twice([key for key, _ in pairs])
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        if not pairs:
            error("ACH112", span, "a title needs at least one language", 'write title { en: "Ten lessons" }')
        return Clause("title", place(keyword), Title(texts=tuple(texts.items()), span=span))

    def translation(self, key: Name | Literal, text: Literal) -> tuple[Name | Literal, Literal]:
        return key, text

    def about(self, keyword: Token, text: Literal) -> Clause:
        return Clause("about", place(keyword), text)

    def when(self, keyword: Token, condition: Condition | Unread) -> Clause:
        return Clause("when", place(keyword), condition)

    def audience(self, keyword: Token, value: Value) -> Clause:
        return Clause("for", place(keyword), as_test(value).node)

    def after(self, keyword: Token, *names: Name) -> Clause:
        targets = tuple(target for name in names if (target := _target(name)))
        return Clause("after", place(keyword), targets)

    def active(self, keyword: Token, start: Instant | None, dots: Token, end: Instant | None) -> Clause:
        span = Span(keyword.start_pos, end.span.end if end else dots.end_pos)
        return Clause("active", place(keyword), Active(start=start, end=end, span=span))

    def reveal_plain(self, keyword: Token, kind: Token) -> Clause:
        span = Span(keyword.start_pos, kind.end_pos)
        node = Reveal(kind=cast("OneOf['always', 'secret']", kind.value), span=span)
        return Clause("reveal", place(keyword), node)

    def reveal_at(self, keyword: Token, _at: Token, percent: Percent | Literal) -> Clause:
        span = Span(keyword.start_pos, percent.span.end)
        if isinstance(percent, Literal):
            hint = f"write {literals.percent_of(percent.value)}%"
            error("ACH113", percent.span, "`reveal at` takes a percentage", hint)
            return Clause("reveal", place(keyword), None)
        return Clause("reveal", place(keyword), Reveal(kind="at", percent=percent.value, span=span))

    def reveal_after(self, keyword: Token, _after: Token, name: Name) -> Clause:
        span = Span(keyword.start_pos, name.span.end)
        return Clause("reveal", place(keyword), Reveal(kind="after", after=_target(name), span=span))

    def reward(self, keyword: Token, values: Payload) -> Clause:
        span = Span(keyword.start_pos, values.span.end)
        return Clause("reward", place(keyword), Reward(values=values.values, span=span))

    def repeat_each(self, keyword: Token, each: Token) -> Clause:
        return Clause("repeat", place(keyword), RepeatEach(span=Span(keyword.start_pos, each.end_pos)))

    def repeat_every(self, keyword: Token, _every: Token, unit: Name, tz: Name | Literal | None) -> Clause:
        span = Span(keyword.start_pos, (tz or unit).span.end)
        zone = None if tz is None else zone_from(tz)
        return Clause("repeat", place(keyword), RepeatEvery(unit=unit, tz=zone, span=span))

    def repeat_by(self, keyword: Token, _by: Token, field: Name) -> Clause:
        return Clause(
            "repeat", place(keyword), RepeatBy(field=_plain(field), span=Span(keyword.start_pos, field.span.end))
        )

    def scope(self, keyword: Token, name: Name) -> Clause:
        return Clause("scope", place(keyword), Scope(name=name.text, span=name.span))

    def family(self, keyword: Token, name: Name) -> Clause:
        return Clause("family", place(keyword), name)

    def settle(self, keyword: Token, length: Duration) -> Clause:
        return Clause("settle", place(keyword), length)

    def renamed(self, keyword: Token, *names: Name) -> Clause:
        return Clause("renamed", place(keyword), tuple(_plain(name) for name in names))

    def tier(self, keyword: Token, name: Name, bound: Bound | None, *rest: Clause | Token) -> Clause:
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        clauses = [part for part in rest if isinstance(part, Clause)]
        for clause in clauses:
            if clause.keyword not in _TIER_CLAUSES:
                hint = "a tier takes only title, when, reward and reveal; put the rest in the achievement"
                error("ACH122", clause.at, f"`{clause.keyword}` is not a clause of a tier", hint)
        values = _once_each(clauses)
        if bound is not None:
            READING.get().ladder = True
            return Clause("tier", place(keyword), _rung(name, bound, values, span))
        if "when" not in values:
            hint = f"or give the bound that the `when` of the achievement leaves out: tier {name.text} >= 10 {{ ... }}"
            error("ACH112", name.span, f"tier `{name.text}` has no `when`", hint)
        values.setdefault("when", None)
        if READING.get().broken:
            return Clause("tier", place(keyword), None)
        return Clause("tier", place(keyword), Tier(name=_plain(name), span=span, **values))  # pyright: ignore[reportArgumentType]


def _rung(name: Name, bound: Bound, values: dict[str, object], span: Span) -> Rung | None:
    if "when" in values:
        hint = "leave out the `when` of the tier, and put it into the achievement without a bound"
        error("ACH402", name.span, f"tier `{name.text}` has both a bound and a `when`", hint)
    cmp = free_bound(bound)
    if cmp is None or READING.get().broken:
        return None
    return Rung(name=_plain(name), bound=cmp, span=span, **values)  # pyright: ignore[reportArgumentType]


def _target(name: Name) -> Target | None:
    parts = operators.split(name)
    return None if parts is None else Target(achievement=parts[0], tier=parts[1], span=name.span)


def _plain(name: Name) -> Name:
    """Return a name that may hold no dots."""
    if "$" in name.text:
        hint = "the element is put behind the name of a family: achievement pets for each color in base_colors"
        error("ACH118", name.span, f"`{name.text}` is not a valid name here", hint)
    if "." in name.text:
        hint = "only event names have dots; write " + name.text.replace(".", "_")
        error("ACH118", name.span, f"`{name.text}` is not a valid name here", hint)
    return name


def _once_each(clauses: list[Clause]) -> dict[str, object]:
    values: dict[str, object] = {}
    for clause in clauses:
        if clause.keyword in values:
            slip("ACH116", clause.at, f"`{clause.keyword}` is given twice")
        else:
            values[clause.keyword] = clause.value
    return values


class JsonValues:
    """JSON values; objects know their place, the rest is plain."""

    def object(self, opening: Token, *rest: tuple[Name | Literal, Json] | Token) -> Payload:
        pairs = [part for part in rest if isinstance(part, tuple)]
        _no_key_twice([key for key, _ in pairs])
        values = {_key(key): value for key, value in pairs}
        return Payload(values, Span(opening.start_pos, cast("Token", rest[-1]).end_pos))

    def pair(self, key: Name | Literal, value: Payload | Literal | Json) -> tuple[Name | Literal, Json]:
        return key, _json(value)

    def array(self, _opening: Token, *rest: Payload | Literal | Json | Token) -> list[Json]:
        return [_json(cast("Payload | Literal | Json", part)) for part in rest[:-1]]

    def null(self, _token: Token) -> None:
        return None


def _json(value: Payload | Literal | Json) -> Json:
    if isinstance(value, Literal):
        return value.value
    return value.values if isinstance(value, Payload) else value


def _key(key: Name | Literal) -> str:
    return key.text if isinstance(key, Name) else str(key.value)


def _no_key_twice(keys: list[Name | Literal]) -> None:
    if len(keys) == len({_key(key) for key in keys}):
        return
    seen: Counter[str] = Counter()
    for key in keys:
        seen[_key(key)] += 1
        if seen[_key(key)] == 2:  # noqa: PLR2004 - twice
            slip("ACH117", key.span, f'the key "{_key(key)}" is given twice')


class Declarations:
    """What stands at the top of a file."""

    def start(self, *_declarations: None) -> None:
        return None

    def keyword(self, token: Token) -> Name:
        return Name(text=token.value, span=Span(token.start_pos, token.end_pos))

    def event(self, keyword: Token, name: Name, *rest: FieldDecl | OncePer | Token) -> None:
        fields = tuple(part for part in rest if isinstance(part, FieldDecl))
        once = next((part for part in rest if isinstance(part, OncePer)), None)
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        READING.get().declare(lambda: EventDecl(name=name, fields=fields, once=once, span=span), span.end)

    def traits(self, keyword: Token, event: Name, role: Name | None, *rest: FieldDecl | Token) -> None:
        fields = tuple(part for part in rest if isinstance(part, FieldDecl))
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        READING.get().declare(lambda: TraitsDecl(event=event, role=role, fields=fields, span=span), span.end)

    def field(self, name: Name, type: Name, question: Token | None, low: Bound | None) -> FieldDecl:  # noqa: A002
        end = low.span.end if low else question.end_pos if question else type.span.end
        return FieldDecl(
            name=name,
            type=type,
            optional=question is not None,
            low=_low(low),
            span=Span(name.span.start, end),
        )

    def list_type(self, opening: Token, element: Name, closing: Token) -> Name:
        return Name(text=f"[{element.text}]", span=Span(opening.start_pos, closing.end_pos))

    def once(self, keyword: Token, *rest: Name | Duration | None) -> OncePer:
        fields = tuple(part for part in rest if isinstance(part, Name))
        within = cast("Duration | None", rest[-1])
        span = Span(keyword.start_pos, (within or fields[-1]).span.end)
        return OncePer(fields=fields, within=within, span=span)

    def named_list(self, keyword: Token, name: Name, _opening: Token, *rest: Operand | Scalar | Token) -> None:
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        values = elements(rest[:-1])
        READING.get().declare(lambda: ListDecl(name=name, values=values, span=span), span.end)

    def each(self, keyword: Token, _each: Token, var: Name, *rest: Name | Operand | Scalar | Token) -> ForEach:
        last = rest[-1]
        if isinstance(last, Name):
            return ForEach(var=var, name=last, span=Span(keyword.start_pos, last.span.end))
        span = Span(keyword.start_pos, cast("Token", last).end_pos)
        return ForEach(var=var, values=elements(rest[1:-1]), span=span)

    def since(self, instant: Instant) -> Instant:
        return instant

    def version(self, number: Literal, since: Instant | None, fresh: Token | None) -> Version:
        value = number.value
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            error("ACH105", number.span, "a version must be a whole number from 1")
            value = 1
        return Version(value, since, fresh is not None)

    def achievement(self, keyword: Token, name: Name, *rest: ForEach | Version | Clause | Token) -> None:
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        clauses = [part for part in rest if isinstance(part, Clause)]
        head = next((part for part in rest if isinstance(part, Version)), None) or Version(1, None, fresh=False)
        each = next((part for part in rest if isinstance(part, ForEach)), None)
        name = _plain(name)
        tiers = [clause.value for clause in clauses if clause.keyword == "tier"]
        rungs = tuple(tier for tier in tiers if isinstance(tier, Rung))
        open_names = READING.get().close_names()
        values = _once_each([clause for clause in clauses if clause.keyword != "tier"])
        values["where"] = values.pop("for", None)
        values["after"] = values.get("after", ())

        def make() -> Achievement:
            return Achievement(
                name=name,
                version=head.number,
                since=head.since,
                fresh=head.fresh,
                tiers=tuple(tier for tier in tiers if isinstance(tier, Tier)),
                rungs=rungs,
                each=each,
                open=open_names,
                order=tuple(clause.keyword for clause in clauses),
                span=span,
                **values,  # pyright: ignore[reportArgumentType]
            )

        READING.get().declare(make, span.end)

    def example(self, keyword: Token, title: Literal, each: ForEach | None, *rest: Piece | Token) -> None:
        lines = read_lines(cast("tuple[Piece, ...]", rest[:-1]))
        span = Span(keyword.start_pos, cast("Token", rest[-1]).end_pos)
        open_names = READING.get().close_names()

        def make() -> Example:
            return Example(title=str(title.value), lines=lines, each=each, open=open_names, span=span)

        READING.get().declare(make, span.end)


def _low(low: Bound | None) -> Literal | None:
    if low is None:
        return None
    if low.op not in (">=", "=>"):
        error("ACH114", low.op_span, "a field takes only a lower bound: `>= 0`")
    elif low.op != ">=":
        slip("ACH114", low.op_span, f"`{low.op}` is not a comparison", "did you mean `>=`?")
    if isinstance(low.value, Literal) and not isinstance(low.value.value, str):
        return low.value
    error("ACH113", low.value.span, "the bound of a field must be a number")
    return None


class Builder(Terminals, Filters, Conditions, Clauses, JsonValues, Declarations):
    """Every callback of the grammar."""

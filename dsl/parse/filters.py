"""The parser's callbacks for filters: what stands between `where` and the end of a pattern, or behind `for`.

A part is a *value* (`seconds * 2`), or a *test*, which is true or false. A name alone is either, and so is anything in
parentheses: what stands around it decides.
"""

# The grammar gives the methods their names and says what they are about.
# ruff: noqa: D102

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast
from typing import Literal as OneOf

from msgspec.structs import replace

from dsl.built_ins import ACTOR, AT, ZONED, is_reward
from dsl.diagnostics import nearest
from dsl.expressions import MAX_OPERATIONS
from dsl.parse.literals import Percent
from dsl.parse.reading import MAX_DEPTH, READING, Mark, error, place, slip
from dsl.source import Span
from dsl.syntax import (
    And,
    Arithmetic,
    Call,
    Compare,
    Contains,
    Duration,
    Expression,
    Instant,
    Literal,
    Member,
    Name,
    Not,
    Operand,
    Or,
    Predicate,
    Present,
    Ref,
    Truth,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.parse.raw import Scalar
    from dsl.parse.reading import Token

    Sign = OneOf["=", "!=", "<", "<=", ">", ">="]

_REPORTED: Final = -(10**9)
"""The depth of a filter that was refused."""
_SPELLINGS: Final = {"==": "=", "=>": ">=", "=<": "<=", "<>": "!="}
_MIRRORED: Final[dict[str, Sign]] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_FUNCTIONS: Final = ("length", "lower", "size")
_MEANT: Final = {"len": "length", "count": "size", "lowercase": "lower", "lcase": "lower", "tolower": "lower"}


class Test(NamedTuple):
    """A filter and how many operators stand above one another in it."""

    depth: int
    node: Predicate
    span: Span


class Term(NamedTuple):
    """A value, and how many operations it takes; a name stays one until its place says what it means."""

    operations: int
    node: Expression | Name
    span: Span


Value = Test | Term | Literal | Instant | Duration | Percent


class Filters:
    """Predicates. Each is carried with its depth, so that a long chain of `not` is refused, not followed."""

    def reference(self, name: Name) -> Term:
        return Term(0, name, name.span)

    def call(self, name: Name, _opening: Token, value: Value, closing: Token) -> Term:
        span = Span(name.span.start, closing.end_pos)
        of = as_term(value)
        if name.text not in _FUNCTIONS:
            guess = _MEANT.get(name.text) or nearest(name.text, _FUNCTIONS)
            hint = f"did you mean `{guess}`?" if guess else f"functions of a filter are {', '.join(_FUNCTIONS)}"
            error("ACH109", name.span, f"`{name.text}` is not a function of a filter", hint)
            return Term(of.operations, of.node, span)
        return _larger(Call(function=name.text, of=_expression(of), span=span), of)

    def arithmetic(self, left: Value, op: Token, right: Value) -> Term:
        one, two = as_term(left), as_term(right)
        span = Span(one.span.start, two.span.end)
        sign = cast("OneOf['+', '-', '*']", op.value)
        return _larger(Arithmetic(op=sign, left=_expression(one), right=_expression(two), span=span), one, two)

    def compare(self, left: Value, op: Token, right: Value) -> Test:
        sign = _SPELLINGS.get(op.value, op.value)
        if sign != op.value:
            slip("ACH114", place(op), f"`{op.value}` is not a comparison", f"did you mean `{sign}`?")
        return _comparison(left, cast("Sign", sign), right)

    def compare_text(self, left: Value, word: Token, right: Value) -> Test:
        one, two = as_term(left), as_term(right)
        span = Span(one.span.start, two.span.end)
        op: OneOf["starts with", "ends with", "contains"] = "contains"
        if word.value != op:
            op = "starts with" if word.value == "starts" else "ends with"
        return _test(Compare(left=_expression(one), op=op, right=_expression(two), span=span))

    def member(self, left: Value, *rest: Mark | Token | Operand | Scalar) -> Test:
        end = cast("Token", rest[-1]).end_pos
        values = elements(rest)
        term = as_term(left)
        span = Span(term.span.start, end)
        if not values:
            error("ACH112", span, "an empty list matches nothing", "name at least one value")
        return _test(Member(left=_expression(term), negated=isinstance(rest[0], Mark), values=values, span=span))

    def contains(self, left: Value, *rest: Mark | Name) -> Test:
        term, name = as_term(left), cast("Name", rest[-1])
        READING.get().open_names = True
        span = Span(term.span.start, name.span.end)
        negated = isinstance(rest[0], Mark)
        return _test(Contains(left=_expression(term), negated=negated, list=_ref(name), span=span))

    def present(self, left: Value, *rest: Mark | Token) -> Test:
        term = as_term(left)
        span = Span(term.span.start, cast("Token", rest[-1]).end_pos)
        ref = _expression(term)
        if not isinstance(ref, Ref):
            error("ACH123", term.span, "only a field can be present", "write `FIELD is present`")
            ref = Ref(name="", span=term.span)
        return _test(Present(left=ref, negated=isinstance(rest[0], Mark), span=span))

    def grouped(self, opening: Token, value: Value, closing: Token) -> Test | Term:
        span = Span(opening.start_pos, closing.end_pos)
        if not isinstance(value, Test):
            term = as_term(value)
            node = term.node if isinstance(term.node, Name) else replace(term.node, span=span)
            return Term(term.operations, node, span)
        return Test(value.depth, replace(value.node, span=span), span)

    def negated(self, mark: Mark, value: Value) -> Test:
        test = as_test(value)
        span = Span(mark.span.start, test.span.end)
        return _deeper((test,), Not(part=test.node, span=span))

    def both(self, *values: Value) -> Test:
        tests = tuple(map(as_test, values))
        span = Span(tests[0].span.start, tests[-1].span.end)
        return _deeper(tests, And(parts=tuple(test.node for test in tests), span=span))

    def either(self, *values: Value) -> Test:
        tests = tuple(map(as_test, values))
        span = Span(tests[0].span.start, tests[-1].span.end)
        return _deeper(tests, Or(parts=tuple(test.node for test in tests), span=span))

    def true(self, token: Token) -> Literal:
        return Literal(value=True, span=place(token))

    def false(self, token: Token) -> Literal:
        return Literal(value=False, span=place(token))

    def bare_word(self, word: Name | Token) -> Literal:
        if not isinstance(word, Name):
            return _null(place(word))
        hint = f'write a string in quotes: "{word.text}"'
        error("ACH123", word.span, "the values of a list must be literals, not names", hint)
        return Literal(value=word.text, span=word.span)


# -- what stands where ------------------------------------------------------------------------------------------------


def as_test(value: Value) -> Test:
    """Return what must be true or false: a name alone is a bool field."""
    if isinstance(value, Test):
        return value
    term = as_term(value)
    if isinstance(term.node, Name):
        return Test(1, Truth(left=_ref(term.node), span=term.span), term.span)
    hint = "compare it with something: length(title) > 20"
    if isinstance(term.node, Literal):
        hint = 'for one of several values write: country in ["de", "at"]'
    error("ACH303", term.span, "this is a value, and not true or false", hint)
    return Test(1, Truth(left=Ref(name="", span=term.span), span=term.span), term.span)


def as_term(value: Value) -> Term:
    """Return what must be a value."""
    if isinstance(value, Term):
        return value
    if isinstance(value, Test):
        hint = "join conditions with `and`, `or` and `not`; a bool field is one by itself"
        error("ACH123", value.span, "a condition is no value to compare or to add", hint)
        return Term(0, Literal(value=0, span=value.span), value.span)
    if isinstance(value, Percent):
        return Term(0, _operand(value), value.span)
    return Term(0, value, value.span)


def _expression(term: Term) -> Expression:
    return _ref(term.node) if isinstance(term.node, Name) else term.node


def _comparison(left: Value, op: Sign, right: Value) -> Test:
    one, two = as_term(left), _right(as_term(right))
    span = Span(one.span.start, two.span.end)
    first, second = _expression(one), _expression(two)
    if isinstance(first, Literal | Instant | Duration) and isinstance(second, Ref):
        return _test(Compare(left=second, op=_MIRRORED[op], right=first, span=span))
    return _test(Compare(left=first, op=op, right=second, span=span))


def _right(term: Term) -> Term:
    """Return the right side of a comparison, where `true`, `false` and `null` are no names."""
    match term.node:
        case Name(text="true" | "false" as text):
            return term._replace(node=Literal(value=text == "true", span=term.span))
        case Name(text="null"):
            return term._replace(node=_null(term.span))
        case _:
            return term


def _null(span: Span) -> Literal:
    error("ACH123", span, "no value equals null", "write `is present` or `is not present`")
    return Literal(value=False, span=span)


def _larger(node: Arithmetic | Call, *parts: Term) -> Term:
    operations = 1 + sum(part.operations for part in parts)
    if operations > MAX_OPERATIONS:
        error("ACH108", node.span, f"an expression has at most {MAX_OPERATIONS} operations")
    if operations > MAX_OPERATIONS or operations < 0:
        # After the report the node no longer grows: a deeper tree could not be walked.
        return Term(_REPORTED, parts[0].node, node.span)
    return Term(operations, node, node.span)


def _test(node: Predicate) -> Test:
    return Test(1, node, node.span)


def _deeper(tests: tuple[Test, ...], node: Predicate) -> Test:
    depth = 1 + max(test.depth for test in tests)
    if depth > MAX_DEPTH:
        error("ACH108", node.span, f"a filter may nest at most {MAX_DEPTH} deep")
        depth = _REPORTED
    # After the report the node no longer grows: a deeper tree could not be walked.
    return Test(_REPORTED, tests[0].node, node.span) if depth < 0 else Test(depth, node, node.span)


def elements(parts: Iterable[object]) -> tuple[Operand, ...]:
    """Return the values of a list; what stands between them is left out."""
    return tuple(_operand(part) for part in parts if isinstance(part, Literal | Instant | Duration | Percent))


def _ref(name: Name) -> Ref:
    if "." not in name.text and "$" not in name.text:
        READING.get().open_names |= name.text in (AT, ACTOR)
        return Ref(name=name.text, builtin=name.text == ACTOR, span=name.span)
    if is_reward(name.text):
        return Ref(name=name.text, span=name.span)
    if name.text not in ZONED or "$" in name.text:
        error("ACH123", name.span, f"`{name.text}` is neither a field nor a built-in", _undotted(name.text))
    return Ref(name=name.text, builtin=True, span=name.span)


def _undotted(text: str) -> str:
    """Return what a name with a dot may mean: a part of the event's own time, a function, or its last part alone."""
    first, _, last = text.rpartition(".")
    if first == AT and last in ("time", "clock", "time_of_day"):
        return "the hour of an event is `at.hour`: write at.hour < 6"
    if first not in ("", AT) and f"{AT}.{last}" in ZONED:
        return f"only the event's own time has parts: {AT}.{last}"
    if first == AT:
        guess = None if last in ("time", "now") else nearest(text, ZONED)
        return f"did you mean `{guess}`?" if guess else f"of the event's own time there are {', '.join(ZONED)}"
    if last in _OTHER_NAMES:
        return f"write {_OTHER_NAMES[last]}({first})"
    return f"fields have no dots: write {last}"


_OTHER_NAMES: Final = {
    **dict.fromkeys(("length", "len"), "length"),
    **dict.fromkeys(("lower", "lowercase"), "lower"),
    **dict.fromkeys(("size", "count"), "size"),
}


def _operand(value: Operand | Scalar) -> Operand:
    if isinstance(value, Literal | Instant):
        return value
    error("ACH123", value.span, "a filter compares with a number, a string, `true`, `false` or an instant")
    return Literal(value=0, span=value.span)

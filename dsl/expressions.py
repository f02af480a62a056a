"""Expressions of a filter: what they read, their values, and their canonical form.

Arithmetic is exact: whole numbers are Python's, decimals go through a context that is wide enough for every result of
MAX_OPERATIONS operations on numbers of MAX_DIGITS digits. Instants and spans are whole microseconds. What involves an
absent field is absent.
"""

from __future__ import annotations

import operator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING, Any, Final

from dsl.syntax import And, Arithmetic, Call, Compare, Contains, Duration, Instant, Literal, Not, Or, Ref
from dsl.types import MAX_DIGITS
from dsl.values import canonical_number, canonical_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsl.event import Event
    from dsl.progress import State
    from dsl.syntax import Expression, Leaf, Operand, Predicate
    from dsl.types import Value

    Getter = Callable[[State, Event], Value | None]

MAX_OPERATIONS: Final = 32
"""Operations of one expression. Each may add up the digits of its operands, so that they are few, and so is time."""
_WIDE: Final = Context(prec=4 * MAX_DIGITS * (MAX_OPERATIONS + 1), Emax=MAX_EMAX, Emin=MIN_EMIN)
"""A product has the digits of all factors, and sums of such reach from the highest to the lowest of them."""
_WHOLE: Final[dict[str, Callable[[int, int], int]]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_EXACT: Final[dict[str, Callable[[Any, Any], Decimal]]] = {
    "+": _WIDE.add,
    "-": _WIDE.subtract,
    "*": _WIDE.multiply,
}
_FUNCTIONS: Final[dict[str, Callable[[Any], Value]]] = {"length": len, "size": len, "lower": str.lower}


def constant(node: Operand | Duration) -> Value:
    """Return the value of a constant: instants and lengths as microseconds, like timestamp fields."""
    return node.value if isinstance(node, Literal) else node.us


def is_constant(node: Expression) -> bool:
    """Return whether an expression is one constant."""
    return isinstance(node, Literal | Instant | Duration)


def refs_of(node: Expression) -> Iterator[Ref]:
    """Yield every field, trait or built-in that an expression reads, as often as it stands there."""
    match node:
        case Ref():
            yield node
        case Arithmetic(left=left, right=right):
            yield from refs_of(left)
            yield from refs_of(right)
        case Call(of=of):
            yield from refs_of(of)
        case _:
            pass


def expressions(predicate: Predicate) -> Iterator[Expression]:
    """Yield the outermost expressions of a predicate, in the order written."""
    match predicate:
        case Not(part=part):
            yield from expressions(part)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from expressions(part)
        case Compare(left=left, right=right):
            yield from (left, right)
        case Contains(left=left, list=listed):
            yield from (left, listed)
        case _:
            yield predicate.left


def leaves(tree: Predicate) -> Iterator[Leaf]:
    """Yield the comparisons of a predicate, in the order written."""
    match tree:
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from leaves(part)
        case Not(part=part):
            yield from leaves(part)
        case _:
            yield tree


def refs(predicate: Predicate) -> Iterator[Ref]:
    """Yield every field, trait or built-in that a predicate reads, as often as it stands there."""
    for each in expressions(predicate):
        yield from refs_of(each)


# -- values -----------------------------------------------------------------------------------------------------------


def compile_expression(node: Expression, getter: Callable[[Ref], Getter]) -> Getter:
    """Return a closure that returns the value of an expression at an event, None where something is absent."""
    match node:
        case Ref():
            return getter(node)
        case Arithmetic():
            return _arithmetic(node, getter)
        case Call(function=function, of=of):
            return _call(_FUNCTIONS[function], compile_expression(of, getter))
        case _:
            value = constant(node)
            return lambda state, event: value


def _arithmetic(node: Arithmetic, getter: Callable[[Ref], Getter]) -> Getter:
    left, right = compile_expression(node.left, getter), compile_expression(node.right, getter)
    whole, exact = _WHOLE[node.op], _EXACT[node.op]

    def value(state: State, event: Event) -> Value | None:
        one, two = left(state, event), right(state, event)
        if one is None or two is None:
            return None
        return whole(one, two) if isinstance(one, int) and isinstance(two, int) else exact(one, two)

    return value


def _call(function: Callable[[Any], Value], of: Getter) -> Getter:
    def value(state: State, event: Event) -> Value | None:
        found = of(state, event)
        return None if found is None else function(found)

    return value


# -- canonical form ---------------------------------------------------------------------------------------------------


def expression_key(node: Expression) -> str:
    """Return the canonical form of an expression: the order of a sum and of a product does not matter."""
    match node:
        case Ref(name=name):
            return f"{name}()" if node.builtin and "." not in name else name
        case Arithmetic(op="-", left=left, right=right):
            return f"({expression_key(left)} - {expression_key(right)})"
        case Arithmetic(op=op, left=left, right=right):
            one, two = sorted((expression_key(left), expression_key(right)))
            return f"({one} {op} {two})"
        case Call(function=function, of=of):
            return f"{function}({expression_key(of)})"
        case _:
            return constant_key(node)


def constant_key(node: Operand | Duration) -> str:
    """Return the canonical form of a constant."""
    value = constant(node)
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_text(value) if isinstance(value, str) else canonical_number(value)

"""Filters that rejected an event: the comparison, the actual value, and the required value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl import words
from dsl.calendar import format_instant
from dsl.expressions import expressions, is_constant, leaves, refs
from dsl.filters import compile_test
from dsl.syntax import And, Arithmetic, Compare, Duration, Instant, Literal, Member, Not, Or, Present, Ref, Truth
from dsl.values import canonical_number, canonical_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.event import Event
    from dsl.filters import Getter
    from dsl.progress import State
    from dsl.syntax import Expression, Leaf, Predicate
    from dsl.types import Listed, Value

    Read = Callable[[Ref], Getter]

MAX_SHOWN: Final = 10
"""Elements of a list that are shown."""


def unmet(tree: Predicate, read: Read, state: State, event: Event) -> list[str]:
    """Return why a predicate is false, a reason a comparison: `plan is "free", wanted "pro" or "team"`."""
    if compile_test(tree, read)(state, event):
        return []
    match tree:
        case And(parts=parts):
            return [text for part in parts for text in unmet(part, read, state, event)]
        case Or(parts=parts):
            return [" and ".join(text for part in parts for text in unmet(part, read, state, event))]
        case Not():
            return [f"{facts(tree, read, state, event)}, wanted {words.predicate(tree)}"]
        case _:
            return [f"{facts(tree, read, state, event)}, wanted {_wanted(tree)}"]


def facts(tree: Predicate, read: Read, state: State, event: Event) -> str:
    """Return the values of everything that a predicate reads: `plan is "free", region is missing`."""
    seen: dict[str, str] = {}
    for leaf in leaves(tree):
        for ref in refs(leaf):
            value = read(ref)(state, event)
            seen[ref.name] = "missing" if value is None else _shown(leaf, value)
    return ", ".join(f"{name} is {value}" for name, value in seen.items())


def _wanted(leaf: Leaf) -> str:
    match leaf:
        case Compare(left=Ref(), op="=", right=Literal() | Instant() as right):
            return words.operand(right)
        case Member(negated=False, values=values):
            return words.listed((words.operand(value) for value in values), "or")
        case Present(negated=negated):
            return "none" if negated else "a value"
        case Truth():
            return "true"
        case Compare(left=Ref(), right=right) if is_constant(right):
            return words.predicate(leaf).split(" is ", 1)[-1]
        case Member(left=Ref()):
            return words.predicate(leaf).split(" is ", 1)[-1]
        case _:
            return f"that {words.predicate(leaf)}"


def _shown(leaf: Leaf, value: Value) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and any(map(_is_of_time, expressions(leaf))):
        return instant(value)
    return shown(value)


def _is_of_time(node: Expression) -> bool:
    """Return whether an expression has an instant or a length in it; then its whole numbers are instants."""
    match node:
        case Instant() | Duration() | Ref(name="at", builtin=True):
            return True
        case Arithmetic(left=left, right=right):
            return _is_of_time(left) or _is_of_time(right)
        case _:
            return False


def shown(value: Value | Listed) -> str:
    """Return a value of a payload: strings in quotes, numbers in plain decimals, lists in brackets."""
    if isinstance(value, tuple):
        rest = f", ... ({len(value):,} in all)" if len(value) > MAX_SHOWN else ""
        return f"[{', '.join(map(shown, value[:MAX_SHOWN]))}{rest}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_text(value) if isinstance(value, str) else canonical_number(value)


def instant(at: int) -> str:
    """Return an instant for people: UTC, without a zero fraction."""
    return format_instant(at).replace(".000000Z", "Z")

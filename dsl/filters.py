"""Filters and patterns, compiled: from predicates in the tree to closures over events, and to their canonical form.

A comparison with an absent field is false. Strings compare by code point, numbers exactly.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from dsl.built_ins import ACTOR, AT, COUNTED, ZONED
from dsl.expressions import compile_expression, constant, constant_key, expression_key, is_constant, refs
from dsl.roles import AS
from dsl.syntax import (
    Alternative,
    And,
    Compare,
    Contains,
    Member,
    Not,
    Or,
    Pattern,
    Predicate,
    Present,
    Ref,
    Truth,
)
from dsl.values import value_key, value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from dsl.event import Event
    from dsl.expressions import Getter
    from dsl.local_time import Clock
    from dsl.progress import State
    from dsl.syntax import Duration, Operand
    from dsl.types import Listed, Value

    Test = Callable[[State, Event], bool]
    Keys = Callable[[State, Event], Collection[str]]
    """Returns the keys of the values that an event has; none where it has no value."""

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "starts with": str.startswith,
    "ends with": str.endswith,
    "contains": operator.contains,
}
SIGNS: Final = ("=", "!=", "<", "<=", ">", ">=")
"""Comparisons of values with an order."""


# -- tests ------------------------------------------------------------------------------------------------------------


def field_getter(ref: Ref, clock: Clock) -> Getter:
    """Return a closure that reads a payload field or a built-in of the event's own time."""
    if ref.builtin:
        return _built_in(ref.name, clock)
    name = ref.name
    return lambda state, event: event.fields.get(name)


def _built_in(name: str, clock: Clock) -> Getter:
    if name == AT:
        return lambda state, event: event.at
    if name == ACTOR:
        return lambda state, event: event.user
    local, of = clock.local, ZONED[name]
    return lambda state, event: of(local(state, event))


def compile_test(predicate: Predicate, getter: Callable[[Ref], Getter]) -> Test:
    """Return a closure that returns whether the predicate holds."""
    match predicate:
        case Compare():
            return _compare(predicate, getter)
        case Member():
            return _member(predicate, getter)
        case Contains():
            return _contains(predicate, getter)
        case Present(left=left, negated=negated):
            get = getter(left)
            return lambda state, event: (get(state, event) is None) is negated
        case Truth(left=left):
            get = getter(left)
            return lambda state, event: get(state, event) is True
        case Not(part=part):
            test = compile_test(part, getter)
            return lambda state, event: not test(state, event)
        case And(parts=parts):
            tests = tuple(compile_test(part, getter) for part in parts)
            return lambda state, event: all(test(state, event) for test in tests)
        case Or(parts=parts):
            tests = tuple(compile_test(part, getter) for part in parts)
            return lambda state, event: any(test(state, event) for test in tests)


def _compare(predicate: Compare, getter: Callable[[Ref], Getter]) -> Test:
    get, op, right = compile_expression(predicate.left, getter), _COMPARE[predicate.op], predicate.right
    if not is_constant(right):
        return _compare_both(get, op, compile_expression(right, getter))
    value = constant(cast("Operand | Duration", right))

    def test(state: State, event: Event) -> bool:
        left = get(state, event)
        return left is not None and op(left, value)

    return test


def _compare_both(get: Getter, op: Callable[[Any, Any], bool], other: Getter) -> Test:
    def test(state: State, event: Event) -> bool:
        left, right = get(state, event), other(state, event)
        return left is not None and right is not None and op(left, right)

    return test


def _member(predicate: Member, getter: Callable[[Ref], Getter]) -> Test:
    get, values = compile_expression(predicate.left, getter), frozenset(map(constant, predicate.values))
    wanted = not predicate.negated

    def test(state: State, event: Event) -> bool:
        left = get(state, event)
        return left is not None and (left in values) is wanted

    return test


def _contains(predicate: Contains, getter: Callable[[Ref], Getter]) -> Test:
    get, wanted = compile_expression(predicate.left, getter), not predicate.negated
    listed = cast("Callable[[State, Event], Listed | None]", getter(predicate.list))

    def test(state: State, event: Event) -> bool:
        left, values = get(state, event), listed(state, event)
        return left is not None and values is not None and (left in values) is wanted

    return test


def keys_of(names: Sequence[str], clock: Clock) -> Keys:
    """Return what reads the keys of an event's values, each once: of one field, or of combinations of several.

    An event without a value of one of the fields has none.
    """
    if len(names) == 1:
        return _values_of(names[0], clock, value_key)
    parts = [_values_of(name, clock, value_text) for name in names]

    def keys(state: State, event: Event) -> Collection[str]:
        # At most one of them is a list, the checker sees to it.
        return [value_key(_joined(values).decode()) for values in product(*(part(state, event) for part in parts))]

    return keys


_joined: Final = msgspec.json.Encoder().encode


def _values_of(name: str, clock: Clock, text: Callable[[Value], str]) -> Keys:
    """Return what reads the values of a field, or of a built-in, as texts: one, or those of a list's elements."""
    if name in COUNTED:
        get = field_getter(Ref(name=name, builtin=True), clock)

        def key(state: State, event: Event) -> Collection[str]:
            value = get(state, event)
            return () if value is None else (text(value),)

        return key

    def keys(state: State, event: Event) -> Collection[str]:
        del state
        found = cast("Value | Listed | None", event.fields.get(name))
        if found is None:
            return ()
        return dict.fromkeys(map(text, found)) if isinstance(found, tuple) else (text(found),)

    return keys


# -- patterns ---------------------------------------------------------------------------------------------------------


def compile_pattern(pattern: Pattern, clock: Clock) -> Mapping[str, Test | None]:
    """Return per event type the test its events must pass, None where every one matches."""

    def getter(ref: Ref) -> Getter:
        return field_getter(ref, clock)

    outer = None if pattern.where is None else compile_test(pattern.where, getter)
    tests: defaultdict[str, list[Test | None]] = defaultdict(list)
    for alternative in pattern.alternatives:
        inner = None if alternative.where is None else compile_test(alternative.where, getter)
        if alternative.counts is not None:
            inner = _both(_unlock_of(alternative.counts.names), inner)
        for name in alternative.types:
            tests[name].append(inner)
    return {name: _both(any_of(inner), outer) for name, inner in tests.items()}


def _unlock_of(names: frozenset[str]) -> Test:
    """Return the test whether an unlock is of one of some achievements."""
    return lambda state, event: event.fields.get("achievement") in names


def any_of(alternatives: Sequence[Test | None]) -> Test | None:
    """Return what passes an event that one of several tests passes; None, no test, passes all."""
    # Thousands of them, one inside the other, would be deeper than Python goes.
    tests = tuple(test for test in alternatives if test is not None)
    if len(tests) < len(alternatives):
        return None
    return tests[0] if len(tests) == 1 else lambda state, event: any(test(state, event) for test in tests)


def _both(one: Test | None, two: Test | None) -> Test | None:
    if one is None or two is None:
        return one or two
    return lambda state, event: one(state, event) and two(state, event)


def pattern_types(pattern: Pattern) -> frozenset[str]:
    """Return the event types that a pattern names, or views of them."""
    return frozenset(name for alternative in pattern.alternatives for name in alternative.types)


def fields_read(pattern: Pattern, *names: str) -> frozenset[tuple[str, str]]:
    """Return (event type, field) of all that the filters of a pattern read, and of fields by name of every event."""
    shared = set[str]() if pattern.where is None else _fields_of(pattern.where)
    shared.update(name for name in names if name not in COUNTED)
    read = {(event, field) for event in pattern_types(pattern) for field in shared}
    for alternative in pattern.alternatives:
        own = set[str]() if alternative.where is None else _fields_of(alternative.where)
        read |= {(name, field) for name in alternative.types for field in own}
    return frozenset(read)


def _fields_of(predicate: Predicate) -> set[str]:
    """Return the fields that a filter reads."""
    return {ref.name for ref in refs(predicate) if not ref.builtin}


# -- canonical form ---------------------------------------------------------------------------------------------------


def pattern_key(pattern: Pattern, clock: Clock) -> str:
    """Return the canonical form of a pattern: alternatives ordered, the zone named only where a filter asks for it."""
    parts = sorted({_alternative_key(alternative) for alternative in pattern.alternatives})
    key = parts[0] if len(parts) == 1 else "[" + ",".join(parts) + "]"
    if pattern.where is not None:
        key = f"({key} where {predicate_key(pattern.where)})"
    return f"{key}@{clock.key}" if _uses_clock(pattern) else key


def _alternative_key(alternative: Alternative) -> str:
    name = alternative.event.text if alternative.role is None else view_of(alternative)
    if alternative.counts is not None:
        name = f"{name}:{alternative.counts.text}"
    return name if alternative.where is None else f"({name} where {predicate_key(alternative.where)})"


def view_of(alternative: Alternative) -> str:
    """Return an alternative's event as it is written: `like`, `like as author`."""
    role = alternative.role
    return alternative.event.text if role is None else f"{alternative.event.text}{AS}{role.text}"


def predicate_key(predicate: Predicate) -> str:
    """Return the canonical form of a predicate: parts and members ordered and said once."""
    match predicate:
        case Compare(left=left, op=op, right=right):
            sign = op if op in SIGNS else f" {op} "
            return f"{expression_key(left)}{sign}{expression_key(right)}"
        case Member(left=left, negated=negated, values=values):
            return f"{expression_key(left)}{' not' * negated} in {sorted({constant_key(value) for value in values})}"
        case Contains(left=left, negated=negated, list=listed):
            return f"{expression_key(left)}{' not' * negated} in {listed.name}"
        case Present(left=left, negated=negated):
            return f"{left.name} is{' not' * negated} present"
        case Truth(left=left):
            return f"{left.name}=true"
        case Not(part=part):
            return f"not({predicate_key(part)})"
        case And(parts=parts):
            return "and(" + ",".join(sorted({predicate_key(part) for part in parts})) + ")"
        case Or(parts=parts):
            return "or(" + ",".join(sorted({predicate_key(part) for part in parts})) + ")"


def _uses_clock(pattern: Pattern) -> bool:
    predicates = [pattern.where, *(alternative.where for alternative in pattern.alternatives)]
    return any(uses_builtin(predicate) for predicate in predicates if predicate is not None)


def uses_builtin(predicate: Predicate) -> bool:
    """Return whether a predicate reads the event's own time by the clock of a zone."""
    return any(ref.builtin and ref.name in ZONED for ref in refs(predicate))

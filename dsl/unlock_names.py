"""Patterns over `unlocks` where achievements have other names than the file says: those under which they are stored.

A filter may say anything about a name: that it is equal to one, or begins with a word. Which achievements pass is known
once all of them are, so that a part of a filter that reads the name alone becomes a list of those that pass it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.built_ins import UNLOCKS
from dsl.event import Event
from dsl.expressions import refs
from dsl.filters import compile_test
from dsl.progress import State
from dsl.syntax import And, Compare, Literal, Member, Not, Or, Pattern, Ref
from dsl.unlocks import filter_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.counted import Counted
    from dsl.filters import Getter
    from dsl.syntax import Alternative, Leaf, Predicate

_ACHIEVEMENT: Final = "achievement"
_NO_STATE: Final = State()


def under_names(pattern: Pattern, names: Mapping[str, str]) -> Pattern:
    """Return a pattern that counts the same unlocks where achievements are called as `names` has it."""
    over = [one.event.text == UNLOCKS for one in pattern.alternatives]
    if not any(over) or not _concerns(pattern, names):
        return pattern
    if pattern.where is None or all(over):
        counted = frozenset[str]().union(*(_names(one.counts) for one in pattern.alternatives))
        where = None if pattern.where is None else _under(pattern.where, counted, names)
        return replace(
            pattern, where=where, alternatives=tuple(_alternative(one, names) for one in pattern.alternatives)
        )
    # The filter of the list is for declared events, too, and a field of theirs may have any name.
    apart = (replace(one, where=filter_of(pattern, one)) for one in pattern.alternatives)
    return replace(pattern, where=None, alternatives=tuple(_alternative(one, names) for one in apart))


def _concerns(pattern: Pattern, names: Mapping[str, str]) -> bool:
    return any(one.counts is None or not one.counts.names.isdisjoint(names) for one in pattern.alternatives)


def _names(counts: Counted | None) -> frozenset[str]:
    return frozenset[str]() if counts is None else counts.names


def _alternative(one: Alternative, names: Mapping[str, str]) -> Alternative:
    if one.event.text != UNLOCKS:
        return one
    where = None if one.where is None else _under(one.where, _names(one.counts), names)
    counts = one.counts
    if counts is not None:
        counts = replace(counts, names=frozenset(names.get(name, name) for name in counts.names))
    return replace(one, where=where, counts=counts)


def _under(where: Predicate, counted: frozenset[str], names: Mapping[str, str]) -> Predicate:
    match where:
        case And(parts=parts) | Or(parts=parts):
            return replace(where, parts=tuple(_under(part, counted, names) for part in parts))
        case Not(part=part):
            return replace(where, part=_under(part, counted, names))
        case _:
            return _leaf(where, counted, names)


def _leaf(leaf: Leaf, counted: frozenset[str], names: Mapping[str, str]) -> Leaf:
    read = {(ref.name, ref.builtin) for ref in refs(leaf)}
    if read != {(_ACHIEVEMENT, False)}:
        return leaf
    match leaf:
        case Compare(left=Ref(), op="=" | "!=", right=Literal() as name):
            return replace(leaf, right=_literal(name, names))
        case Member(left=Ref(), values=values):
            return replace(
                leaf, values=tuple(_literal(each, names) if isinstance(each, Literal) else each for each in values)
            )
        case _:
            test = compile_test(leaf, _getter)
            passing = (
                name for name in counted if test(_NO_STATE, Event("", "", UNLOCKS, "", 0, 0, {_ACHIEVEMENT: name}))
            )
            values = tuple(Literal(value=name) for name in sorted(names.get(name, name) for name in passing))
            return Member(left=Ref(name=_ACHIEVEMENT), negated=False, values=values, span=leaf.span)


def _literal(name: Literal, names: Mapping[str, str]) -> Literal:
    return replace(name, value=names.get(name.value, name.value)) if isinstance(name.value, str) else name


def _getter(ref: Ref) -> Getter:
    name = ref.name
    return lambda state, event: event.fields.get(name)

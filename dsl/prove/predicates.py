"""Filters: can anything pass, and does one filter imply another?

Where a filter compares fields with constants, trying a few values of each field decides it. Any other comparison (of
two fields, of a length, of an element of a list) is *opaque*: it is taken to come out either way, whatever else is
known, but the same way where it is asked twice. So more is thought possible than is, and what is proven impossible is.
Parts that share no field are tried one after the other; what would take too long is left undecided.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from dsl.event import Event
from dsl.expressions import constant, is_constant
from dsl.filters import SIGNS, compile_test, predicate_key
from dsl.progress import State
from dsl.prove.values import DISTINGUISHED, Domain, candidates
from dsl.syntax import And, Compare, Contains, Member, Not, Or, Ref, Truth
from dsl.types import FieldType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dsl.filters import Getter
    from dsl.syntax import Duration, Leaf, Operand, Predicate
    from dsl.types import Value

    Domains = Callable[[Ref], Domain | None]

MAX_TRIED: Final = 4096
"""Combinations of values that are tried before a question is left undecided."""

MAX_PARTS: Final = 100
"""Parts of a filter above which nothing is asked of it."""

OPAQUE: Final = "?"
"""Begins the name under which an opaque comparison is tried, as if it were a bool field."""

_NOTHING: Final = Event(tenant="", id="", type="", user="", at=0, offset=0, fields={})


class Search(NamedTuple):
    """Whether something passes (None: undecided) and, where it does, the values of the fields that are asked for."""

    found: bool | None
    values: dict[str, Value | None]


UNDECIDED: Final = Search(None, {})


def search(predicates: Iterable[Predicate], domains: Domains) -> Search:
    """Look for values that satisfy all the predicates."""
    parts = [part for predicate in predicates for part in conjuncts(_shown_as_bools(predicate))]
    if len(parts) > MAX_PARTS:
        return UNDECIDED
    values: dict[str, Value | None] = {}
    undecided = False
    for group in _apart(parts):
        tried = _try(group, domains)
        if tried.found is False:
            return Search(found=False, values={})
        undecided |= tried.found is None
        values |= tried.values
    return UNDECIDED if undecided else Search(found=True, values=values)


def follows(given: Iterable[Predicate], then: Predicate, domains: Domains) -> bool:
    """Return whether it is proven that what satisfies all that is given satisfies the other predicate."""
    return search([*given, Not(part=then)], domains).found is False


def conjuncts(predicate: Predicate) -> Iterator[Predicate]:
    """Yield the parts that must all be true."""
    match predicate:
        case And(parts=parts):
            for part in parts:
                yield from conjuncts(part)
        case Not(part=Or(parts=parts)):
            for part in parts:
                yield from conjuncts(Not(part=part))
        case Not(part=Not(part=part)):
            yield from conjuncts(part)
        case _:
            yield predicate


def comparisons(predicate: Predicate) -> Iterator[tuple[Ref, tuple[Value, ...]]]:
    """Yield every field, trait or built-in that a predicate asks for, and what it is compared with."""
    match predicate:
        case Not(part=part):
            yield from comparisons(part)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from comparisons(part)
        case _ if _is_opaque(predicate):
            yield Ref(name=f"{OPAQUE}{predicate_key(predicate)}"), ()
        case Compare(left=Ref() as left, right=right):
            yield left, (constant(cast("Operand | Duration", right)),)
        case Member(left=Ref() as left, values=values):
            yield left, tuple(map(constant, values))
        case _:
            yield cast("Ref", predicate.left), ()


def _is_opaque(leaf: Leaf) -> bool:
    """Return whether a comparison is not one of a field, or of a part of the event's time, with constants."""
    match leaf:
        case Compare(left=left, op=op, right=right):
            plain = op in SIGNS and is_constant(right)
        case Contains(left=left):
            plain = False
        case _:
            left, plain = leaf.left, True
    return not plain or not isinstance(left, Ref) or (left.builtin and left.name not in DISTINGUISHED)


def _shown_as_bools(predicate: Predicate) -> Predicate:
    """Return a predicate with each opaque comparison as a bool field of its own."""
    match predicate:
        case Not(part=part):
            return Not(part=_shown_as_bools(part))
        case And(parts=parts):
            return And(parts=tuple(map(_shown_as_bools, parts)))
        case Or(parts=parts):
            return Or(parts=tuple(map(_shown_as_bools, parts)))
        case _ if _is_opaque(predicate):
            return Truth(left=Ref(name=f"{OPAQUE}{predicate_key(predicate)}"))
        case _:
            return predicate


def _apart(parts: Sequence[Predicate]) -> list[list[Predicate]]:
    """Group the parts so that no two groups ask for the same field."""
    groups: list[tuple[set[str], list[Predicate]]] = []
    for part in parts:
        names, members = {ref.name for ref, _ in comparisons(part)}, [part]
        rest: list[tuple[set[str], list[Predicate]]] = []
        for group in groups:
            if group[0] & names:
                names, members = names | group[0], [*group[1], *members]
            else:
                rest.append(group)
        groups = [*rest, (names, members)]
    return [members for _, members in groups]


def _try(parts: Sequence[Predicate], domains: Domains) -> Search:
    """Try every combination of values that the parts can distinguish."""
    constants: dict[str, list[Value]] = {}
    known: dict[str, Domain] = {}
    for ref, values in (pair for part in parts for pair in comparisons(part)):
        domain = Domain(FieldType.BOOL, ref.name) if ref.name.startswith(OPAQUE) else domains(ref)
        if domain is None:
            return UNDECIDED
        known[ref.name] = domain
        constants.setdefault(ref.name, []).extend(values)
    choices = [candidates(known[name], constants[name]) for name in known]
    if prod(map(len, choices)) > MAX_TRIED:
        return UNDECIDED
    found = _first(parts, list(known), choices)
    # What is possible if opaque comparisons are free may not be possible.
    return UNDECIDED if found.found and any(name.startswith(OPAQUE) for name in known) else found


def _first(parts: Sequence[Predicate], names: list[str], choices: list[list[Value | None]]) -> Search:
    current: dict[str, Value | None] = {}

    def getter(ref: Ref) -> Getter:
        name = ref.name
        return lambda state, event: current[name]

    tests = [compile_test(part, getter) for part in parts]
    state = State()
    for values in product(*choices):
        current.update(zip(names, values, strict=True))
        if all(test(state, _NOTHING) for test in tests):
            return Search(found=True, values=dict(current))
    return Search(found=False, values={})

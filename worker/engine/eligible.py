"""Whether a user is one of those that an achievement is for, as far as the traits say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.event import Event
from dsl.expressions import refs
from dsl.filters import compile_test
from dsl.judge import trait_getter
from dsl.syntax import And, Not, Or, Predicate, Present

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dsl.progress import State

    Eligible = Callable[[State], bool | None]

_NONE: Final = Event(tenant="", id="", type="", user="", at=0, offset=0, fields={})
"""In the place of an event, at which a `for` does not look."""


def eligibility(predicate: Predicate | None, decimals: frozenset[str]) -> Eligible:
    """Return what tells whether a `for` admits a user; `decimals` names the traits that are declared so.

    True is what the engine would say at an event now. Where it would not admit the user, False means that the traits
    decide that, and None that one which may change it is not known.
    """
    if predicate is None:
        return lambda state: True
    getter = trait_getter(decimals)
    admits, known = compile_test(predicate, getter), _known(predicate, decimals)
    return lambda state: True if admits(state, _NONE) else known(state)


def _known(predicate: Predicate, decimals: frozenset[str]) -> Eligible:
    """Return a predicate in a logic of three values: a comparison with an absent trait is None."""
    match predicate:
        case Not(part=part):
            inner = _known(part, decimals)
            return lambda state: _not(inner(state))
        case And(parts=parts):
            every = tuple(_known(part, decimals) for part in parts)
            return lambda state: _all(known(state) for known in every)
        case Or(parts=parts):
            some = tuple(_known(part, decimals) for part in parts)
            return lambda state: _not(_all(_not(known(state)) for known in some))
        case Present():
            test = compile_test(predicate, trait_getter(decimals))
            return lambda state: test(state, _NONE)
        case _:
            getter = trait_getter(decimals)
            test, values = compile_test(predicate, getter), [getter(ref) for ref in refs(predicate)]
            return lambda state: None if any(value(state, _NONE) is None for value in values) else test(state, _NONE)


def _not(value: bool | None) -> bool | None:  # noqa: FBT001 - it is the operand
    return None if value is None else not value


def _all(values: Iterable[bool | None]) -> bool | None:
    found = set(values)
    return False if False in found else None if None in found else True

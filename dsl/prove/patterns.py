"""Patterns: which events can match one at all, and which match another because they match this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.built_ins import UNLOCKS
from dsl.filters import pattern_types, predicate_key, uses_builtin
from dsl.prove.predicates import Search, follows, search
from dsl.prove.values import Domain, of_field
from dsl.roles import base_of
from dsl.syntax import And, Or

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsl.schema import EventSchema
    from dsl.syntax import Alternative, Pattern, Predicate, Ref, Zone
    from dsl.types import FieldType


MAX_ALTERNATIVES: Final = 100
"""Alternatives of two patterns above which they are not compared."""


class Patterns:
    """Answers questions about patterns over declared events, and about `for` over declared traits.

    With `ledger`, of all events that the ledger may hold: those that came under an earlier contract may lack a field
    that is required by now (a value that does not fit the contract counts as absent). Without, of events as declared.
    Answers are kept: thousands of rules ask the same.
    """

    def __init__(
        self, events: Mapping[str, EventSchema], traits: Mapping[str, FieldType], *, ledger: bool = False
    ) -> None:
        self.events = events
        self._traits = traits
        self._ledger = ledger
        self._known: dict[tuple[str, ...], Search] = {}

    def domain(self, event: str, ref: Ref) -> Domain | None:
        """Return what a field of an event, or a built-in, may be."""
        if ref.builtin:
            return Domain(None, ref.name)
        schema = self.events.get(base_of(event))
        field = None if schema is None else schema.fields.get(ref.name)
        return None if field is None else of_field(field, absent=self._ledger)

    def trait(self, ref: Ref) -> Domain | None:
        """Return what a trait may be."""
        kind = self._traits.get(ref.name)
        return None if kind is None else Domain(kind, ref.name, optional=True)

    # -- what passes --

    def find(self, event: str, predicates: Iterable[Predicate | None]) -> Search:
        """Look for an event of a type that passes all filters; None is the filter that lets everything pass."""
        asked = [predicate for predicate in predicates if predicate is not None]
        key = (base_of(event), *sorted(predicate_key(predicate) for predicate in asked))
        if key not in self._known:
            self._known[key] = search(asked, lambda ref: self.domain(event, ref))
        return self._known[key]

    def find_user(self, predicates: Iterable[Predicate]) -> Search:
        """Look for traits that satisfy all the predicates."""
        return search(predicates, self.trait)

    def follows(self, event: str, given: Iterable[Predicate | None], then: Predicate) -> bool:
        """Return whether an event of a type that passes some filters is proven to pass another."""
        asked = [predicate for predicate in given if predicate is not None]
        return follows(asked, then, lambda ref: self.domain(event, ref))

    def follows_for_users(self, given: Iterable[Predicate], then: Predicate) -> bool:
        """Return whether a user who satisfies some predicates over traits is proven to satisfy another."""
        return follows(given, then, self.trait)

    # -- what implies what --

    def covers(self, one: Pattern, two: Pattern, *, same_clock: bool, narrowed: Predicate | None = None) -> bool:
        """Return whether every event that matches `one` (and passes `narrowed`) is proven to match `two`.

        `same_clock` says that both read the wall clock in the same zone.
        """
        types = pattern_types(one)
        if len(one.alternatives) + len(two.alternatives) > MAX_ALTERNATIVES or not types <= pattern_types(two):
            return False
        return all(self._covers(event, one, two, narrowed, same_clock=same_clock) for event in types)

    def _covers(self, event: str, one: Pattern, two: Pattern, narrowed: Predicate | None, *, same_clock: bool) -> bool:
        given, then = (filter_of(one, event), narrowed), filter_of(two, event)
        if event == UNLOCKS and event in self.events:
            # Which achievements a filter sees at all depends on what it names, so that only equal ones are compared.
            return [each and predicate_key(each) for each in given] == [then and predicate_key(then), None]
        if then is None:
            return True
        if not same_clock and uses_builtin(then) and any(part is not None and uses_builtin(part) for part in given):
            return False
        return self.follows(event, given, then)


def filter_of(pattern: Pattern, event: str) -> Predicate | None:
    """Return what an event of a type must pass to match a pattern that names the type; None: nothing."""
    inner = _either([alternative for alternative in pattern.alternatives if event in alternative.types])
    if inner is None or pattern.where is None:
        return inner or pattern.where
    return And(parts=(inner, pattern.where))


def _either(alternatives: list[Alternative]) -> Predicate | None:
    filters = [alternative.where for alternative in alternatives if alternative.where is not None]
    if len(filters) < len(alternatives):
        return None
    return filters[0] if len(filters) == 1 else Or(parts=tuple(filters))


def zone_key(tz: Zone | None) -> str:
    """Return the zone of a `tz=` as text that equal zones share."""
    if tz is None:
        return '"UTC"'
    return f'"{tz.name}"' if tz.kind == "iana" else tz.kind

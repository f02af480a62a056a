"""The common parts of aggregates and conditions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dsl.event import Event, Position
from dsl.progress import Amount, Grant, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.filters import Test
    from dsl.local_time import Now
    from dsl.nodes.late import LateStep

    Tests = Mapping[str, Test | None]

Step = Callable[[State, Event], list[Grant] | None]
"""Folds an event into a state, in place; returns what is earned by it, None where that is nothing."""

BEGINNING = Position(-(2**63), "")
"""Before every event."""


class Reach(NamedTuple):
    """The events that count towards a condition at a moment: positions from `floor` on, before the instant `end` (us).

    They lie in all the spans around the condition that reach to the moment. Only the start of a streak's unit can lie
    after a moment, because the clocks of events may differ.
    """

    floor: Position = BEGINNING
    end: int = 2**63

    def has(self, place: Position | None) -> bool:
        """Return whether a place, or a latest start, lies inside."""
        return place is not None and place >= self.floor and place.at < self.end

    def meet(self, other: Reach) -> Reach:
        """Return the intersection of both."""
        return Reach(max(self.floor, other.floor), min(self.end, other.end))


EVERYWHERE = Reach()


class Measure(NamedTuple):
    """The progress of a condition: a fraction of 1 and, for an atomic condition, current and target.

    The fraction is 1 exactly if the condition holds. A total equal to a bound that it must exceed has a fraction just
    below 1.
    """

    fraction: Fraction
    current: Amount | None = None
    target: Amount | None = None


NOTHING = Measure(Fraction(0))
ALL = Measure(Fraction(1))
NONE_OF_ONE = Measure(Fraction(0), 0, 1)


def measure(current: Amount, target: Amount) -> Measure:
    """Return the measure of `current` of `target`, clamped to it, never below zero.

    A bound of zero or less has no partial progress: it is reached or not.
    """
    if target <= 0:
        return NONE_OF_ONE
    shown = min(max(current, 0), target)
    if type(shown) is int and type(target) is int:  # a key finds no decimal that is equal to one of these
        return _of_whole_numbers(shown, target)
    return Measure(Fraction(shown) / Fraction(target), shown, target)


@lru_cache(maxsize=4096)
def _of_whole_numbers(shown: int, target: int) -> Measure:
    return Measure(Fraction(shown, target), shown, target)


def whole(target: Amount) -> Measure:
    """Return the measure of an atomic condition that holds."""
    return _all_of(target) if type(target) is int else _whole(target)


def _whole(target: Amount) -> Measure:
    return Measure(Fraction(1), target, target) if target > 0 else Measure(Fraction(1), 1, 1)


_all_of: Final = lru_cache(maxsize=1024)(_whole)


class Gate(NamedTuple):
    """The judges that look at one aggregate and at nothing else, behind the moves that can concern them.

    Nothing is earned below the bound `least`, and nothing is left to earn once `top`, the ruling of the highest, is.
    """

    least: Amount
    top: int
    judge: Step


def _nothing(state: State, event: Event) -> list[Grant] | None:
    del state, event


CLOSED = Gate(10**200, -1, _nothing)
"""No judge: the bound is more than any sum."""


def only(test: Test | None, step: Step) -> Step:
    """Return the step for events that pass a test, None where all do."""
    return step if test is None else lambda state, event: step(state, event) if test(state, event) else None


def in_turn(steps: Sequence[Step]) -> Step:
    """Return one step for several."""
    if len(steps) == 1:
        return steps[0]
    if not steps:
        return _nothing
    return lambda state, event: [grant for step in steps for grant in step(state, event) or ()]


class Aggregate(Protocol):
    """A stored value, in `slot` of a state's nodes."""

    slot: int
    types: frozenset[str]
    """Event types that step it."""

    def key(self) -> str:
        """Return the canonical form of the state; final once the whole plan is built."""
        ...

    def stepper(self, event_type: str) -> Step:
        """Return the step for events of one type."""
        ...

    def late(self, event_type: str) -> LateStep | None:
        """Return the step for late events of one type, None where there is no rule for them."""
        ...


class Condition(Protocol):
    """A question to the aggregates below it."""

    types: frozenset[str]
    """Event types at which its answer can change."""

    def start(self, state: State) -> Position | None:
        """Return the latest start; only asked where it was compiled to be tracked."""
        ...

    def holds(self, state: State) -> bool:
        """Return whether it holds, on all that was folded."""
        ...

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """Return the progress at a moment within reach: full if the latest start is within reach."""
        ...

"""What aggregates and conditions have in common."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, Protocol

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
    """What counts towards a condition in a moment: places from `floor` on, before the instant `end` (microseconds).

    It is what lies in all the spans around the condition that reach to the moment. Nothing but the begin of a streak's
    unit lies behind a moment, as the clocks of events may differ.
    """

    floor: Position = BEGINNING
    end: int = 2**63

    def has(self, place: Position | None) -> bool:
        """Tell whether a place, or a latest start, lies inside."""
        return place is not None and place >= self.floor and place.at < self.end

    def meet(self, other: Reach) -> Reach:
        """Return what lies inside of both."""
        return Reach(max(self.floor, other.floor), min(self.end, other.end))


EVERYWHERE = Reach()


class Measure(NamedTuple):
    """How far a condition is: a fraction of 1 and, for an atomic condition, current and target.

    The fraction is 1 where the condition holds, and nowhere else. So a total that lies on a bound which it must exceed
    is as good as there, and its fraction is less.
    """

    fraction: Fraction
    current: Amount | None = None
    target: Amount | None = None


NOTHING = Measure(Fraction(0))
ALL = Measure(Fraction(1))
NONE_OF_ONE = Measure(Fraction(0), 0, 1)


def measure(current: Amount, target: Amount) -> Measure:
    """Return the measure of `current` of `target`, clamped to it, never below nought.

    There is no way towards a bound that is not above nought: that is reached or not.
    """
    if target <= 0:
        return NONE_OF_ONE
    shown = min(max(current, 0), target)
    return Measure(Fraction(shown) / Fraction(target), shown, target)


def whole(target: Amount) -> Measure:
    """Return the measure of an atomic condition that holds."""
    return Measure(Fraction(1), target, target) if target > 0 else Measure(Fraction(1), 1, 1)


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
    """Something remembered, in `slot` of a state's nodes."""

    slot: int
    types: frozenset[str]
    """Event types that step it."""

    def key(self) -> str:
        """Return the canonical form of what is remembered; final once the whole plan is built."""
        ...

    def stepper(self, event_type: str) -> Step:
        """Return the step for events of one type."""
        ...

    def late(self, event_type: str) -> LateStep | None:
        """Return the step for late events of one type, None where there is no rule for them."""
        ...


class Condition(Protocol):
    """Something asked, of the aggregates below it."""

    types: frozenset[str]
    """Event types at which its answer can change."""

    def start(self, state: State) -> Position | None:
        """Return the latest start; only asked where it was compiled to be tracked."""
        ...

    def holds(self, state: State) -> bool:
        """Tell whether it holds, on all that was folded."""
        ...

    def measure(self, state: State, now: Now, reach: Reach) -> Measure:
        """Return the progress in a moment, of what lies within reach: full where the latest start does."""
        ...

"""One subject without a stored state, folded by new rules from its beginning. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.fold import reach, start, walk
from worker.engine.reconcile import Complete
from worker.engine.state_cache import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from dsl.compile import Plan
    from dsl.event import Event, Position
    from dsl.progress import Grant


class Earned(NamedTuple):
    """What a subject has earned of some rulings, and how much that says of its stored unlocks."""

    grants: Sequence[Grant]
    complete: Complete


def earned_of(
    grants: Sequence[Grant],
    keys: AbstractSet[tuple[str, str]],
    since: Position,
    anew: AbstractSet[tuple[str, str]] = frozenset(),
) -> Earned:
    """Return the grants of `keys`, rulings of the new rules, as all that was earned of them behind a position.

    Of those of `anew` they are all from the beginning. Of other rulings they say nothing.
    """

    def still_ruled(achievement: str, tier: str) -> bool:
        return (achievement, tier) in keys

    kept = [grant for grant in grants if (grant.achievement, grant.tier or "") in keys]
    return Earned(kept, Complete(since, still_ruled, anew))


class WholeFold:
    """Feed it all events of the plan's types, in canonical order. Only grants of `keys` count.

    What has earned all that it may is folded no further: the state is not kept.
    """

    def __init__(self, plan: Plan, keys: AbstractSet[tuple[str, str]]) -> None:
        self._plan = plan
        self._keys = keys
        self._state = start(plan)
        self._grants: list[Grant] = []

    def feed(self, events: list[Event]) -> None:
        """Fold more events."""
        self._grants += walk(self._plan, self._state, events, kept=False)

    def earned(self, clock: int) -> Earned:
        """Return what comes of it by a clock (microseconds), once all events are folded."""
        self._grants += reach(self._plan, self._state, clock)
        return earned_of(self._grants, self._keys, BEGINNING)

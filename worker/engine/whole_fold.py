"""One subject without a stored state, folded by new rules from its beginning. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.fold import start, walk
from worker.engine.reconcile import Complete
from worker.engine.state_cache import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.progress import Grant


class Earned(NamedTuple):
    """What a subject has earned of some rulings, and how much that says of its stored unlocks."""

    grants: Sequence[Grant]
    complete: Complete


class WholeFold:
    """Feed it all events of the plan's types, in canonical order. Only grants of `keys` count."""

    def __init__(self, plan: Plan, keys: AbstractSet[tuple[str, str]]) -> None:
        self._plan = plan
        self._keys = keys
        self._state = start(plan)
        self._grants: list[Grant] = []

    def feed(self, events: list[Event]) -> None:
        """Fold more events."""
        self._grants += walk(self._plan, self._state, events)

    def earned(self, rules_on: Callable[[str, str], bool]) -> Earned:
        """Return what comes of it, once all events are folded; `rules_on` tells what the new rules judge."""
        keys = self._keys

        def still_ruled(achievement: str, tier: str) -> bool:
            return (achievement, tier) in keys and rules_on(achievement, tier)

        grants = [grant for grant in self._grants if (grant.achievement, grant.tier or "") in keys]
        return Earned(grants, Complete(BEGINNING, still_ruled))

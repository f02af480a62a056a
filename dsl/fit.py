"""Whether the node of an aggregate serves an equal one that has to remember more, or less.

An aggregate remembers as much as the highest bound asks that looks at it. With a higher one beside, a node is whole if
nothing of it was left out before; with a lower one, it is cut. Distinct values stay: no bound asks for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dsl.nodes.groups import Groups
from dsl.nodes.recent import RecentDistinct, RecentEvents, RecentSum, total_of
from dsl.nodes.totals import Distinct
from dsl.progress import KeyedGroups, NodeState, Recent, RecentAmounts, RecentValues, SinceValues, UnitValues, Values
from dsl.values import minus

if TYPE_CHECKING:
    from dsl.nodes.node import Aggregate
    from dsl.progress import Amount

Fit = Callable[[NodeState], NodeState | None]
"""Returns the node as the other aggregate has it, None where events are needed to tell."""


def fit(old: Aggregate, new: Aggregate) -> Fit | None:
    """Return how nodes of an aggregate become those of an equal one; None where they are the same."""
    match old, new:
        case (Distinct(cap=before), Distinct(cap=after)) if before < after:
            return _distinct(before)
        case (RecentEvents(cap=before), RecentEvents(cap=after)) if before != after:
            return _recent(int(before), int(after))
        case (RecentDistinct(cap=before), RecentDistinct(cap=after)) if before != after:
            return _recent(int(before), int(after))
        case (RecentSum(cap=before), RecentSum(cap=after)) if before != after:
            return _amounts(before, after)
        case (Groups(cap=before), Groups(cap=after)) if before != after:
            return _latest(before, after)
        case _:
            return None


def _latest(before: int, after: int) -> Fit:
    """Return the fit of the latest starts of groups: the earliest go first."""

    def fits(node: NodeState) -> NodeState | None:
        if not isinstance(node, KeyedGroups) or (after > max(before, 1) and node.holding >= before):
            return None
        if before <= 1 < after:
            return None if node.holding else node
        kept = node.latest[max(0, len(node.latest) - after) :] if after > 1 else []
        return replace(node, latest=kept)

    return fits


def _distinct(before: int) -> Fit:
    """Return the fit of values: those that are fewer than the bound are all that there were."""

    def fits(node: NodeState) -> NodeState | None:
        match node:
            case Values(seen=seen):
                whole = len(seen) < before
            case UnitValues(best=best) | SinceValues(best=best):
                whole = best < before
            case _:
                whole = False
        return node if whole else None

    return fits


def _recent(before: int, after: int) -> Fit:
    """Return the fit of positions: the oldest go first."""

    def fits(node: NodeState) -> NodeState | None:
        match node:
            case Recent(positions=positions):
                return Recent(positions[-after:]) if after < before or len(positions) < before else None
            case RecentValues(last=last) if after < before or len(last) < before:
                return RecentValues(dict(islice(last.items(), max(0, len(last) - after), None)))
            case _:
                return None

    return fits


def _amounts(before: Amount, after: Amount) -> Fit:
    """Return the fit of a run of amounts: as short as it can be with a total of more than the bound."""

    def fits(node: NodeState) -> NodeState | None:
        if not isinstance(node, RecentAmounts) or (after > before and total_of(node) > before):
            return None
        total, beyond = total_of(node), 0
        for _, amount in node.items:
            if (rest := minus(total, amount)) <= after:
                break
            total, beyond = rest, beyond + 1
        return RecentAmounts(node.items[beyond:], total)

    return fits

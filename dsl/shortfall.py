"""How many events a condition is short of: as long as there are not that many more, it cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.built_ins import UNLOCKS
from dsl.nodes.bound import Bound
from dsl.nodes.compose import Combined
from dsl.nodes.totals import Distinct, Reached, Total

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.nodes.node import Condition
    from dsl.progress import Amount, State

    Shortfall = Callable[[State], Amount]


def shortfall(condition: Condition) -> Shortfall:
    """Return what tells how many events have to come, at least, before a condition holds; 0 or less if it may at any.

    An event adds one to a count, and one value to a distinct count. Of an amount that an event brings nothing is known,
    and nothing of how many unlocks it brings.
    """
    match condition:
        case Reached(total=total, bound=Bound(op=">=", bound=bound)) if _counts(total):
            return _below(total, bound)
        case Combined(parts=parts, k=k) if k:
            each = [shortfall(part) for part in parts]
            return lambda state: sorted(short(state) for short in each)[k - 1]
        case _:
            return _unknown


class Needed(NamedTuple):
    """A plain count, by the slot of its node, and what it has to reach."""

    slot: int
    least: int


def needed(condition: Condition) -> tuple[Needed, ...] | None:
    """Return some counts: before a condition holds, one of them reaches its bound; None where others decide too.

    If `k` of `n` parts hold, at least one holds of any `n - k + 1` of them.
    """
    match condition:
        case Reached(total=total, bound=Bound(op=">=", bound=int(bound))) if type(total) is Total and _counts(total):
            return (Needed(total.slot, bound),)
        case Combined(parts=parts, k=k) if k:
            known = [found for part in parts if (found := needed(part)) is not None]
            known.sort(key=len)
            enough = len(parts) - k + 1
            return None if len(known) < enough else tuple(one for found in known[:enough] for one in found)
        case _:
            return None


def _counts(total: Total) -> bool:
    by_ones = type(total) is Distinct or (type(total) is Total and total.field is None)
    return by_ones and UNLOCKS not in total.types


def _below(total: Total, bound: Amount) -> Shortfall:
    best = total.teller()
    return lambda state: bound - best(state)


def _unknown(state: State) -> Amount:
    del state
    return 0

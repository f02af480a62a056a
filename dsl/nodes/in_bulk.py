"""Events of one subject taken by an aggregate together: what their steps would do one by one, with the same grants.

An aggregate that only its own judges look at may take a whole run of events before the next aggregate takes any. Most
runs reach no bound, and then a sum over the run is all that there is to do. See dsl/strands.py.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from dsl.calendar import MAX_OFFSET, unit_index
from dsl.local_time import FixedClock
from dsl.progress import Run, Tally, Values
from dsl.values import value_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.event import Event
    from dsl.nodes.node import Gate, Step
    from dsl.nodes.streak import Streaks
    from dsl.nodes.totals import Distinct, Total
    from dsl.progress import Grant, State

    Bulk = Callable[[State, Sequence[Event]], list[Grant]]
    """Takes events of one subject that match, at least one, in canonical order."""

_BEFORE_ALL: Final = -(1 << 62)
"""A unit from which no run goes on."""


def one_by_one(step: Step) -> Bulk:
    """Return what takes events one after the other."""

    def take(state: State, events: Sequence[Event]) -> list[Grant]:
        grants: list[Grant] = []
        for event in events:
            if earned := step(state, event):
                grants += earned
        return grants

    return take


def counting(total: Total, gate: Gate) -> Bulk:
    """Return the bulk of `count(E)`."""
    slot, (least, top, judge) = total.slot, gate
    first = ceil(least)

    def count(state: State, events: Sequence[Event]) -> list[Grant]:
        nodes: dict[int, Any] = state.nodes
        node: Tally | None = nodes.get(slot)
        if node is None:
            node = nodes[slot] = Tally()
        before: Any = node.total
        node.total = after = before + len(events)
        if after < first or top in state.earned:
            return []
        grants: list[Grant] = []
        for place in range(max(0, first - before - 1), len(events)):
            node.total = before + place + 1
            grants += judge(state, events[place]) or ()
            if top in state.earned:
                break
        node.total = after
        return grants

    return count


def adding_up(total: Total, field: str, gate: Gate) -> Bulk:
    """Return the bulk of `sum(E, of=field)`; what is not all whole numbers is added one by one."""
    slot, (least, top, judge) = total.slot, gate
    step_by_step = one_by_one(total.adding_up(field, gate))

    def add_up(state: State, events: Sequence[Event]) -> list[Grant]:
        amounts: list[Any] = [event.fields.get(field) for event in events]
        nodes: dict[int, Any] = state.nodes
        node: Tally | None = nodes.get(slot)
        before = 0 if node is None else node.total
        if type(before) is not int or set(map(type, amounts)) != {int}:
            return step_by_step(state, events)
        if node is None:
            node = nodes[slot] = Tally()
        if top in state.earned:
            node.total = before + sum(amounts)
            return []
        totals = [*accumulate(amounts, initial=before)]
        node.total = totals[-1]
        del totals[0]
        if max(totals) < least:
            return []
        grants: list[Grant] = []
        for reached, event in zip(totals, events, strict=True):
            if reached >= least:
                node.total = reached
                grants += judge(state, event) or ()
                if top in state.earned:
                    break
        node.total = totals[-1]
        return grants

    return add_up


def distinct(values: Distinct, gate: Gate) -> Bulk:
    """Return the bulk of `count(E, distinct=FIELD)`."""
    slot, field, cap, (least, top, judge) = values.slot, values.distinct, values.cap, gate

    def take(state: State, events: Sequence[Event]) -> list[Grant]:
        nodes: dict[int, Any] = state.nodes
        node: Values | None = nodes.get(slot)
        if node is not None and len(node.seen) >= cap:
            return []
        grants: list[Grant] = []
        for event in events:
            value = event.fields.get(field)
            if value is None:
                continue
            if node is None:
                node = nodes[slot] = Values()
            seen = node.seen
            seen.add(value_key(value))
            if len(seen) >= least:
                if top not in state.earned:
                    grants += judge(state, event) or ()
                if len(seen) >= cap:
                    break
        return grants

    return take


def streaks(of: Streaks, gate: Gate) -> Bulk:
    """Return the bulk of `streak(E, per=UNIT)`: as a whole where one event makes a unit active, in UTC."""
    length = of.clock.length_of(of.unit) if isinstance(of.clock, FixedClock) else None
    if length is None or of.minimum != 1 or of.keep:
        return one_by_one(of.moving(gate))
    slot, unit, bridged, (least, top, judge) = of.slot, of.unit, of.grace + 1, gate

    def take(state: State, events: Sequence[Event]) -> list[Grant]:
        nodes: dict[int, Any] = state.nodes
        node: Run | None = nodes.get(slot)
        if node is None:
            node = nodes[slot] = Run()
        before = [*of.runs(node)]
        actives, lengths = [index for index, _ in before], [run for _, run in before]
        last, run = before[-1] if before else (_BEFORE_ALL, 0)
        begin = None
        grants: list[Grant] = []
        best = node.best
        for event in events:
            index = event.at // length
            if index == last:
                continue  # an active unit
            run = run + 1 if index - last <= bridged else 1
            last, begin = index, event
            actives.append(index)
            lengths.append(run)
            if run > best:
                node.best = best = run
            if best >= least and top not in state.earned:
                grants += judge(state, event) or ()
        if begin is not None:
            _seal(node, actives, lengths, unit_index(unit, begin.at - MAX_OFFSET))
        return grants

    return take


def _seal(node: Run, actives: Sequence[int], lengths: Sequence[int], before: int) -> None:
    """Note active units, each with the run up to it; those below `before` are final."""
    sealed = bisect_left(actives, before)
    if sealed:
        node.last, node.sealed = actives[sealed - 1], lengths[sealed - 1]
    node.recent = [(index, 1) for index in actives[sealed:]]

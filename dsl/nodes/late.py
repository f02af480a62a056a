"""Events that come late: what an aggregate can take in behind what it has seen already, without folding anew.

An event is late where it lies before the last one folded. Of the moments since then an aggregate remembers next to
nothing, so that a rule has to prove two things from what is left: what the aggregate is after all events in order, and,
where a span looks at its latest start, that no span would have found anything new at any of those moments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dsl.event import Event, Position
from dsl.progress import State

if TYPE_CHECKING:
    from dsl.progress import NodeState

Undo = Callable[[State], None]
LateStep = Callable[[State, Event, Position], Undo | None]
"""Takes a late event in; returns what takes it out again, None where it cannot be taken and nothing has changed."""
Lift = Callable[[State, Event, Position], Position | None]
"""Returns how far a late event can lift the latest start of a condition, at its own moment or at any later one:
what the start was without it, or the returned position, whichever is later, is not exceeded. None: not at all."""


def nothing(state: State) -> None:
    """Take back nothing: the event has changed nothing."""
    del state


def unmoved(state: State, event: Event, position: Position) -> Position | None:
    """See `Lift`: no late event of the type lifts the start."""
    del state, event, position


def put(state: State, slot: int, node: NodeState) -> Undo:
    """Put another node into a slot; return what brings back the one that was there."""
    before = state.nodes.get(slot)
    state.nodes[slot] = node

    def back(state: State) -> None:
        if before is None:
            del state.nodes[slot]
        else:
            state.nodes[slot] = before

    return back

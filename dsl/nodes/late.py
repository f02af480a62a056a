"""Late events that an aggregate can add without folding again.

An event is late if it lies before the last folded one. An aggregate keeps almost nothing about the moments since
then. So a rule must prove two things from the remaining state: the state of the aggregate after all events in order,
and, if a span reads its latest start, that no span would have found a new start at any of those moments.
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
the start does not exceed the later of its value without the event and the returned position. None: not at all."""


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

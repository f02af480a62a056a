"""What a plan does at events of one type: the operations, put together so that most events reach only a few."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from dsl.judge import Judge, LateJudgement, Rung, gate_of
from dsl.memory import Entry
from dsl.nodes.late import LateStep
from dsl.nodes.node import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.memory import Operation


class Once(msgspec.Struct, frozen=True):
    """`once per`: the fields of the fingerprint, and the span in microseconds (None for ever)."""

    fields: tuple[str, ...]
    within: int | None


class Late(msgspec.Struct, frozen=True):
    """The operations of a late event that moves no grant: the aggregates that take it, and the judges to check."""

    takes: tuple[LateStep, ...]
    judges: tuple[LateJudgement, ...]


class Dispatch(msgspec.Struct, frozen=True):
    """The operations of one event type, or view of one, in one plan."""

    steps: tuple[Step, ...]
    once: Once | None
    traits: tuple[str, ...]
    late: Late | None
    """The operations of a late event of the type, None if the subject must be folded again."""
    base: str = ""
    """The event type itself: copies are found among all events of it, in whatever role."""
    own: int = 1
    """1 where the subject is the actor: a copy that is suppressed is counted in one history."""


class Wiring:
    """The operations on events of one type, arranged so that most events reach only a few.

    The gate of an aggregate runs the judges that read only that aggregate. A span over only a sequence runs when the
    sequence moves, because at any other event its start lies further back than before. So these operations step earlier
    than in their order. Nothing in between looks at them: a reader of a span, or of an achievement, comes after it.
    """

    def __init__(self, operations: Sequence[Operation], event_type: str) -> None:
        self.event_type = event_type
        self.operations = operations
        self.rungs: defaultdict[int, list[tuple[Rung, Judge]]] = defaultdict(list)
        self.followers: defaultdict[int, list[Entry]] = defaultdict(list)
        self.wired: set[int] = set()
        for operation in operations:
            self._wire(operation)

    def _wire(self, operation: Operation) -> None:
        if isinstance(operation, Judge):
            rung = operation.rung()
            if rung is not None:
                self.rungs[id(rung.aggregate)].append((rung, operation))
                self.wired.add(id(operation))
        elif isinstance(operation, Entry):
            leader = operation.leader()
            if leader is not None:
                self.followers[id(leader)].append(operation)
                self.wired.add(id(operation))

    def steps(self) -> Iterator[Step]:
        """Yield the remaining operations in order, and all others after them."""
        for operation in self.operations:
            if id(operation) not in self.wired:
                yield self._step(operation)

    def _step(self, operation: Operation) -> Step:
        if not isinstance(operation, Entry):
            return operation.stepper(self.event_type)
        aggregate = operation.aggregate
        if judges := self.rungs.get(id(aggregate)):
            return operation.gated(self.event_type, gate_of(judges, self.event_type))
        if followers := self.followers.get(id(aggregate)):
            return operation.followed(self.event_type, [self._step(each) for each in followers])
        return operation.stepper(self.event_type)

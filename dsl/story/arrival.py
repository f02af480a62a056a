"""Other arrival orders of an example's events: duplicated, shuffled, in batches; the result must not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.event import Position
from dsl.fold import fold, reach, start, step
from dsl.outcome import Subject, canonical_order, clock_of, shown
from dsl.story.given import until_of
from dsl.story.verdict import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.compile import Program
    from dsl.event import Event
    from dsl.outcome import Outcome, Unlock
    from dsl.progress import Grant, State
    from dsl.source import Source
    from dsl.syntax import Example

_BATCHES: Final = (1, 2, 3, 7)
_MOST_BATCHES: Final = 50


def reordered(
    program: Program, events: Sequence[Event], outcome: Outcome, source: Source, example: Example
) -> Iterator[Failure]:
    """Yield a failure if the unlocks differ in another arrival order."""
    until = until_of(example)
    clock = clock_of(events, until)
    for size in _BATCHES:
        for way, arriving in (("duplicated", _doubled(events)), ("shuffled", _shuffled(events, size))):
            arrival = Arrival(program)
            # A batch that is late costs a fold of all before it: there may not be as many as there are events.
            most = max(size, len(arriving) // _MOST_BATCHES)
            for at in range(0, len(arriving), most):
                arrival.take(arriving[at : at + most])
            if arrival.unlocks(clock) != outcome.unlocks:
                expected = "the same unlocks in every arrival order"
                yield Failure(
                    source, example.title, example.span, expected, f"other unlocks when {way}, in batches of {most}"
                )
                return


def _doubled(events: Sequence[Event]) -> list[Event]:
    return [copy for event in reversed(events) for copy in (event, event)]


def _shuffled(events: Sequence[Event], seed: int) -> list[Event]:
    """Return the events in another order, always the same one for a seed (the fold knows no chance)."""
    keyed = sorted((_hash(f"{seed} {event.id}"), at) for at, event in enumerate(events))
    return [events[at] for _, at in keyed]


def _hash(text: str) -> int:
    """Return a number that scatters texts, the same in every process."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value ^ value >> 29


class Arrival:
    """Events as they arrive, batch by batch, folded the incremental way, in memory.

    What is later than everything folded of its subject is one step; otherwise the subject is folded again.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: set[tuple[str, str]] = set()
        self.history: dict[Subject, list[Event]] = {}
        self.states: dict[Subject, State] = {}
        self.grants: dict[Subject, list[Grant]] = {}
        self.clock = -(2**63)
        """The latest instant that was seen: moments up to it are judged."""

    def take(self, batch: Sequence[Event]) -> None:
        """Take one batch; events already known are dropped."""
        touched: dict[Subject, list[Event]] = {}
        for event in batch:
            if (event.tenant, event.id) in self.known:
                continue
            self.known.add((event.tenant, event.id))
            for scope, name, seen in self.program.hearing(event):
                touched.setdefault(Subject(event.tenant, scope, name), []).append(seen)
        for subject, events in touched.items():
            self._advance(subject, sorted(events, key=canonical_order))
        self.reach(max((event.at for event in batch), default=self.clock))

    def reach(self, clock: int) -> None:
        """Let the clock reach an instant (microseconds): moments up to it are judged for every subject."""
        self.clock = max(self.clock, clock)
        for subject, state in self.states.items():
            if more := reach(self.program.scopes[subject.scope], state, self.clock):
                self.grants.setdefault(subject, []).extend(more)

    def _advance(self, subject: Subject, events: Sequence[Event]) -> None:
        plan = self.program.scopes[subject.scope]
        history = self.history.setdefault(subject, [])
        history.extend(events)
        state = self.states.get(subject)
        state = self.states[subject] = start(plan) if state is None else state
        if state.mark is not None and Position(events[0].at, events[0].id) <= state.mark:
            history.sort(key=canonical_order)
            self.states[subject], self.grants[subject] = fold(plan, history)
            return
        for event in events:
            self.grants.setdefault(subject, []).extend(step(plan, state, event))

    def unlocks(self, clock: int) -> list[Unlock]:
        """Return the supported unlocks so far, in order; `clock` (microseconds) is that of moments and of `settle`."""
        self.reach(clock)
        found = [
            shown(subject, grant)
            for subject, grants in self.grants.items()
            for grant in grants
            if grant.earned_at + grant.settle <= clock
        ]
        return sorted(found, key=lambda unlock: unlock.order)

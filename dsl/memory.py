"""The aggregates of a plan, shared by canonical form, in the order in which they must run.

The key of a state is its meaning: the canonical form of a pattern, a zone if it matters, the events seen (`active`,
`fresh`), and for `repeat each` the achievement and tier, because their events reset after every unlock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

import msgspec

from dsl.built_ins import UNLOCKS
from dsl.calendar import unit_index
from dsl.local_time import Clock, UserClock, clock_of
from dsl.nodes.compose import Per, Unless, Within
from dsl.nodes.late import nothing
from dsl.nodes.sequence import SequenceReached, Sequences
from dsl.nodes.streak import Streaks
from dsl.nodes.totals import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dsl.event import Event, Position
    from dsl.filters import Test
    from dsl.nodes.late import LateStep, Undo
    from dsl.nodes.node import Aggregate, Gate, Step
    from dsl.progress import Grant, State
    from dsl.syntax import Modifiers, Pattern, RepeatEvery
    from dsl.types import Unit

    Slots = Mapping[str, Mapping[str | None, int]]
    Fields = frozenset[tuple[str, str]]

A = TypeVar("A", bound="Aggregate")

USER_ZONE = "@user"
"""Stands in every key of what depends on the zone of users: a zone is part of a canonical form where it matters."""


class Seen(msgspec.Struct, frozen=True):
    """Which events a condition sees: instants from `start`, inclusive, to `end`, exclusive; None where open."""

    start: int | None = None
    end: int | None = None

    def key(self) -> str:
        """Return the canonical form, empty where everything is seen."""
        return "" if self.start is None and self.end is None else f"{{{self.start}..{self.end}}}"


class Context(msgspec.Struct, frozen=True):
    """The context of a condition: the events it sees, its owner, whether its start is needed, and how far back."""

    seen: Seen
    owner: str = ""
    tracked: bool = False
    horizon: int | None = None
    spender: str = ""
    """Under `repeat each` the owner, in groups too: its unlocks use up calendar units."""
    spent: tuple[str, ...] = ()
    """The units and clocks around the condition, in whose unit of the last unlock nothing counts any more."""

    def prefix(self) -> str:
        """Return what goes before the key of everything remembered here."""
        return f"{self.owner}{''.join(f'~{each} ' for each in self.spent)}{self.seen.key()}"

    def spanning(self, length: int | None) -> Context:
        """Return the context below a span of `length` microseconds (None for one without end)."""
        known = [reach for reach in (self.horizon, length) if reach is not None]
        return msgspec.structs.replace(self, tracked=True, horizon=min(known, default=None))


class Operation(Protocol):
    """An operation on events of some types."""

    types: frozenset[str]

    def stepper(self, event_type: str) -> Step:
        """Return the operation on an event of one type."""
        ...


class Entry:
    """An aggregate of the plan: the events it sees, and its owner if it is not shared.

    `base` is its canonical form without how much it remembers, which may grow as more is asked. `reads` are the fields
    (event type, field) that it reads by itself, apart from what is below a span.
    """

    def __init__(self, aggregate: Aggregate, context: Context, base: str, reads: Fields) -> None:
        self.aggregate = aggregate
        self.base = base
        self.reads = reads
        self.seen = context.seen
        self.owner = context.owner
        self.spent = context.spent
        self.types = aggregate.types
        self.counted: frozenset[int] = frozenset()
        """Slots of the rulings whose unlocks it may count."""
        self.sources: frozenset[str] = frozenset()
        """Event types that may earn them."""
        self.is_spent: Test | None = None
        """Whether an event lies in a unit that is used up; None where it goes by no unit of a `repeat each`."""

    def key(self) -> str:
        """Return the final canonical form."""
        return f"{self.owner}{''.join(f'~{each} ' for each in self.spent)}{self.seen.key()}{self.aggregate.key()}"

    def gated(self, event_type: str, gate: Gate) -> Step:
        """Return the step with judges behind it that look at the aggregate alone."""
        if self.seen != Seen() or not isinstance(self.aggregate, Total | Streaks | Within):
            raise AssertionError(self.key())
        return self.aggregate.gated(event_type, gate)

    def leader(self) -> Sequences | None:
        """Return the sequence without whose moves the aggregate, a span over it alone, does not move."""
        span = self.aggregate
        if self.seen != Seen() or not isinstance(span, Within) or span.ticks:
            return None
        inner = span.inner
        return inner.sequences if isinstance(inner, SequenceReached) and inner.sequences.by is None else None

    def followed(self, event_type: str, others: Sequence[Step]) -> Step:
        """Return the step with those behind it that have the aggregate for their leader."""
        if self.seen != Seen() or not isinstance(self.aggregate, Sequences):
            raise AssertionError(self.key())
        return self.aggregate.followed(event_type, others)

    def stepper(self, event_type: str) -> Step:
        """See `Operation`: the aggregate's step, for the events that are seen."""
        step, seen = self._unspent(self.aggregate.stepper(event_type)), self.seen
        if seen == Seen():
            return step
        low = -(2**63) if seen.start is None else seen.start
        high = 2**63 if seen.end is None else seen.end

        def guarded(state: State, event: Event) -> list[Grant] | None:
            return step(state, event) if low <= event.at < high else None

        return guarded

    def _unspent(self, step: Step) -> Step:
        """Return the step for events of units that are not used up; a span only looks at what those below it count."""
        is_spent = self.is_spent
        if is_spent is None or isinstance(self.aggregate, Within | Per | Unless):
            return step
        return lambda state, event: None if is_spent(state, event) else step(state, event)

    def late(self, event_type: str) -> LateStep | None:
        """Return the aggregate's step for late events that are seen, None where it has no rule for them.

        With the users' zone there is one as long as no trait was set: then it was UTC at every moment.
        """
        take, seen, follows = self.aggregate.late(event_type), self.seen, USER_ZONE in self.key()
        if take is None or (seen == Seen() and not follows):
            return take
        low = -(2**63) if seen.start is None else seen.start
        high = 2**63 if seen.end is None else seen.end

        def guarded(state: State, event: Event, position: Position) -> Undo | None:
            if not low <= event.at < high:
                return nothing
            return None if follows and state.traits else take(state, event, position)

        return guarded


class Spender:
    """The calendar units that the unlocks of one ruling use up, all those that its versions go by."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.slot = -1
        self.rulers: dict[str, tuple[Unit, Clock]] = {}

    def units(self, state: State, event: Event) -> list[int]:
        """Return the units in which an event lies."""
        return [unit_index(unit, clock.local(state, event)) for unit, clock in self.rulers.values()]

    def guard(self, spent: Sequence[str]) -> Test:
        """Return a test whether an event lies in a unit that the last unlock has used up."""

        def is_spent(state: State, event: Event) -> bool:
            had = state.earned.get(self.slot)
            if had is None or not had.units:
                return False
            used = dict(zip(self.rulers, had.units, strict=False))
            return any(
                unit_index(unit, clock.local(state, event)) == used.get(text)
                for text, (unit, clock) in self.rulers.items()
                if text in spent
            )

        return is_spent


class Contracts(NamedTuple):
    """What the declarations of events say of fields."""

    integral: Callable[[Pattern, str], bool]
    """Whether a field is a whole number wherever a pattern may match."""
    signed: Callable[[Pattern, str], bool]
    """Whether it may be negative anywhere."""
    listed: Callable[[Pattern, str], bool]
    """Whether it is a list."""
    declared: Callable[[str, str], bool]
    """Whether an event has a field."""


class Unlocks(NamedTuple):
    """The unlocks that the achievement counts that is built: slots of rulings, and event types that may earn them."""

    counted: frozenset[int] = frozenset()
    sources: frozenset[str] = frozenset()


class Memory:
    """The aggregates and judgements of one plan, in the order in which they must run.

    `single` means that subjects are users, `zone_types` are the events that may move a user's zone. `slots` and `hears`
    grow with the achievements already built: per tier the slot of what is earned, and the event types heard.
    """

    def __init__(
        self,
        *,
        single: bool,
        all_types: frozenset[str],
        zone_types: frozenset[str],
        contracts: Contracts,
    ) -> None:
        self.single = single
        self.all_types = all_types
        self.zone_types = zone_types
        self.contracts = contracts
        self.integral, self.signed, self.listed, self.declared = contracts
        self.uses_user_zone = False
        self.entries: dict[str, Entry] = {}
        self.order: list[Operation] = []
        self.slots: dict[str, dict[str | None, int]] = {}
        self.spenders: dict[str, Spender] = {}
        """Per owner whose unlocks use up calendar units: which."""
        self.hears: dict[str, frozenset[str]] = {}
        self.unlocks = Unlocks()

    def share(self, key: str, context: Context, make: Callable[[], A], reads: Fields = frozenset()) -> A:
        """Return the aggregate of a key, created on first use; `reads` are the fields that it reads by itself.

        A key starts with the kind of its aggregate, so the type always matches.
        """
        full = context.prefix() + key
        entry = self.entries.get(full)
        if entry is None:
            entry = self.entries[full] = Entry(make(), context, full, reads)
            self.order.append(entry)
            if UNLOCKS in entry.types:
                entry.counted, entry.sources = self.unlocks.counted, self.unlocks.sources
            if context.spent:
                entry.is_spent = self.spenders[context.spender].guard(context.spent)
        return cast("A", entry.aggregate)

    def spending(self, context: Context, unit: Unit, clock: Clock) -> Context:
        """Return the context in a calendar unit: under `repeat each`, the unit of an unlock is used up."""
        if not context.spender:
            return context
        text = f"{unit.value}@{clock.key}"
        self.spenders.setdefault(context.spender, Spender(context.spender)).rulers[text] = unit, clock
        return msgspec.structs.replace(context, spent=tuple(sorted({*context.spent, text})))

    def clock(self, zoned: Modifiers | RepeatEvery) -> Clock:
        """Return the clock of a `tz=`."""
        clock = clock_of(zoned.tz, single=self.single)
        self.uses_user_zone |= isinstance(clock, UserClock)
        return clock

    def ticks(self, clock: Clock) -> frozenset[str]:
        """Return the event types that may bring another zone than the last event did."""
        if clock.key == "event":
            return self.all_types
        return self.zone_types if isinstance(clock, UserClock) else frozenset()

    def inside(self) -> Memory:
        """Return a memory for what is compiled for each group of a keyed condition: its slots are those of a group."""
        inner = Memory(
            single=self.single,
            all_types=self.all_types,
            zone_types=self.zone_types,
            contracts=self.contracts,
        )
        inner.slots, inner.hears, inner.spenders = self.slots, self.hears, self.spenders
        return inner

    def number(self) -> None:
        """Give every aggregate its slot, now that all are known."""
        for slot, entry in enumerate(self.entries.values()):
            entry.aggregate.slot = slot

    def own_slots(self, owner: str) -> tuple[int, ...]:
        """Return the slots that belong to one owner alone."""
        return tuple(entry.aggregate.slot for entry in self.entries.values() if owner and entry.owner == owner)

    def operations(self, event_type: str) -> Iterator[Operation]:
        """Yield what an event of one type costs, in order."""
        return (operation for operation in self.order if event_type in operation.types)

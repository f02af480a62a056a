"""Which zone an operator lives in, compiled: the wall clock of an event, and the calendar unit of a moment.

Local times are microseconds on the wall clock; indices are those of `dsl.calendar`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from dsl.calendar import offset_at, unit_index, unit_start, unit_start_local
from dsl.types import DAY, HOUR, SECOND, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.event import Event
    from dsl.progress import State
    from dsl.syntax import Zone

_LENGTHS: Final = {Unit.DAY: DAY, Unit.HOUR: HOUR}
"""Of the units that all have one length in UTC, from the epoch on."""
TIMEZONE = "timezone"
"""The trait that `tz=user` reads."""


class Clock(Protocol):
    """The zone of an operator."""

    key: str
    """Canonical form: an IANA name in quotes, `user` or `event`."""
    fixed: bool
    """Whether the zone is the same for every event of a subject."""

    def local(self, state: State, event: Event) -> int:
        """Return the wall-clock time of an event."""
        ...

    def unit_of(self, unit: Unit) -> Callable[[State, Event], int]:
        """Return what tells the unit of an event."""
        ...

    def same_unit(self, state: State, event: Event, at: int, unit: Unit) -> bool:
        """Tell whether the instant `at` has the same label as the moment of `event`, in the zone of that moment."""
        ...

    def now_unit(self, state: State, now: int, unit: Unit) -> int:
        """Return the unit of `now` when no event tells the zone."""
        ...

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """Return the instant at which a unit begins."""
        ...

    def begin_of(self, state: State, event: Event, unit: Unit) -> int:
        """Return the instant at which the unit of an event begins, by the clock of that event."""
        ...


class FixedClock:
    """An IANA zone."""

    fixed = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.utc = name == "UTC"
        self.key = f'"{name}"'

    def local(self, state: State, event: Event) -> int:
        """See `Clock`."""
        del state
        return event.at if self.utc else self._local(event.at)

    def unit_of(self, unit: Unit) -> Callable[[State, Event], int]:
        """See `Clock`."""
        length = _LENGTHS.get(unit) if self.utc else None
        return unit_by(self.local, unit) if length is None else lambda state, event: event.at // length

    def _local(self, at: int) -> int:
        return at if self.utc else at + offset_at(self.name, at) * SECOND

    def same_unit(self, state: State, event: Event, at: int, unit: Unit) -> bool:
        """See `Clock`."""
        del state
        return unit_index(unit, self._local(at)) == unit_index(unit, self._local(event.at))

    def now_unit(self, state: State, now: int, unit: Unit) -> int:
        """See `Clock`."""
        del state
        return unit_index(unit, self._local(now))

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """See `Clock`."""
        del state
        return unit_start(unit, index, self.name)

    def begin_of(self, state: State, event: Event, unit: Unit) -> int:
        """See `Clock`."""
        return self.begin(state, unit, unit_index(unit, self.local(state, event)))


class EventClock:
    """The offset written in each event. Between events, and for the begin of a unit, it is UTC."""

    fixed = False
    key = "event"

    def local(self, state: State, event: Event) -> int:
        """See `Clock`."""
        del state
        return event.at + event.offset * SECOND

    def unit_of(self, unit: Unit) -> Callable[[State, Event], int]:
        """See `Clock`."""
        return unit_by(self.local, unit)

    def same_unit(self, state: State, event: Event, at: int, unit: Unit) -> bool:
        """See `Clock`."""
        del state
        shift = event.offset * SECOND
        return unit_index(unit, at + shift) == unit_index(unit, event.at + shift)

    def now_unit(self, state: State, now: int, unit: Unit) -> int:
        """See `Clock`."""
        del state
        return unit_index(unit, now)

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """See `Clock`."""
        del state
        return unit_start(unit, index, "UTC")

    def begin_of(self, state: State, event: Event, unit: Unit) -> int:
        """See `Clock`."""
        return unit_start_local(unit, unit_index(unit, self.local(state, event))) - event.offset * SECOND


class UserClock:
    """The trait `timezone` of the user; UTC where unset or unknown.

    In plans of other scopes than `user` a subject has many users, and each event has the zone of its own.
    """

    fixed = False
    key = "user"

    def __init__(self, *, single: bool) -> None:
        self.single = single

    def _zone(self, state: State, user: str) -> str:
        name = state.traits.get(TIMEZONE if self.single else user)
        return name if isinstance(name, str) else "UTC"

    def local(self, state: State, event: Event) -> int:
        """See `Clock`."""
        return event.at + offset_at(self._zone(state, event.user), event.at) * SECOND

    def unit_of(self, unit: Unit) -> Callable[[State, Event], int]:
        """See `Clock`."""
        return unit_by(self.local, unit)

    def same_unit(self, state: State, event: Event, at: int, unit: Unit) -> bool:
        """See `Clock`."""
        name = self._zone(state, event.user)
        here = event.at + offset_at(name, event.at) * SECOND
        return unit_index(unit, at + offset_at(name, at) * SECOND) == unit_index(unit, here)

    def now_unit(self, state: State, now: int, unit: Unit) -> int:
        """See `Clock`."""
        name = self._zone(state, "") if self.single else "UTC"
        return unit_index(unit, now + offset_at(name, now) * SECOND)

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """See `Clock`."""
        return unit_start(unit, index, self._zone(state, "") if self.single else "UTC")

    def begin_of(self, state: State, event: Event, unit: Unit) -> int:
        """See `Clock`."""
        return unit_start(unit, unit_index(unit, self.local(state, event)), self._zone(state, event.user))


def unit_by(local: Callable[[State, Event], int], unit: Unit) -> Callable[[State, Event], int]:
    """Return what tells the unit of an event by its wall clock."""
    return lambda state, event: unit_index(unit, local(state, event))


def clock_of(tz: Zone | None, *, single: bool) -> Clock:
    """Return the clock of a `tz=`; `single` where the plan's subjects are users."""
    if tz is None:
        return FixedClock("UTC")
    if tz.kind == "event":
        return EventClock()
    return UserClock(single=single) if tz.kind == "user" else FixedClock(tz.name)

"""The compiled zone of an operator: the wall clock of an event, and the calendar unit of a moment.

Local times are microseconds on the wall clock; indices are those of `dsl.calendar`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from dsl.calendar import local_at, offset_at, stretch, unit_index, unit_start
from dsl.types import DAY, HOUR, MINUTE, SECOND, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.calendar import Wall
    from dsl.event import Event
    from dsl.progress import State
    from dsl.syntax import Zone

_LENGTHS: Final = {Unit.DAY: DAY, Unit.HOUR: HOUR, Unit.MINUTE: MINUTE}
"""Of the units that all have one length in UTC, from the epoch on."""
TIMEZONE = "timezone"
"""The trait that `tz=user` reads."""


class Now(NamedTuple):
    """The moment of a question: an instant in microseconds, and its event, if there is one.

    Between events, it is like an event that matches nothing. The zone is then the user's zone if the subject is a user;
    `tz=event`, and `tz=user` in scopes other than `user`, are UTC.
    """

    at: int
    event: Event | None = None


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
        """Return a function for the unit of an event."""
        ...

    def same_unit(self, state: State, event: Event, at: int, unit: Unit) -> bool:
        """Return whether the instant `at` has the same label as the moment of `event`, in the zone of that moment."""
        ...

    def wall(self, state: State, now: Now) -> Wall:
        """Return the clock that is looked at in a moment."""
        ...

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """Return the instant at which a unit begins."""
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
        length = self.length_of(unit)
        return unit_by(self.local, unit) if length is None else lambda state, event: event.at // length

    def length_of(self, unit: Unit) -> int | None:
        """Return how long each unit is, in microseconds; they begin at the epoch. None where they differ."""
        return _LENGTHS.get(unit) if self.utc else None

    def _local(self, at: int) -> int:
        return at if self.utc else at + offset_at(self.name, at) * SECOND

    def same_unit(self, state: State, event: Event, at: int, unit: Unit) -> bool:
        """See `Clock`."""
        del state
        return unit_index(unit, self._local(at)) == unit_index(unit, self._local(event.at))

    def wall(self, state: State, now: Now) -> Wall:
        """See `Clock`."""
        del state, now
        return self.name

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """See `Clock`."""
        del state
        return unit_start(unit, index, self.name)


class EventClock:
    """The offset written in each event. Between events, and for the start of a unit, it is UTC."""

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

    def wall(self, state: State, now: Now) -> Wall:
        """See `Clock`."""
        del state
        return 0 if now.event is None else now.event.offset

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """See `Clock`."""
        del state
        return unit_start(unit, index, "UTC")


class UserClock:
    """The trait `timezone` of the user; UTC where unset or unknown.

    In plans of scopes other than `user`, a subject has many users, and each event uses the zone of its user.
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

    def wall(self, state: State, now: Now) -> Wall:
        """See `Clock`."""
        if self.single:
            return self._zone(state, "")
        return "UTC" if now.event is None else self._zone(state, now.event.user)

    def begin(self, state: State, unit: Unit, index: int) -> int:
        """See `Clock`."""
        return unit_start(unit, index, self._zone(state, "") if self.single else "UTC")


def unit_now(clock: Clock, state: State, now: Now, unit: Unit) -> int:
    """Return the unit of a moment."""
    return unit_index(unit, local_at(clock.wall(state, now), now.at))


def alike(clock: Clock, state: State, now: Now, at: int, unit: Unit) -> bool:
    """Return whether an instant has the same label as a moment, on the clock of the moment."""
    wall = clock.wall(state, now)
    return unit_index(unit, local_at(wall, at)) == unit_index(unit, local_at(wall, now.at))


def stretch_now(clock: Clock, state: State, now: Now, unit: Unit) -> tuple[int, int]:
    """Return the span of instants around a moment in which its clock shows the same label without a break."""
    return stretch(unit, now.at, clock.wall(state, now))


def unit_by(local: Callable[[State, Event], int], unit: Unit) -> Callable[[State, Event], int]:
    """Return a function for the unit of an event on its wall clock."""
    return lambda state, event: unit_index(unit, local(state, event))


def clock_of(tz: Zone | None, *, single: bool) -> Clock:
    """Return the clock of a `tz=`; `single` where the plan's subjects are users."""
    if tz is None:
        return FixedClock("UTC")
    if tz.kind == "event":
        return EventClock()
    return UserClock(single=single) if tz.kind == "user" else FixedClock(tz.name)

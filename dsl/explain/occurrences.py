"""Which occurrence is meant: the one for ever, the n-th, or that of a calendar unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import index_of, label
from dsl.local_time import Now, unit_now
from dsl.syntax import RepeatBy, RepeatEach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.event import Event
    from dsl.judge import Ruling
    from dsl.local_time import Clock
    from dsl.progress import Grant, State
    from dsl.types import Unit


class MeantError(ValueError):
    """There is no such achievement, tier or occurrence; the message says what there is."""


class Meant(NamedTuple):
    """The occurrence to explain, its grant if it was earned, and the moment at which to look.

    That is an instant (microseconds), and the event there where it is one. `unit` is the index of a calendar unit.
    """

    occurrence: str | None
    grant: Grant | None
    now: int
    event: str | None = None
    unit: int | None = None


class Known(NamedTuple):
    """What the fold knows of one achievement and tier by `now`: its grants, and the last event in each unit."""

    grants: Sequence[Grant]
    state: State
    now: int
    last: Mapping[int, Event]


def meant(ruling: Ruling, known: Known, wanted: str | None) -> Meant:
    """Return the requested occurrence; None means the current one. Earned occurrences are looked up first.

    Raises:
        MeantError: there is none of that name.
    """
    judge = ruling.in_effect(known.now) or ruling.judges[-1]
    unit, clock = judge.built.unit, judge.built.clock
    if isinstance(judge.version.repeat, RepeatEach):
        return _nth(known, wanted)
    if isinstance(judge.version.repeat, RepeatBy):
        return _value(known, wanted)
    if unit is not None and clock is not None:
        current = unit_now(clock, known.state, Now(known.now), unit)
        name = label(unit, current) if wanted is None else wanted
        return _earned(known, name, unit) or _unit(known, name, current, (unit, clock))
    if wanted is not None:
        raise MeantError(f"{ruling.achievement} does not repeat: it has no occurrences")
    return _earned(known, None, None) or Meant(None, None, known.now)


def _earned(known: Known, occurrence: str | None, unit: Unit | None) -> Meant | None:
    grant = next((grant for grant in known.grants if grant.occurrence == occurrence), None)
    if grant is None:
        return None
    index = None if unit is None or occurrence is None else index_of(unit, occurrence)
    return Meant(occurrence, grant, grant.earned_at, grant.event_id, index)


def _value(known: Known, wanted: str | None) -> Meant:
    """Return the occurrence of a value: the last one earned where none is named, or one that is not earned yet."""
    if wanted is None and known.grants:
        wanted = known.grants[-1].occurrence
    return (_earned(known, wanted, None) if wanted is not None else None) or Meant(wanted, None, known.now)


def _nth(known: Known, wanted: str | None) -> Meant:
    following = str(len(known.grants) + 1)
    if wanted is None or wanted == following:
        return Meant(following, None, known.now)
    earned = _earned(known, wanted, None)
    if earned is None:
        raise MeantError(
            f'there is no occurrence "{wanted}" yet: {len(known.grants)} are earned, the next one is {following}'
        )
    return earned


def _unit(known: Known, wanted: str, current: int, zoned: tuple[Unit, Clock]) -> Meant:
    """Return an occurrence that is not earned: as of now, or of the end of its unit, or of the last event in it."""
    unit, clock = zoned
    index = index_of(unit, wanted)
    last = None if index is None else known.last.get(index)
    if index is None or (index > current and last is None):
        raise MeantError(f'"{wanted}" is no {unit.value} up to now, such as "{label(unit, current)}"')
    if index == current:
        return Meant(wanted, None, known.now, unit=index)
    end = clock.begin(known.state, unit, index + 1) - 1
    if last is not None and (not clock.fixed or last.at > end):
        return Meant(wanted, None, last.at, last.id, index)
    return Meant(wanted, None, min(known.now, end), unit=index)

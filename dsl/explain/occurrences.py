"""Which occurrence is meant: the one for ever, the n-th, or that of a calendar unit."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import EPOCH, label, unit_index
from dsl.syntax import RepeatEach
from dsl.types import DAY, HOUR, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.clock import Clock
    from dsl.judge import Ruling
    from dsl.progress import Grant, State


class MeantError(ValueError):
    """There is no such achievement, tier or occurrence; the message says what there is."""


class Meant(NamedTuple):
    """The occurrence to explain, its grant if it was earned, and the moment (microseconds) at which to look if not."""

    occurrence: str | None
    grant: Grant | None
    now: int


def meant(ruling: Ruling, grants: Sequence[Grant], state: State, wanted: str | None, now: int) -> Meant:
    """Return which occurrence is meant; None means the current one.

    Raises:
        MeantError: there is none of that name.
    """
    judge = ruling.in_effect(now) or ruling.judges[-1]
    if isinstance(judge.version.repeat, RepeatEach):
        return _nth(grants, wanted, now)
    unit, clock = judge.built.unit, judge.built.clock
    if unit is not None and clock is not None:
        return _unit(grants, wanted, now, state, (unit, clock))
    if wanted is not None:
        raise MeantError(f"{ruling.achievement} does not repeat: it has no occurrences")
    return Meant(None, grants[0] if grants else None, now)


def _nth(grants: Sequence[Grant], wanted: str | None, now: int) -> Meant:
    following = str(len(grants) + 1)
    if wanted is None or wanted == following:
        return Meant(following, None, now)
    grant = next((grant for grant in grants if grant.occurrence == wanted), None)
    if grant is None:
        raise MeantError(
            f'there is no occurrence "{wanted}" yet: {len(grants)} are earned, the next one is {following}'
        )
    return Meant(wanted, grant, now)


def _unit(grants: Sequence[Grant], wanted: str | None, now: int, state: State, zoned: tuple[Unit, Clock]) -> Meant:
    unit, clock = zoned
    current = clock.now_unit(state, now, unit)
    index = current if wanted is None else _index(unit, wanted)
    if index is None or index > current:
        raise MeantError(f'"{wanted}" is no {unit.value} up to now, such as "{label(unit, current)}"')
    name = label(unit, index)
    grant = next((grant for grant in grants if grant.occurrence == name), None)
    return Meant(name, grant, min(now, clock.begin(state, unit, index + 1) - 1))


def _index(unit: Unit, text: str) -> int | None:
    """Return the unit of a label, None where it is none."""
    try:
        day = _first_day(unit, text)
        hour = int(text.partition("T")[2]) if unit is Unit.HOUR else 0
    except ValueError:
        return None
    index = unit_index(unit, (day - EPOCH.date()).days * DAY + hour * HOUR)
    return index if label(unit, index) == text else None


def _first_day(unit: Unit, text: str) -> date:
    match unit:
        case Unit.HOUR | Unit.DAY:
            return date.fromisoformat(text.partition("T")[0])
        case Unit.WEEK:
            year, _, week = text.partition("-W")
            return date.fromisocalendar(int(year), int(week), 1)
        case Unit.MONTH:
            return date.fromisoformat(f"{text}-01")
        case Unit.YEAR:
            return date(int(text), 1, 1)

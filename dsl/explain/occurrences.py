"""Which occurrence is meant: the one for ever, the n-th, or that of a calendar unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import index_of, label
from dsl.syntax import RepeatEach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.clock import Clock
    from dsl.judge import Ruling
    from dsl.progress import Grant, State
    from dsl.types import Unit


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
    index = current if wanted is None else index_of(unit, wanted)
    if index is None or index > current:
        raise MeantError(f'"{wanted}" is no {unit.value} up to now, such as "{label(unit, current)}"')
    name = label(unit, index)
    grant = next((grant for grant in grants if grant.occurrence == name), None)
    return Meant(name, grant, min(now, clock.begin(state, unit, index + 1) - 1))

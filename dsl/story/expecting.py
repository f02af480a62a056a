"""The `expect` lines of an example, compared with what came out."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from dsl.calendar import format_instant
from dsl.fold import standings
from dsl.outcome import full_name
from dsl.values import canonical_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.compile import Program
    from dsl.fold import Standing
    from dsl.outcome import Outcome, Unlock
    from dsl.syntax import Expect
    from dsl.types import Number


def expected(line: Expect) -> str:
    """Return in words what a line expects."""
    name = full_name(line.target.achievement.text, None if line.target.tier is None else line.target.tier.text)
    if line.negated:
        which = "" if line.occurrence is None else f' occurrence "{line.occurrence}"'
        return f"{line.user} has not {name}{which}"
    if line.progress is not None:
        return f"{line.user} {name} progress {_ratio(*line.progress)}"
    occurrence = "" if line.occurrence is None else f' occurrence "{line.occurrence}"'
    at = "" if line.at is None else f" at {format_instant(line.at.us)}"
    return f"{line.user} has {name}{occurrence}{at}"


def check(program: Program, outcome: Outcome, clock: int, line: Expect) -> str | None:
    """Return None where the expectation is met, else what there is instead."""
    found = [unlock for unlock in outcome.unlocks if meant(unlock, line)]
    if line.negated:
        wrong = [unlock for unlock in found if line.occurrence is None or unlock.occurrence == line.occurrence]
        return _listed(wrong) if wrong else None
    if line.progress is not None:
        return _check_progress(program, outcome, clock, line)
    wanted = [unlock for unlock in found if line.occurrence is None or unlock.occurrence == line.occurrence]
    if any(line.at is None or unlock.earned_at == format_instant(line.at.us) for unlock in wanted):
        return None
    if found:
        return _listed(found)
    standing = next(standings_of(program, outcome, clock, line), None)
    if standing is not None and standing.earned:
        return "it is earned but waits for its `settle`: add a later event, or `until` a later instant"
    return "it was not earned" if standing is None else f"it was not earned; progress {_progress(standing)}"


def meant(unlock: Unlock, line: Expect) -> bool:
    """Return whether a line is about an unlock."""
    tier = line.target.tier
    return (
        unlock.subject == line.user
        and unlock.achievement == line.target.achievement.text
        and (tier is None or unlock.tier == tier.text)
    )


def _listed(unlocks: Sequence[Unlock]) -> str:
    return "; ".join(
        f"{unlock.subject} has {full_name(unlock.achievement, unlock.tier)}"
        + (f' occurrence "{unlock.occurrence}"' if unlock.occurrence is not None else "")
        + f" at {unlock.earned_at}"
        for unlock in unlocks
    )


def standings_of(program: Program, outcome: Outcome, clock: int, line: Expect) -> Iterator[Standing]:
    """Yield the progress that a line asks for, of every subject of that name."""
    for subject, state in outcome.states.items():
        if subject.subject != line.user:
            continue
        for standing in standings(program.scopes[subject.scope], state, clock):
            tier = line.target.tier
            if standing.achievement == line.target.achievement.text and (tier is None or standing.tier == tier.text):
                yield standing


def _check_progress(program: Program, outcome: Outcome, clock: int, line: Expect) -> str | None:
    current, target = line.progress or (0, 1)
    found = list(standings_of(program, outcome, clock, line))
    for standing in found:
        measure = standing.measure
        if measure.target is None:
            if measure.fraction == Fraction(current) / Fraction(target):
                return None
        elif (measure.current, measure.target) == (current, target):
            return None
    if not found:
        return None if current == 0 else "no progress: no event of the example counts towards it"
    return "; ".join(f"progress {_progress(standing)}" for standing in found)


def _progress(standing: Standing) -> str:
    measure = standing.measure
    if measure.current is None or measure.target is None:
        return f"{measure.fraction} of the whole"
    return _ratio(measure.current, measure.target)


def _ratio(current: Number, target: Number) -> str:
    return f"{canonical_number(current)}/{canonical_number(target)}"

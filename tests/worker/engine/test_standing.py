"""Where a subject stands: the corners that a drawn history rarely has."""

from __future__ import annotations

from decimal import Decimal

from dsl.event import Event
from dsl.fold import fold
from dsl.outcome import Subject
from dsl.progress import Grant, State
from tests.property.test_subject_standing import deployed, row
from worker.engine.standing import Item, Status, standing_of

RULES = """
event a { x: decimal? }
event c {}
achievement weekly { title "W" repeat every week when count(event=a, >= 2) }
achievement steps { title "S" repeat each when count(event=a, >= 2) }
achievement much { title "M" when sum(event=a, of=x, > 100) }
achievement gate { title "G" when count(event=c, >= 1) }
achievement gated { title "H" after gate when count(event=a, >= 1) }
achievement later version 1 from 2030-01-01T00:00:00Z { title "L" when count(event=a, >= 1) }
"""
WHO = Subject("t", "user", "u")
NOW = 1_776_000_000_000_000  # in 2026-W15
RULED = deployed(RULES)


def granted(name: str, occurrence: str | None, at: int) -> Grant:
    return Grant(name, None, occurrence, 1, at, "e", 0)


def standing(state: State | None, *rows: tuple[Grant, str]) -> dict[str, Item]:
    whole = standing_of(RULED, WHO, state, [row(WHO, grant, kind) for grant, kind in rows], NOW)
    return {item.achievement: item for item in whole.items}


def test_the_last_occurrence_is_that_of_the_calendar() -> None:
    # One granted by hand for an earlier week was earned, by the books, when that was done.
    rows = ((granted("weekly", "2026-W10", NOW), "by hand"), (granted("weekly", "2026-W12", NOW - 10), "granted"))
    found = standing(None, *rows, *((granted("steps", number, NOW), "granted") for number in ("9", "10", "2")))
    assert found["weekly"].last is not None
    assert found["steps"].last is not None
    assert (found["weekly"].last.occurrence, found["weekly"].times, found["weekly"].occurrence) == (
        "2026-W12",
        2,
        "2026-W15",
    )
    assert (found["steps"].last.occurrence, found["steps"].times) == ("10", 3)
    assert found["weekly"].status is found["steps"].status is Status.LOCKED


def test_what_is_not_earned_never_comes_to_a_hundred() -> None:
    events = [Event("t", f"e{n}", "a", "u", NOW + n, 0, {"x": Decimal(50)}) for n in range(2)]
    state, _ = fold(RULED.program.scopes["user"], events)
    found = standing(state)
    much, gated = found["much"].reached, found["gated"].reached
    assert (much.current, much.target, much.percent, much.more_than, much.held_back) == (100, 100, 99, True, False)
    assert (gated.current, gated.target, gated.percent, gated.more_than, gated.held_back) == (1, 1, 99, False, True)
    assert found["gate"].status is Status.LOCKED


def test_a_revoked_one_goes_no_further() -> None:
    found = standing(None, (granted("gate", None, NOW), "revoked"), (granted("much", None, NOW), "settling"))
    assert (found["gate"].status, found["gate"].reached[:3]) == (Status.REVOKED, (None, 1, 0))
    assert (found["much"].status, found["much"].reached[:3]) == (Status.SETTLING, (100, 100, 100))


def test_of_what_has_no_version_in_effect_the_unlocks_are_shown() -> None:
    assert "later" not in standing(None)
    found = standing(None, (granted("later", None, NOW), "by hand"))["later"]
    assert (found.status, found.version, found.reached.percent) == (Status.EARNED, 1, 100)

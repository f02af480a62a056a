"""What is said where the events and production differ."""

from __future__ import annotations

from typing import Final

import pytest

from dsl.outcome import Subject
from dsl.progress import Grant
from worker.engine.agreement import StoredUnlock, Why, disagreements

ANN: Final = Subject("acme", "user", "ann")
STORED: Final = StoredUnlock(*ANN, "ten", "", "", 1, 50, None, by_events=True, contested=False, revoked=False)
CLOCK: Final = 1000


def always(achievement: str, tier: str) -> bool:
    return bool(achievement) and not tier


def never(achievement: str, tier: str) -> bool:
    return not achievement and bool(tier)


def grant(version: int = 1, earned_at: int = 50, settle: int = 0) -> Grant:
    return Grant("ten", None, None, version, earned_at, "e1", settle)


@pytest.mark.parametrize(
    ("grants", "stored", "why"),
    [
        ([grant()], [STORED], None),
        ([grant()], [], Why.MISSING),
        ([grant()], [STORED._replace(by_events=False)], Why.MISSING),
        ([grant(settle=951)], [], None),
        ([grant(settle=950)], [], Why.MISSING),
        ([grant(settle=951)], [STORED._replace(settles_at=1001)], None),
        ([], [STORED], Why.UNSUPPORTED),
        ([], [STORED._replace(contested=True)], None),
        ([], [STORED._replace(revoked=True)], None),
        ([], [STORED._replace(by_events=False)], None),
        ([], [STORED._replace(settles_at=1001)], None),
        ([grant(earned_at=49)], [STORED], Why.CHANGED),
        ([grant(version=2)], [STORED], Why.CHANGED),
        ([grant()], [STORED._replace(contested=True)], Why.CONTESTED),
        ([grant()], [STORED._replace(revoked=True)], Why.REVOKED),
    ],
)
def test_each_way_to_differ(grants: list[Grant], stored: list[StoredUnlock], why: Why | None) -> None:
    found = disagreements(ANN, grants, stored, CLOCK, always)
    assert [one.why for one in found] == ([] if why is None else [why])


def test_what_left_the_rules_is_no_fault_of_the_events() -> None:
    (found,) = disagreements(ANN, [], [STORED], CLOCK, never)
    assert (found.why, found.by_events, found.tier) == (Why.RETIRED, None, None)
    assert found.in_production is not None
    assert found.in_production.earned_at == "1970-01-01T00:00:00.000050Z"

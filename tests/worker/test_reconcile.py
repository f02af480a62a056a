from __future__ import annotations

from dsl.event import Position
from dsl.outcome import Subject
from dsl.progress import Grant
from worker.reconcile import Complete, Kind, Stored, reconcile, unlock_id

SINCE = Position(5, "")
WHO = Subject("t", "user", "u")


def grant(name: str = "a", *, at: int = 10, event: str = "e1", version: int = 1, settle: int = 0) -> Grant:
    return Grant(name, None, None, version, at, event, settle)


def row(one: Grant, *, granted: int | None = 1, contested: int | None = None, revoked: int | None = None) -> Stored:
    return Stored(
        tenant_id=WHO.tenant_id,
        scope=WHO.scope,
        subject=WHO.subject,
        achievement=one.achievement,
        tier=one.tier or "",
        occurrence=one.occurrence or "",
        unlock_id=unlock_id(WHO, one),
        version=one.version,
        earned_at=one.earned_at,
        event_id=one.event_id,
        settles_at=one.earned_at + one.settle if one.settle else None,
        granted_at=granted,
        contested_at=contested,
        revoked_at=revoked,
    )


def ruled(achievement: str, tier: str) -> bool:
    return (achievement, tier) != ("retired", "")


def kinds(stored: list[Stored], earned: list[Grant], *, complete: bool = True) -> tuple[int, list[Kind]]:
    new, changes = reconcile(WHO, stored, earned, Complete(SINCE, ruled) if complete else None)
    return len(new), [change.kind for change in changes]


def test_what_agrees_stays() -> None:
    assert kinds([row(grant())], [grant()]) == (0, [])


def test_new() -> None:
    assert kinds([], [grant()]) == (1, [])


def test_moved() -> None:
    assert kinds([row(grant())], [grant(at=9)]) == (0, [Kind.AMENDED])
    assert kinds([row(grant())], [grant(version=2)]) == (0, [Kind.AMENDED])
    assert kinds([row(grant())], [grant(event="e0")]) == (0, [Kind.AMENDED])


def test_unsupported() -> None:
    assert kinds([row(grant())], []) == (0, [Kind.CONTESTED])
    assert kinds([row(grant(), contested=5)], []) == (0, [])
    assert kinds([row(grant(settle=5), granted=None)], []) == (0, [Kind.WITHDRAWN])


def test_what_was_earned_before_the_checkpoint_stays() -> None:
    assert kinds([row(grant(at=4))], []) == (0, [])


def test_nothing_is_missing_from_an_incomplete_comparison() -> None:
    assert kinds([row(grant())], [], complete=False) == (0, [])


def test_supported_again() -> None:
    assert kinds([row(grant(), contested=5)], [grant()]) == (0, [Kind.RESTORED])


def test_an_operators_word_is_the_last() -> None:
    assert kinds([row(grant(), revoked=5)], []) == (0, [])
    assert kinds([row(grant(), revoked=5)], [grant(at=9)]) == (0, [])


def test_what_no_rule_judges_stays_granted() -> None:
    assert kinds([row(grant("retired"))], []) == (0, [])


def test_the_id_is_of_the_key_alone() -> None:
    assert unlock_id(WHO, grant()) == unlock_id(WHO, grant(at=99, event="x", version=3))
    assert unlock_id(WHO, grant()) != unlock_id(WHO, grant("b"))
    # Written down: it must be the same in every release.
    assert str(unlock_id(WHO, grant())) == "68adee72-3f69-8a5d-a138-a755ca804731"

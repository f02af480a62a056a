from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Position
from dsl.outcome import Subject
from dsl.progress import Grant
from tests.reference.draw_settings import thorough
from worker.engine.reconcile import (
    NO_EVIDENCE,
    Complete,
    Kind,
    State,
    Stored,
    by_hand,
    reconcile,
    stored_grant,
    unlock_id,
)

SINCE = Position(5, "")
WHO = Subject("t", "user", "u")


def grant(name: str = "a", *, at: int = 10, event: str = "e1", version: int = 1, settle: int = 0) -> Grant:
    return Grant(name, None, None, version, at, event, settle)


def row(
    one: Grant,
    *,
    granted: int | None = 1,
    contested: int | None = None,
    revoked: int | None = None,
    hand: bool = False,
) -> Stored:
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
        by_hand=hand,
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


def test_an_operators_word_is_the_last_in_every_state() -> None:
    for granted in (None, 1):
        for contested in {None, granted}:
            for hand in {False, granted is not None and contested is None}:
                one = row(grant(settle=5), granted=granted, contested=contested, revoked=5, hand=hand)
                assert one.state is State.REVOKED
                for earned in ([], [grant(settle=5)], [grant(at=9)]):
                    assert kinds([one], earned) == (0, [])


BY_HAND = Grant("a", None, None, 1, 1, NO_EVIDENCE, 0)


def test_what_an_operator_granted_is_not_contested() -> None:
    assert kinds([row(BY_HAND, hand=True)], []) == (0, [])
    assert kinds([row(grant(), hand=True)], [grant()]) == (0, [])
    _, (change,) = reconcile(WHO, [row(grant(settle=5), granted=7, hand=True)], [], Complete(SINCE, ruled))
    assert change == (Kind.AMENDED, unlock_id(WHO, grant()), BY_HAND._replace(earned_at=7))


def test_what_an_operator_granted_tells_its_evidence() -> None:
    _, (change,) = reconcile(WHO, [row(BY_HAND, hand=True)], [grant()], None)
    assert (change.kind, change.grant) == (Kind.AMENDED, grant())


def test_an_operator_grants_in_every_state() -> None:
    bare, settles = grant(event="", at=99, version=2), grant(settle=5)
    for stored, evidence, granted_at in (
        (None, None, 50),
        (row(settles, granted=None), settles, 50),
        (row(grant(), granted=7), grant(), 7),
        (row(grant(), granted=7, contested=8), None, 7),
        (row(settles, granted=None, revoked=8), None, 50),
        (row(grant(), granted=7, revoked=8), grant(), 7),
    ):
        made = by_hand(stored, bare, evidence, now=50)
        assert made.before is (None if stored is None else stored.state)
        assert made.granted_at == granted_at
        assert made.grant == (evidence or bare._replace(earned_at=granted_at, event_id=NO_EVIDENCE))


def test_what_no_rule_judges_stays_granted() -> None:
    assert kinds([row(grant("retired"))], []) == (0, [])


def test_the_id_is_of_the_key_alone() -> None:
    assert unlock_id(WHO, grant()) == unlock_id(WHO, grant(at=99, event="x", version=3))
    assert unlock_id(WHO, grant()) != unlock_id(WHO, grant("b"))
    # Written down: it must be the same in every release.
    assert str(unlock_id(WHO, grant())) == "68adee72-3f69-8a5d-a138-a755ca804731"


# -- an unlock's life, drawn ------------------------------------------------------------------------------------------

EVIDENCE = st.none() | st.builds(
    grant, at=st.integers(10, 14), event=st.sampled_from(["e1", "e2"]), version=st.integers(1, 2), settle=st.just(5)
)
Said = Literal["settled", "announced", "revoke", "grant", "fold", "step"]
MOVES = st.lists(st.tuples(st.sampled_from(Said.__args__), EVIDENCE), max_size=24)


class Life:
    """One unlock's row, moved as the statements move it, and what was done to it."""

    def __init__(self) -> None:
        self.row: Stored | None = None
        self.evidence: Grant | None = None
        self.announced = False
        self.word: Literal["revoke", "grant"] | None = None
        self.now = 100

    def fold(self, evidence: Grant | None, *, complete: bool = True) -> None:
        """Find out anew what is earned."""
        self.evidence = evidence
        stored = [] if self.row is None else [self.row]
        earned = [] if evidence is None else [evidence]
        new, changes = reconcile(WHO, stored, earned, Complete(SINCE, ruled) if complete else None)
        for one in new:
            assert self.row is None
            self.row = row(one, granted=None)
        for change in changes:
            assert self.row is not None
            self._move(self.row, change.kind, change.grant)

    def _move(self, stored: Stored, kind: Kind, to: Grant) -> None:
        match kind:
            case Kind.WITHDRAWN:
                assert not self.announced
                assert stored.granted_at is None
                self.row = None
            case Kind.CONTESTED:
                self.row = stored._replace(contested_at=self.now)
            case Kind.AMENDED | Kind.RESTORED:
                settles = to.earned_at + to.settle if to.settle else None
                self.row = stored._replace(
                    version=to.version,
                    earned_at=to.earned_at,
                    event_id=to.event_id,
                    settles_at=settles,
                    contested_at=None,
                )
            case _:
                raise AssertionError(kind)

    def grant(self) -> None:
        """Grant it by hand."""
        if self.row is not None and self.row.state is State.BY_HAND:
            return
        evidence = self.evidence
        if self.row is not None and self.row.state in {State.SETTLING, State.GRANTED}:
            # Then the row says what the ledger would.
            assert stored_grant(self.row) == evidence
        made = by_hand(self.row, grant(event="", version=2), evidence, now=self.now)
        self.row = row(made.grant, granted=made.granted_at, hand=True)
        self.word = "grant"

    def move(self, said: Said, evidence: Grant | None) -> None:
        """Do one thing to it."""
        self.now += 1
        match said:
            case "fold":
                self.fold(evidence)
            case "step" if self.evidence is None and evidence is not None:
                self.fold(evidence, complete=False)
            case "settled" if self.row is not None and self.row.state is State.SETTLING:
                self.row = self.row._replace(granted_at=self.now)
            case "announced" if self.row is not None and self.row.state not in {State.SETTLING, State.REVOKED}:
                self.announced = True
            case "revoke" if self.row is not None and self.row.state is not State.REVOKED:
                self.row, self.word = self.row._replace(revoked_at=self.now), "revoke"
            case "grant":
                self.grant()
            case _:
                pass


@thorough(300)
@given(MOVES)
def test_the_life_of_an_unlock(moves: list[tuple[Said, Grant | None]]) -> None:
    life = Life()
    for said, evidence in moves:
        life.move(said, evidence)
        state = None if life.row is None else life.row.state
        if life.announced:
            assert life.row is not None
            assert life.row.granted_at is not None
        if life.word == "revoke":
            assert state is State.REVOKED
        elif life.word == "grant":
            assert state is State.BY_HAND
            assert life.row is not None
            assert life.row.contested_at is None
            assert life.row.event_id == (NO_EVIDENCE if life.evidence is None else life.evidence.event_id)
        elif life.evidence is None:
            assert state in {None, State.CONTESTED}
        else:
            assert state in {State.SETTLING, State.GRANTED}
            assert life.row is not None
            assert stored_grant(life.row) == life.evidence

"""What a decision says is to be written: everything, each table's rows in the order of their keys."""

from __future__ import annotations

from typing import Final

from dsl.event import Position
from dsl.outcome import Subject
from dsl.progress import Grant
from worker.contract.partition import partition_of
from worker.engine.decide import Writes, backfill_facts, decide
from worker.engine.folding import Refold
from worker.engine.origin import Origin
from worker.engine.reconcile import Decision, Kind, Stored, unlock_id
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.engine.state_cache import BEGINNING, SubjectState

RULES = Deployed(
    1,
    read_rules([RuleFile("r.ach", 'event a {}\nachievement one { title "One" when count(event=a, >= 1) }\n')]),
    since={},
    prefix="events",
    skew=10**15,
)
EARNED: Final = Grant("one", None, None, 1, 100, "e1", 0)
BEFORE: Final = EARNED._replace(earned_at=90, event_id="e0")
SUBJECTS: Final = [Subject("t1", "user", f"u{number}") for number in range(9, 0, -1)]
"""Neither in their own order nor in that of the ids of their unlocks."""
IDS: Final = [unlock_id(subject, EARNED) for subject in SUBJECTS]


def row(subject: Subject, grant: Grant, *, granted: bool = True, contested: bool = False) -> Stored:
    return Stored(
        *subject,
        grant.achievement,
        "",
        "",
        unlock_id(subject, grant),
        grant.version,
        grant.earned_at,
        grant.event_id,
        None if granted else 10**9,
        200 if granted else None,
        300 if contested else None,
        None,
    )


def decided(rows: list[Stored], grants: list[Grant]) -> Writes:
    """Decide about subjects that were folded again: each has earned the same, and all rows are stored."""
    refolds = {subject: Refold(RULES, subject, None, BEGINNING) for subject in SUBJECTS}
    for refold in refolds.values():
        refold.grants = grants
    states = {subject: SubjectState(partition_of(*subject)) for subject in SUBJECTS}
    stored: dict[Subject, list[Stored]] = {}
    for one in rows:
        stored.setdefault(Subject(*one[:3]), []).append(one)
    return decide(RULES, backfill_facts(states, refolds, stored), now=400, clock=400)


def test_new_unlocks_are_sorted_by_key_and_say_what_they_come_from() -> None:
    writes = decided([], [EARNED])
    assert [*writes.unlocks] == [
        Decision(Kind.GRANTED, subject, unlock_id(subject, EARNED), EARNED, Origin.BACKFILL)
        for subject in sorted(SUBJECTS)
    ]
    assert writes.decisions == [*writes.unlocks]
    assert (writes.amended, writes.contested, writes.withdrawn) == ((), (), ())


def test_changes_are_sorted_by_id_and_each_is_a_decision() -> None:
    assert sorted(IDS) != IDS
    for kind, rows, grants in (
        (Kind.AMENDED, [row(subject, BEFORE) for subject in SUBJECTS], [EARNED]),
        (Kind.RESTORED, [row(subject, BEFORE, contested=True) for subject in SUBJECTS], [EARNED]),
        (Kind.CONTESTED, [row(subject, BEFORE) for subject in SUBJECTS], []),
        (Kind.WITHDRAWN, [row(subject, BEFORE, granted=False) for subject in SUBJECTS], []),
    ):
        writes = decided(rows, grants)
        found = [change.unlock_id for change in writes.amended], writes.contested, writes.withdrawn
        place = {Kind.CONTESTED: 1, Kind.WITHDRAWN: 2}.get(kind, 0)
        assert [[*ids] for ids in found] == [sorted(IDS) if at == place else [] for at in range(3)]
        assert [(one.kind, one.unlock_id) for one in writes.decisions] == [(kind, key) for key in IDS]
        assert not writes.unlocks


def test_a_refolded_state_takes_the_place_of_the_old_one() -> None:
    refold = Refold(RULES, SUBJECTS[0], None, BEGINNING)
    refold.folded = 3
    old = SubjectState(partition_of(*SUBJECTS[0]))
    old.stamp, old.folded = "by other rules", 7
    decide(RULES, backfill_facts({SUBJECTS[0]: old}, {SUBJECTS[0]: refold}, {}), now=400, clock=400)
    assert old.state is refold.state
    assert (old.stamp, old.folded) == (RULES.stamps["user"], 3)


def test_what_lies_before_the_refold_is_left_alone() -> None:
    refold = Refold(RULES, SUBJECTS[0], None, Position(95, ""))
    states = {SUBJECTS[0]: SubjectState(partition_of(*SUBJECTS[0]))}
    facts = backfill_facts(states, {SUBJECTS[0]: refold}, {SUBJECTS[0]: [row(SUBJECTS[0], BEFORE)]})
    assert decide(RULES, facts, now=400, clock=400).decisions == []


def test_what_no_rule_judges_any_more_stays_as_it_is() -> None:
    gone = EARNED._replace(achievement="gone")
    rows = [row(subject, gone) for subject in SUBJECTS] + [row(subject, gone, granted=False) for subject in SUBJECTS]
    assert decided(rows, []).decisions == []

"""The unlocks' stage: bring what was granted in line with what is earned, and write down every decision."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from worker.engine.origin import NEWS, Arrived, Origin
from worker.engine.reconcile import Change, Complete, Decision, Kind, Stored, reconcile, unlock_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import Refolded
    from worker.store import Session


class Earned(NamedTuple):
    """What a batch, or a piece of a backfill, has found out."""

    stepped: Sequence[tuple[Subject, Grant]]
    """Newly earned in order, by subjects of which nothing else has moved."""
    refolded: Mapping[Subject, Refolded]
    """Subjects that were folded anew, with everything that they have earned since."""
    arrived: Arrived | None = NEWS
    """What tells the origin of what is granted at once; None in a backfill."""


async def settle_unlocks(session: Session, rules: Deployed, earned: Earned, *, now: int, clock: int) -> list[Decision]:
    """Write unlocks and the decisions about them; return the decisions.

    `now` is the wall clock, `clock` what tells whether an unlock has settled, both in microseconds.
    """
    new: list[tuple[Subject, Grant]] = list(earned.stepped)
    changes: list[tuple[Subject, Change]] = []
    stored = await _stored_unlocks(session, earned.refolded)
    more, moved = compare(rules, earned.refolded, stored)
    new.extend(more)
    changes.extend(moved)
    decisions, known = await _insert(session, rules, new, earned.arrived, now=now, clock=clock)
    stored = await _stored_unlocks(session, known)
    for subject, grants in known.items():
        _, moved = reconcile(subject, stored[subject], grants, None)
        changes.extend((subject, change) for change in moved)
    await _change(session, [change for _, change in changes], now=now)
    about = decisions_about(changes)
    if about:
        await session.run("insert_evaluations", **evaluation_columns(rules, about), now=now)
    return [*decisions, *about]


def compare(
    rules: Deployed, refolded: Mapping[Subject, Refolded], stored: Mapping[Subject, Iterable[Stored]]
) -> tuple[list[tuple[Subject, Grant]], list[tuple[Subject, Change]]]:
    """Return what subjects that were folded anew have earned beyond what is stored, and what changes of that."""
    new: list[tuple[Subject, Grant]] = []
    changes: list[tuple[Subject, Change]] = []
    for subject, anew in refolded.items():
        complete = Complete(anew.since, _Ruled(rules, subject.scope))
        more, moved = reconcile(subject, stored.get(subject, ()), anew.grants, complete)
        new.extend((subject, grant) for grant in more)
        changes.extend((subject, change) for change in moved)
    return new, changes


def decisions_about(changes: Iterable[tuple[Subject, Change]]) -> list[Decision]:
    """Return changes as what is decided."""
    return [Decision(change.kind, subject, change.unlock_id, change.grant) for subject, change in changes]


class _Ruled(NamedTuple):
    rules: Deployed
    scope: str

    def __call__(self, achievement: str, tier: str) -> bool:
        return self.rules.rules_on(self.scope, achievement, tier)


async def _stored_unlocks(session: Session, subjects: Iterable[Subject]) -> dict[Subject, list[Stored]]:
    """Return the unlocks that each has."""
    found: defaultdict[Subject, list[Stored]] = defaultdict(list)
    asked = sorted(subjects)
    if asked:
        tenants, scopes, names = (list(column) for column in zip(*asked, strict=True))
        kinds = {tuple(subject): subject for subject in asked}
        keys = {"tenant_ids": tenants, "scopes": scopes, "subjects": names}
        for row in await session.rows(Stored, "unlocks_of_subjects", **keys):
            found[kinds[row.tenant_id, row.scope, row.subject]].append(row)
    return found


class _Inserted(NamedTuple):
    unlock_id: UUID
    granted: bool


async def _insert(
    session: Session,
    rules: Deployed,
    new: list[tuple[Subject, Grant]],
    arrived: Arrived | None,
    *,
    now: int,
    clock: int,
) -> tuple[list[Decision], dict[Subject, list[Grant]]]:
    """Insert unlocks and what was decided by that; return the decisions, and the grants that were there before."""
    if not new:
        return [], {}
    ids, origins, columns = unlock_columns(rules, new, arrived)
    rows = await session.rows(_Inserted, "grant_unlocks", **columns, now=now, clock=clock)
    inserted = {row.unlock_id: row.granted for row in rows}
    decisions: list[Decision] = []
    known: defaultdict[Subject, list[Grant]] = defaultdict(list)
    for key, origin, (subject, grant) in zip(ids, origins, new, strict=True):
        if key not in inserted:
            known[subject].append(grant)
        else:
            decisions.append(_decided(key, subject, grant, origin, granted=inserted[key]))
    return decisions, known


def first_decisions(
    rules: Deployed, new: list[tuple[Subject, Grant]], arrived: Arrived, *, clock: int
) -> tuple[list[Decision], dict[str, object]]:
    """Return what is decided about unlocks none of which was there before, and the arguments of `grant_unlocks`."""
    ids, origins, columns = unlock_columns(rules, new, arrived)
    decisions: list[Decision] = []
    for key, origin, (subject, grant) in zip(ids, origins, new, strict=True):
        settles_at = settling_until(grant)
        decisions.append(_decided(key, subject, grant, origin, granted=settles_at is None or settles_at <= clock))
    return decisions, columns


def _decided(key: UUID, subject: Subject, grant: Grant, origin: Origin, *, granted: bool) -> Decision:
    return Decision(Kind.GRANTED if granted else Kind.SETTLING, subject, key, grant, origin)


def unlock_columns(
    rules: Deployed, new: list[tuple[Subject, Grant]], arrived: Arrived | None
) -> tuple[list[UUID], list[Origin], dict[str, object]]:
    """Sort unlocks by key; return their ids and origins, and the arguments of `grant_unlocks` but for the clocks."""
    new.sort(key=lambda pair: (*pair[0], pair[1].achievement, pair[1].tier or "", pair[1].occurrence or ""))
    subjects, grants = [subject for subject, _ in new], [grant for _, grant in new]
    ids = [unlock_id(subject, grant) for subject, grant in new]
    origins = [Origin.BACKFILL if arrived is None else arrived.origin(*pair) for pair in new]
    columns: dict[str, object] = {
        "unlocks.tenant_id": [subject.tenant_id for subject in subjects],
        "unlocks.scope": [subject.scope for subject in subjects],
        "unlocks.subject": [subject.subject for subject in subjects],
        "unlocks.achievement": [grant.achievement for grant in grants],
        "unlocks.tier": [grant.tier or "" for grant in grants],
        "unlocks.occurrence": [grant.occurrence or "" for grant in grants],
        "unlocks.unlock_id": ids,
        "unlocks.version": [grant.version for grant in grants],
        "unlocks.earned_at": [grant.earned_at for grant in grants],
        "unlocks.event_id": [grant.event_id for grant in grants],
        "unlocks.settles_at": [settling_until(grant) for grant in grants],
        "unlocks.reward": [rules.terms(grant).reward for grant in grants],
        "unlocks.origin": origins,
        "final_ids": [key for key, grant in zip(ids, grants, strict=True) if rules.is_final(grant)],
    }
    return ids, origins, columns


def settling_until(grant: Grant) -> int | None:
    """Return when a grant has settled, in microseconds; None where it is granted at once."""
    return grant.earned_at + grant.settle if grant.settle else None


async def _change(session: Session, changes: list[Change], *, now: int) -> None:
    by_kind: defaultdict[Kind, list[Change]] = defaultdict(list)
    for change in changes:
        by_kind[change.kind].append(change)
    if moved := by_kind[Kind.AMENDED] + by_kind[Kind.RESTORED]:
        await session.run("amend_unlocks", **amendment_columns(moved), now=now)
    if contested := by_kind[Kind.CONTESTED]:
        await session.run("contest_unlocks", unlock_ids=sorted(change.unlock_id for change in contested), now=now)
    if withdrawn := by_kind[Kind.WITHDRAWN]:
        await session.run("withdraw_unlocks", unlock_ids=sorted(change.unlock_id for change in withdrawn))


def amendment_columns(changes: Iterable[Change]) -> dict[str, object]:
    """Return the `amended` of `amend_unlocks`."""
    moved = sorted(changes, key=lambda change: change.unlock_id)
    return {
        "amended.unlock_id": [change.unlock_id for change in moved],
        "amended.version": [change.grant.version for change in moved],
        "amended.earned_at": [change.grant.earned_at for change in moved],
        "amended.event_id": [change.grant.event_id for change in moved],
        "amended.settles_at": [settling_until(change.grant) for change in moved],
    }


def evaluation_columns(rules: Deployed, decisions: Sequence[Decision]) -> dict[str, object]:
    """Return the `evaluations` of `insert_evaluations`."""
    grants = [decision.grant for decision in decisions]
    return {
        "evaluations.tenant_id": [decision.subject.tenant_id for decision in decisions],
        "evaluations.scope": [decision.subject.scope for decision in decisions],
        "evaluations.subject": [decision.subject.subject for decision in decisions],
        "evaluations.achievement": [grant.achievement for grant in grants],
        "evaluations.tier": [grant.tier or "" for grant in grants],
        "evaluations.occurrence": [grant.occurrence or "" for grant in grants],
        "evaluations.version": [grant.version for grant in grants],
        "evaluations.decision": [decision.kind.value for decision in decisions],
        "evaluations.final": [rules.is_final(grant) for grant in grants],
        "evaluations.earned_at": [grant.earned_at for grant in grants],
        "evaluations.event_id": [grant.event_id for grant in grants],
    }

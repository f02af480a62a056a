"""The backfill: after rules have changed, everybody is brought up to date, in the background and in small pieces.

A piece is some subjects of one partition: its lock is held for a moment only, so live unlocks do not notice. What is up
to date is told by the stamp of the stored state, so a backfill that was interrupted goes on where it was, several may
run at once, and subjects that live events have touched meanwhile are skipped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import structlog

from dsl.outcome import Subject
from worker.fence import NOBODY, Held
from worker.folding import refold, write_progress
from worker.grants import Earned, settle_unlocks
from worker.partition import partition_of
from worker.rules import load_deployed
from worker.settings import Clock
from worker.standing import BEGINNING, Standing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from dsl.event import Position
    from dsl.progress import Grant
    from worker.deployed import Deployed
    from worker.reconcile import Decision
    from worker.settings import Settings
    from worker.standing import Checkpoint
    from worker.store import Session, Store

PAGE: Final = 2000
"""Subjects that are looked at together."""
PIECE: Final = 50
"""Subjects of one transaction."""
PAUSE_SECONDS: Final = 0.005
"""After each piece, for the live batches that wait for the partition."""

log = structlog.get_logger()


class SupersededError(Exception):
    """Other rules came into force meanwhile; their own backfill does the work."""


class Tally(msgspec.Struct):
    """What a backfill has done about one achievement."""

    granted: int = 0
    settling: int = 0
    amended: int = 0
    restored: int = 0
    contested: int = 0
    withdrawn: int = 0
    unchanged: int = 0


class Report(msgspec.Struct):
    """The reconciliation report: per achievement and version, and how many subjects were folded anew."""

    epoch: int
    subjects: int = 0
    tallies: dict[tuple[str, int], Tally] = msgspec.field(default_factory=dict[tuple[str, int], Tally])

    def tally(self, achievement: str, version: int) -> Tally:
        """Return the tally of one version."""
        return self.tallies.setdefault((achievement, version), Tally())


async def backfill(
    store: Store,
    settings: Settings,
    *,
    now: Callable[[], int],
    granted: Callable[[], None] | None = None,
    pause: float = PAUSE_SECONDS,
) -> Report:
    """Bring every subject up to date with the rules in force, and report what that has changed.

    `now` is in microseconds; `granted` is called whenever there may be something to announce.

    Raises:
        SupersededError: other rules came into force.
        UnavailableError: the database went away; call again to go on.
    """
    rules = await load_deployed(store, settings)
    report = Report(rules.epoch)
    for scope, plan in rules.program.scopes.items():
        async for piece in _pieces(store, rules, scope):
            await _bring_up_to_date(store, settings, rules, dict.fromkeys(piece, BEGINNING), report, now=now())
            if granted is not None:
                granted()
            await anyio.sleep(pause)
        async with store.transaction() as session:
            await session.run("aggregate_is_live", scope, plan.fingerprint, now())
    log.info("backfill done", epoch=report.epoch, subjects=report.subjects)
    return report


async def bring_up_to_date(
    store: Store, settings: Settings, since: Mapping[Subject, Position], *, now: Callable[[], int]
) -> Report:
    """Bring some subjects up to date, whose events from a position on are others now; report what that has changed.

    Those of scopes that nothing judges are passed over.

    Raises:
        SupersededError, UnavailableError: as in `backfill`.
    """
    rules = await load_deployed(store, settings)
    report = Report(rules.epoch)
    for subject in sorted(subject for subject in since if subject.scope in rules.program.scopes):
        await _bring_up_to_date(store, settings, rules, {subject: since[subject]}, report, now=now())
    return report


class _Named(NamedTuple):
    tenant_id: str
    subject: str


async def _pieces(store: Store, rules: Deployed, scope: str) -> AsyncIterator[list[Subject]]:
    """Yield subjects of a scope that are not up to date, in pieces of one partition."""
    after = _Named("", "")
    while True:
        async with store.transaction(patient=True) as session:
            page = await _page(session, rules, scope, after)
            stale = await _stale(session, rules, scope, page)
        by_partition: defaultdict[int, list[Subject]] = defaultdict(list)
        for subject in stale:
            by_partition[partition_of(*subject)].append(subject)
        for subjects in by_partition.values():
            for at in range(0, len(subjects), PIECE):
                yield subjects[at : at + PIECE]
        if len(page) < PAGE:
            return
        after = page[-1]


async def _page(session: Session, rules: Deployed, scope: str, after: _Named) -> list[_Named]:
    types = sorted(rules.program.scopes[scope].types)
    if scope == "user":
        return await session.rows(_Named, "users_of_types", types, *after, PAGE)
    if scope == "tenant":
        return await session.rows(_Named, "tenants_of_types", types, *after, PAGE)
    return await session.rows(_Named, "subjects_of_scope", scope, *after, PAGE)


async def _stale(session: Session, rules: Deployed, scope: str, page: list[_Named]) -> list[Subject]:
    tenants, names = [one.tenant_id for one in page], [one.subject for one in page]
    rows = await session.rows(_Named, "stale_subjects", tenants, names, scope, rules.stamps[scope])
    return [Subject(row.tenant_id, scope, row.subject) for row in rows]


async def _bring_up_to_date(
    store: Store,
    settings: Settings,
    rules: Deployed,
    since: Mapping[Subject, Position],
    report: Report,
    *,
    now: int,
) -> None:
    """Bring a piece up to date: subjects of one scope and partition, from their last checkpoints before a position."""
    piece = sorted(since)
    scope = piece[0].scope
    partition = partition_of(*piece[0])
    async with store.transaction(patient=True) as session:
        held = await session.rows(Held, "take_partitions", [partition], NOBODY)
        if any(row.rules_epoch != rules.epoch for row in held):
            raise SupersededError
        # Live events may have come first.
        stale = await _stale(session, rules, scope, [_Named(one.tenant_id, one.subject) for one in piece])
        if not stale:
            return
        checkpoints: list[Checkpoint] = []
        folded = await refold(session, rules, scope, {subject: since[subject] for subject in stale}, checkpoints)
        stamp = rules.stamps[scope]
        standings = {
            subject: Standing(partition=partition, stamp=stamp, state=anew.state, folded=anew.folded)
            for subject, anew in folded.items()
        }
        await write_progress(session, standings, checkpoints, now=now)
        clock = now
        if settings.clock is Clock.STREAM:
            clock = await session.value(int, "latest_instant") or 0
        decisions = await settle_unlocks(session, rules, Earned([], folded), now=now, clock=clock)
    report.subjects += len(folded)
    _count(report, decisions, [grant for anew in folded.values() for grant in anew.grants])


def _count(report: Report, decisions: list[Decision], earned: list[Grant]) -> None:
    changed = Counter[tuple[str, int]]()
    for decision in decisions:
        grant = decision.grant
        tally = report.tally(grant.achievement, grant.version)
        kind = decision.kind.value
        setattr(tally, kind, getattr(tally, kind) + 1)
        if kind not in {"contested", "withdrawn"}:
            changed[grant.achievement, grant.version] += 1
    for key, number in Counter((grant.achievement, grant.version) for grant in earned).items():
        report.tally(*key).unchanged += number - changed[key]

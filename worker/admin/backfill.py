"""The backfill: after rules have changed, it brings all subjects up to date, in the background and in small pieces.

A piece is some subjects of one partition: its lock is held for a moment only, so that live unlocks hardly wait. The
stamp of a stored state says whether it is up to date. So a backfill that was interrupted goes on where it was, several
may run at once, and subjects that live events have touched meanwhile are skipped.

Subjects with events that the rules hear come first. Then come those that have none now, and something left of earlier
rules: their state goes, and what nothing supports is contested.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import structlog

from dsl.outcome import Subject
from worker.admin.rollout import adopt_plans
from worker.contract.partition import partition_of
from worker.engine.decide import backfill_facts, decide
from worker.engine.state_cache import BEGINNING, SubjectState
from worker.pipeline.fence import RulesMovedError, hold_partitions
from worker.pipeline.ledger import refold, subjects_heard, unlocks_of
from worker.pipeline.rules_in_force import Aggregate, load_deployed
from worker.pipeline.write import write
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from dsl.event import Position
    from dsl.progress import Grant
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
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

    def __init__(self) -> None:
        super().__init__("other rules came into force meanwhile; their own `ach apply` brings all subjects up to date")


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
    """The reconciliation report: per achievement and version, and how many subjects were folded again."""

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
    await adopt_plans(store, rules, now=now())
    report = Report(rules.epoch)
    for scope, plan in rules.program.scopes.items():
        for search in (_who_hears(rules, scope), _who_is_left(rules, scope)):
            async for piece in _pieces(store, search):
                await _bring_up_to_date(
                    store, settings, rules, search, dict.fromkeys(piece, BEGINNING), report, now=now()
                )
                if granted is not None:
                    granted()
                await anyio.sleep(pause)
        async with store.transaction() as session:
            await session.run("aggregate_is_live", scope=scope, fingerprint=plan.fingerprint, now=now())
    await _forget_scopes(store, rules, pause)
    log.info("backfill done", epoch=report.epoch, subjects=report.subjects)
    return report


async def is_building(store: Store) -> bool:
    """Tell whether a backfill of the rules in force has yet to come to its end.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        return bool(await session.value(bool, "something_is_building"))


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
        search = _who_hears(rules, subject.scope)
        await _bring_up_to_date(store, settings, rules, search, {subject: since[subject]}, report, now=now())
    return report


# -- who is not up to date --------------------------------------------------------------------------------------------


class _Named(NamedTuple):
    tenant_id: str
    subject: str


class _Search(NamedTuple):
    """How subjects of a scope are found: a query for pages of them, and one for those that are not up to date."""

    scope: str
    pages: str
    asked: dict[str, object]
    """Arguments of the first query, besides the page."""
    stale: str
    state: dict[str, object]
    """Arguments of the second query, besides the subjects and their scope."""


def _who_hears(rules: Deployed, scope: str) -> _Search:
    """Find subjects with events that the plan hears; those without a state of this plan are to be folded."""
    pages, asked = subjects_heard(rules, scope)
    return _Search(scope, pages, asked, "stale_subjects", {"stamp": rules.stamps[scope]})


def _who_is_left(rules: Deployed, scope: str) -> _Search:
    """Find all others: those with a state, checkpoints or supported unlocks, and no event that the plan hears."""
    judged = [f"{achievement}.{tier}" for achievement, tier in rules.ruled(scope)]
    state: dict[str, object] = {"stamp": rules.stamps[scope], "judged": judged}
    return _Search(scope, "subjects_with_rows", {"scope": scope}, "left_subjects", state)


async def _pieces(store: Store, search: _Search) -> AsyncIterator[list[Subject]]:
    """Yield subjects of a scope that are not up to date, in pieces of one partition."""
    after = _Named("", "")
    while True:
        async with store.transaction(patient=True) as session:
            place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
            page = await session.rows(_Named, search.pages, **search.asked, **place, limit=PAGE)
            stale = await _stale(session, search, page)
        by_partition: defaultdict[int, list[Subject]] = defaultdict(list)
        for subject in stale:
            by_partition[partition_of(*subject)].append(subject)
        for subjects in by_partition.values():
            for at in range(0, len(subjects), PIECE):
                yield subjects[at : at + PIECE]
        if len(page) < PAGE:
            return
        after = page[-1]


async def _stale(session: Session, search: _Search, page: list[_Named]) -> list[Subject]:
    tenants, names = [one.tenant_id for one in page], [one.subject for one in page]
    asked = {"tenant_ids": tenants, "subjects": names, "scope": search.scope}
    rows = await session.rows(_Named, search.stale, **asked, **search.state)
    return [Subject(row.tenant_id, search.scope, row.subject) for row in rows]


# -- bringing them up to date -----------------------------------------------------------------------------------------


async def _bring_up_to_date(  # noqa: PLR0913 - what it works with
    store: Store,
    settings: Settings,
    rules: Deployed,
    search: _Search,
    since: Mapping[Subject, Position],
    report: Report,
    *,
    now: int,
) -> None:
    """Bring a piece up to date: subjects of one scope and partition, from their last checkpoints before a position."""
    piece = sorted(since)
    partition = partition_of(*piece[0])
    async with store.transaction(patient=True) as session:
        await _hold(session, rules, partition)
        # Live events may have come first.
        stale = await _stale(session, search, [_Named(one.tenant_id, one.subject) for one in piece])
        if not stale:
            return
        refolds = await refold(session, rules, {subject: since[subject] for subject in stale})
        states = {subject: SubjectState(partition) for subject in refolds}
        facts = backfill_facts(states, refolds, await unlocks_of(session, refolds))
        clock = now
        if settings.clock is Clock.STREAM:
            clock = await session.value(int, "latest_instant") or 0
        writes = await write(session, settings, rules, decide(rules, facts, now=now, clock=clock))
    report.subjects += len(refolds)
    _count(report, writes.decisions, [grant for refold in refolds.values() for grant in refold.grants])


async def _hold(session: Session, rules: Deployed, partition: int) -> None:
    try:
        await hold_partitions(session, [partition], epoch=rules.epoch)
    except RulesMovedError as error:
        raise SupersededError from error


async def _forget_scopes(store: Store, rules: Deployed, pause: float) -> None:
    """Delete states and checkpoints of scopes that no plan has any more."""
    async with store.transaction() as session:
        known = {row.scope for row in await session.rows(Aggregate, "aggregates")}
    for scope in sorted(known - rules.program.scopes.keys()):
        for statement in ("forget_states_of_scope", "forget_checkpoints_of_scope"):
            forgotten = PAGE
            while forgotten == PAGE:
                async with store.transaction(patient=True) as session:
                    # Any partition will do: rules that bring the scope back wait for all of them.
                    await _hold(session, rules, 0)
                    forgotten = await session.run(statement, scope=scope, limit=PAGE)
                await anyio.sleep(pause)


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

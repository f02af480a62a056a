"""The backfill: after rules have changed, it brings all subjects up to date, in the background and in small pieces.

A piece is some subjects of one partition: its lock is held for a moment only, so that live unlocks hardly wait. The
stamp of a stored state says whether it is up to date, so several may run at once, and subjects that live events have
touched meanwhile are skipped. The change that is built says where it goes on (worker/admin/lease.py): a backfill that
was interrupted does, in whatever process.

Subjects with events that the rules hear come first. Then come those that have none now, and something left of earlier
rules: their state goes, and what nothing supports is contested.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import structlog

from dsl.outcome import Subject
from worker.admin.changes import Change, builder_name
from worker.admin.lease import NO_LIMITS, Lease, Limits, SupersededError, take
from worker.admin.members import add_missing_members, forget_unheard
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
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from dsl.event import Position
    from dsl.progress import Grant
    from worker.engine.change import Cause
    from worker.engine.pace import Headway
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


async def backfill(  # noqa: PLR0913 - each is a choice of its own
    store: Store,
    settings: Settings,
    *,
    now: Callable[[], int],
    granted: Callable[[], None] | None = None,
    pause: float = PAUSE_SECONDS,
    limits: Limits = NO_LIMITS,
    watch: Callable[[Headway], None] | None = None,
) -> Report:
    """Bring every subject up to date with the rules in force, and report what that has changed.

    It goes on with the change that put them into force, where that is not done. `now` is in microseconds; `granted` is
    called whenever there may be something to announce, `watch` with how far the change is built.

    Raises:
        SupersededError: other rules came into force.
        BuildEndedError: the change was paused or cancelled, or another process builds it now.
        UnavailableError: the database went away; call again to go on.
    """
    rules = await load_deployed(store, settings)
    await adopt_plans(store, rules, now=now())
    change = await change_to_build(store, rules.epoch)
    lease = None
    if change is not None:
        lease = await take(
            store, change.change_id, builder_name(), by_operator=True, now=now, limits=limits, watch=watch
        )
    return await build(store, settings, rules, lease, now=now, granted=granted, pause=pause)


async def build(  # noqa: PLR0913 - what it works with
    store: Store,
    settings: Settings,
    rules: Deployed,
    lease: Lease | None,
    *,
    now: Callable[[], int],
    granted: Callable[[], None] | None = None,
    pause: float = PAUSE_SECONDS,
) -> Report:
    """Do what `backfill` does, for the change that was taken; without one, look at all subjects again.

    Raises:
        SupersededError, BuildEndedError, UnavailableError: as in `backfill`.
    """
    cause = None if lease is None else lease.change.cause
    work = _Build(store, settings, rules, lease, cause, Report(rules.epoch), now, granted, pause)
    async with nullcontext() if lease is None else lease.kept():
        await _tidy_members(work)
        await _expect(work)
        for scope, plan in rules.program.scopes.items():
            for search in (_who_hears(rules, scope), _who_is_left(rules, scope)):
                await _search_through(work, search)
            async with store.transaction() as session:
                await session.run("aggregate_is_live", scope=scope, fingerprint=plan.fingerprint, now=now())
        await _forget_scopes(store, rules, pause)
        if lease is not None:
            await lease.end()
    log.info("backfill done", epoch=work.report.epoch, subjects=work.report.subjects)
    return work.report


async def change_to_build(store: Store, epoch: int) -> Change | None:
    """Return the change that put rules into force; None where it is done, or an earlier release has applied them.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        change = await session.row(Change, "change_of_epoch", epoch=epoch)
    return None if change is None or change.state == "done" else change


class _Build(NamedTuple):
    """What a backfill works with."""

    store: Store
    settings: Settings
    rules: Deployed
    lease: Lease | None
    cause: Cause | None
    """The change that decisions come of."""
    report: Report
    now: Callable[[], int]
    granted: Callable[[], None] | None
    pause: float


async def _tidy_members(work: _Build) -> None:
    """Do what the switch has left to do about members of field scopes."""
    lease = work.lease
    if lease is None:
        return
    if lease.cursor.heard:
        try:
            missed = await add_missing_members(work.store, work.rules, lease.cursor.heard, lease.cursor.xid)
        except RulesMovedError as error:
            raise SupersededError from error
        for subject, since in sorted(missed.items()):
            search = _who_hears(work.rules, subject.scope)
            await _bring_up_to_date(work, search, {subject: since})
        await lease.move(msgspec.structs.replace(lease.cursor, heard={}))
    if lease.cursor.unheard:
        await forget_unheard(work.store, work.rules)
        await lease.move(msgspec.structs.replace(lease.cursor, unheard=False))


async def _expect(work: _Build) -> None:
    """Estimate how many subjects are to be looked at: those with progress, twice."""
    if work.lease is None or work.lease.expected is not None:
        return
    async with work.store.transaction(patient=True) as session:
        counts = dict(await session.rows(_count_of_scope, "count_progress"))
    work.lease.expected = 2 * sum(counts.get(scope, 0) for scope in work.rules.program.scopes)


def _count_of_scope(scope: str, number: int) -> tuple[str, int]:
    return scope, number


async def _search_through(work: _Build, search: _Search) -> None:
    """Bring those up to date that a search finds, from where the change says."""
    lease = work.lease
    after = _Named("", "")
    if lease is not None:
        place = lease.cursor
        if (place.scope, place.left) > (search.scope, search.left):
            return  # this was done before
        if (place.scope, place.left) == (search.scope, search.left):
            after = _Named(place.tenant_id, place.subject)
    async for page in _pages(work.store, search, after):
        for piece in page.pieces():
            await _bring_up_to_date(work, search, dict.fromkeys(piece, BEGINNING))
            if work.granted is not None:
                work.granted()
            await anyio.sleep(work.pause)
        if lease is not None:
            await lease.did(looked_at=page.looked_at)
            await lease.move(
                msgspec.structs.replace(
                    lease.cursor,
                    scope=search.scope,
                    left=search.left,
                    tenant_id=page.last.tenant_id,
                    subject=page.last.subject,
                )
            )


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
    # Where a change is not built yet, these subjects may not be up to date with it either.
    change = await change_to_build(store, rules.epoch)
    cause = None if change is None else change.cause
    work = _Build(store, settings, rules, None, cause, Report(rules.epoch), now, None, 0.0)
    for subject in sorted(subject for subject in since if subject.scope in rules.program.scopes):
        search = _who_hears(rules, subject.scope)
        await _bring_up_to_date(work, search, {subject: since[subject]})
    return work.report


# -- who is not up to date --------------------------------------------------------------------------------------------


class _Named(NamedTuple):
    tenant_id: str
    subject: str


_HEARS: Final = False
_IS_LEFT: Final = True


class _Search(NamedTuple):
    """How subjects of a scope are found: a query for pages of them, and one for those that are not up to date."""

    scope: str
    left: bool
    """Whether it is for those without an event that the plan hears."""
    pages: str
    asked: dict[str, object]
    """Arguments of the first query, besides the page."""
    stale: str
    state: dict[str, object]
    """Arguments of the second query, besides the subjects and their scope."""


def _who_hears(rules: Deployed, scope: str) -> _Search:
    """Find subjects with events that the plan hears; those without a state of this plan are to be folded."""
    pages, asked = subjects_heard(rules, scope)
    return _Search(scope, _HEARS, pages, asked, "stale_subjects", {"stamp": rules.stamps[scope]})


def _who_is_left(rules: Deployed, scope: str) -> _Search:
    """Find all others: those with a state, checkpoints or supported unlocks, and no event that the plan hears."""
    judged = [f"{achievement}.{tier}" for achievement, tier in rules.ruled(scope)]
    state: dict[str, object] = {"stamp": rules.stamps[scope], "judged": judged}
    return _Search(scope, _IS_LEFT, "subjects_with_rows", {"scope": scope}, "left_subjects", state)


class _Page(NamedTuple):
    """Some subjects that were looked at together."""

    stale: list[Subject]
    """Those that are not up to date."""
    looked_at: int
    last: _Named

    def pieces(self) -> Iterator[list[Subject]]:
        """Yield those that are not up to date, in pieces of one partition."""
        by_partition: defaultdict[int, list[Subject]] = defaultdict(list)
        for subject in self.stale:
            by_partition[partition_of(*subject)].append(subject)
        for subjects in by_partition.values():
            for at in range(0, len(subjects), PIECE):
                yield subjects[at : at + PIECE]


async def _pages(store: Store, search: _Search, after: _Named) -> AsyncIterator[_Page]:
    """Yield subjects of a scope behind one, in pages."""
    while True:
        async with store.transaction(patient=True) as session:
            place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
            page = await session.rows(_Named, search.pages, **search.asked, **place, limit=PAGE)
            stale = await _stale(session, search, page)
        if page:
            after = page[-1]
            yield _Page(stale, len(page), after)
        if len(page) < PAGE:
            return


async def _stale(session: Session, search: _Search, page: list[_Named]) -> list[Subject]:
    tenants, names = [one.tenant_id for one in page], [one.subject for one in page]
    asked = {"tenant_ids": tenants, "subjects": names, "scope": search.scope}
    rows = await session.rows(_Named, search.stale, **asked, **search.state)
    return [Subject(row.tenant_id, search.scope, row.subject) for row in rows]


# -- bringing them up to date -----------------------------------------------------------------------------------------


async def _bring_up_to_date(work: _Build, search: _Search, since: Mapping[Subject, Position]) -> None:
    """Bring a piece up to date: subjects of one scope and partition, from their last checkpoints before a position."""
    piece, rules, now = sorted(since), work.rules, work.now()
    partition = partition_of(*piece[0])
    async with work.store.transaction(patient=True) as session:
        await _hold(session, rules, partition)
        # Live events may have come first.
        stale = await _stale(session, search, [_Named(one.tenant_id, one.subject) for one in piece])
        if not stale:
            return
        refolds = await refold(session, rules, {subject: since[subject] for subject in stale})
        states = {subject: SubjectState(partition) for subject in refolds}
        facts = backfill_facts(states, refolds, await unlocks_of(session, refolds), work.cause)
        clock = now
        if work.settings.clock is Clock.STREAM:
            clock = await session.value(int, "latest_instant") or 0
        writes = await write(session, work.settings, rules, decide(rules, facts, now=now, clock=clock))
    work.report.subjects += len(refolds)
    _count(work.report, writes.decisions, [grant for refold in refolds.values() for grant in refold.grants])
    if work.lease is not None:
        events = sum(refold.events for refold in refolds.values())
        await work.lease.did(subjects=len(refolds), events=events)


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

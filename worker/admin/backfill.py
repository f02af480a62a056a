"""The backfill: after rules have changed, it brings all subjects up to date, in the background and in small pieces.

A piece is some subjects of one partition: its lock is held for a moment only, so that live unlocks hardly wait. Who is
visited: worker/admin/outdated.py. The stamp of a stored state says which rules have folded it, and one that is carried
over without effect is not written. So several may run at once, and subjects that live events have touched meanwhile are
skipped. The change that is built says where it goes on (worker/admin/lease.py): a backfill that was interrupted does,
in whatever process.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import structlog

from dsl.event import Position
from worker.admin.changes import Change, builder_name, name_and_number
from worker.admin.lease import NO_LIMITS, Lease, Limits, SupersededError, take
from worker.admin.members import add_missing_members, forget_unheard
from worker.admin.outdated import BEFORE_ALL, PAGE, Named, Stamp, pages_of, searches
from worker.admin.rollout import adopt_plans
from worker.contract.partition import partition_of
from worker.engine.columns import FIELDLESS
from worker.engine.decide import backfill_facts, decide, without
from worker.engine.state_cache import BEGINNING, SubjectState
from worker.pipeline.fence import RulesMovedError, hold_partitions
from worker.pipeline.ledger import clock_of, read_back, states_of, types_heard, unlocks_of
from worker.pipeline.refold import refold
from worker.pipeline.rules_in_force import Aggregate, load_deployed
from worker.pipeline.write import write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.admin.outdated import Search
    from worker.engine.change import Cause
    from worker.engine.folding import Refold
    from worker.engine.pace import Headway
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

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
    # Where nothing is left to be built, it was asked to look again.
    thorough = lease is None and not await is_building(store)
    async with nullcontext() if lease is None else lease.kept():
        await _tidy_members(work)
        await _expect(work)
        for scope, plan in rules.program.scopes.items():
            if lease is None or lease.cursor.scope <= scope:
                for search in await searches(store, rules, scope, thorough=thorough):
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
            await _bring_up_to_date(work, {subject: since})
        await lease.move(msgspec.structs.replace(lease.cursor, heard={}))
    if lease.cursor.unheard:
        await forget_unheard(work.store, work.rules)
        await lease.move(msgspec.structs.replace(lease.cursor, unheard=False))


async def _expect(work: _Build) -> None:
    """Estimate how many subjects are to be looked at: those with progress, twice."""
    if work.lease is None or work.lease.expected is not None:
        return
    async with work.store.transaction(patient=True) as session:
        counts = dict(await session.rows(name_and_number, "count_progress"))
    work.lease.expected = 2 * sum(counts.get(scope, 0) for scope in work.rules.program.scopes)


async def _search_through(work: _Build, search: Search) -> None:
    """Bring those up to date that a search finds, from where the change says."""
    lease = work.lease
    after, here = BEFORE_ALL, (search.scope, search.step)
    if lease is not None:
        place = lease.cursor
        if (place.scope, place.step) > here:
            return  # this was done before
        if (place.scope, place.step) == here:
            after = Named(place.tenant_id, place.subject)
    async for page in pages_of(work.store, work.rules, search, after):
        for piece in page.pieces():
            await _bring_up_to_date(work, dict.fromkeys(piece, BEGINNING))
            if work.granted is not None:
                work.granted()
            await anyio.sleep(work.pause)
        if lease is not None:
            await lease.did(looked_at=page.looked_at)
            await lease.move(
                msgspec.structs.replace(
                    lease.cursor,
                    scope=search.scope,
                    step=search.step,
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
        await _bring_up_to_date(work, {subject: since[subject]})
    return work.report


# -- bringing them up to date -----------------------------------------------------------------------------------------


async def _bring_up_to_date(work: _Build, since: Mapping[Subject, Position]) -> None:
    """Bring a piece up to date: subjects of one scope and partition.

    The state of earlier rules is carried over; subjects without one are folded from their last checkpoint before a
    position. Where nothing is otherwise, nothing is written.
    """
    rules, now, partition = work.rules, work.now(), partition_of(*min(since))
    async with work.store.transaction(patient=True) as session:
        await _hold(session, rules, partition)
        # Live events may have come first.
        states = await states_of(session, rules, since)
        stale = {one: state for one, state in states.items() if state.stamp != rules.stamps[one.scope]}
        if not stale:
            return
        late = {one: since[one] if state.state is None else _BEHIND_ALL for one, state in stale.items()}
        refolds = await refold(session, rules, late, stale)
        await _find_marks(session, rules, refolds)
        empty = {one: SubjectState(partition) for one in refolds}
        facts = backfill_facts(empty, refolds, await unlocks_of(session, refolds), work.cause)
        clock = await clock_of(session, work.settings, now)
        decided = decide(rules, facts, now=now, clock=clock)
        kept = _as_they_were(rules, refolds, stale, decided.decisions)
        writes = await write(session, work.settings, rules, without(decided, kept))
    work.report.subjects += len(refolds) - len(kept)
    _count(work.report, writes.decisions, [grant for refold in refolds.values() for grant in refold.grants])
    if work.lease is not None:
        events = sum(one.events + (0 if one.anew is None else one.anew.events) for one in refolds.values())
        await work.lease.did(subjects=len(refolds) - len(kept), events=events)


_BEHIND_ALL: Final = Position(2**63 - 1, "")


def _as_they_were(
    rules: Deployed, refolds: Mapping[Subject, Refold], stale: Mapping[Subject, SubjectState], decisions: list[Decision]
) -> set[Subject]:
    """Return the subjects without any change: their states stay under the stamp that they have."""
    moved = {decision.subject for decision in decisions}
    return {
        subject
        for subject, refold in refolds.items()
        if refold.as_it_was and subject not in moved and not rules.former.aged(stale[subject].stamp)
    }


class _Last(NamedTuple):
    n: int
    at: int
    id: str


async def _find_marks(session: Session, rules: Deployed, refolds: Mapping[Subject, Refold]) -> None:
    """Look up the last events of carried states whose marks may be events that no rule hears any more."""
    asked = sorted(subject for subject, refold in refolds.items() if refold.mark_is_doubtful)
    for scope, some in groupby(sorted(asked, key=itemgetter(1)), key=itemgetter(1)):
        subjects = list(some)
        query = {"user": "last_of_users", "tenant": "last_of_tenants"}.get(scope, "last_of_subjects")
        places: dict[str, object] = {
            "tenant_ids": [one.tenant_id for one in subjects],
            "subjects": [one.subject for one in subjects],
            "types": types_heard(rules, scope),
        }
        if scope not in FIELDLESS:
            places["scope"] = scope
        found = {subjects[row.n - 1]: Position(row.at, row.id) for row in await session.rows(_Last, query, **places)}
        # The last one in the ledger need not be the last one: what no rule hears may lie behind one that is archived.
        behind = {subject: found.get(subject, BEGINNING) for subject in subjects}
        async for page in read_back(session, rules, scope, behind):
            found.update({subject: Position(event.at, event.id) for subject, event in page})
        for subject in subjects:
            refolds[subject].mark(found.get(subject))


async def _hold(session: Session, rules: Deployed, partition: int) -> None:
    try:
        await hold_partitions(session, [partition], epoch=rules.epoch)
    except RulesMovedError as error:
        raise SupersededError from error


async def _forget_scopes(store: Store, rules: Deployed, pause: float) -> None:
    """Delete states and checkpoints of scopes that no plan has any more."""
    async with store.transaction() as session:
        known = {row.scope for row in await session.rows(Aggregate, "aggregates")}
        known |= {row.scope for row in await session.rows(Stamp, "stamps_of_progress")}
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

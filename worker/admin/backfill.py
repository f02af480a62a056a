"""The backfill: after rules have changed, it brings all subjects up to date, in the background and in small pieces.

Who is visited: worker/admin/outdated.py; how: worker/admin/visit.py. Subjects are folded without a lock, and written in
pieces: some subjects of one partition, whose lock is held for a moment only, so that live unlocks hardly wait. The
stamp of a stored state says which rules have folded it, and one that is carried over without effect is not written. So
several may run at once, and subjects that live events have touched meanwhile are skipped. The change that is built says
where it goes on (worker/admin/lease.py): a backfill that was interrupted does, in whatever process.
"""

from __future__ import annotations

from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from worker.admin.built import Report
from worker.admin.changes import Change, builder_name, name_and_number
from worker.admin.lease import NO_LIMITS, Lease, Limits, SupersededError, take
from worker.admin.members import add_missing_members, forget_unheard
from worker.admin.outdated import PAGE, Stamp, searches
from worker.admin.piece import Build, hold
from worker.admin.piece import bring_up_to_date as bring_piece_up_to_date
from worker.admin.rollout import adopt_plans
from worker.admin.visit import visit
from worker.engine.pace import Courtesy
from worker.pipeline.fence import RulesMovedError
from worker.pipeline.rules_in_force import Aggregate, load_deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dsl.event import Position
    from dsl.outcome import Subject
    from worker.engine.change import Cause
    from worker.engine.pace import Headway
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Store

PAUSE_SECONDS: Final = 0.005
"""After each piece at least, while there are live batches; 0 for none."""

log = structlog.get_logger()


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
    work = Build(store, settings, rules, lease, cause, Report(rules.epoch), now, granted, Courtesy(pause))
    # Where nothing is left to be built, it was asked to look again.
    thorough = lease is None and not await is_building(store)
    async with nullcontext() if lease is None else lease.kept():
        await _tidy_members(work)
        await _expect(work)
        for scope, plan in rules.program.scopes.items():
            if lease is None or lease.cursor.scope <= scope:
                for search in await searches(store, rules, scope, thorough=thorough):
                    await visit(work, search)
            async with store.transaction() as session:
                await session.run("aggregate_is_live", scope=scope, fingerprint=plan.fingerprint, now=now())
        await _forget_scopes(work)
        if lease is not None:
            await lease.end()
    log.info("backfill done", epoch=work.report.epoch, subjects=work.report.subjects)
    return work.report.called(rules.renames)


async def change_to_build(store: Store, epoch: int) -> Change | None:
    """Return the change that put rules into force; None where it is done, or an earlier release has applied them.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        change = await session.row(Change, "change_of_epoch", epoch=epoch)
    return None if change is None or change.state == "done" else change


async def cause_of_build(store: Store, epoch: int) -> Cause | None:
    """Return what grants say to be their cause while the change of an epoch is built; None where none is.

    Raises:
        UnavailableError: the database is away.
    """
    change = await change_to_build(store, epoch)
    return None if change is None else change.cause


async def _tidy_members(work: Build) -> None:
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
            await bring_piece_up_to_date(work, {subject: since})
        await lease.move(msgspec.structs.replace(lease.cursor, heard={}))
    if lease.cursor.unheard:
        await forget_unheard(work.store, work.rules)
        await lease.move(msgspec.structs.replace(lease.cursor, unheard=False))


async def _expect(work: Build) -> None:
    """Estimate how many subjects are to be looked at: those with progress, twice."""
    if work.lease is None or work.lease.expected is not None:
        return
    async with work.store.transaction(patient=True) as session:
        counts = dict(await session.rows(name_and_number, "count_progress"))
    work.lease.expected = 2 * sum(counts.get(scope, 0) for scope in work.rules.program.scopes)


async def is_building(store: Store) -> bool:
    """Tell whether a backfill of the rules in force has yet to come to its end.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        return bool(await session.value(bool, "something_is_building"))


async def bring_up_to_date(
    store: Store,
    settings: Settings,
    since: Mapping[Subject, Position],
    *,
    now: Callable[[], int],
) -> Report:
    """Bring some subjects up to date, whose events from a position on are others now; report what that has changed.

    Those of scopes that nothing judges are passed over.

    Raises:
        SupersededError, UnavailableError: as in `backfill`.
    """
    rules = await load_deployed(store, settings)
    # Where a change is not built yet, these subjects may not be up to date with it either.
    cause = await cause_of_build(store, rules.epoch)
    work = Build(store, settings, rules, None, cause, Report(rules.epoch), now, None, Courtesy(0.0))
    for subject in sorted(subject for subject in since if subject.scope in rules.program.scopes):
        await bring_piece_up_to_date(work, {subject: since[subject]})
    return work.report


async def _forget_scopes(work: Build) -> None:
    """Delete states and checkpoints of scopes that no plan has any more."""
    async with work.store.transaction() as session:
        known = {row.scope for row in await session.rows(Aggregate, "aggregates")}
        known |= {row.scope for row in await session.rows(Stamp, "stamps_of_progress")}
    for scope in sorted(known - work.rules.program.scopes.keys()):
        for statement in ("forget_states_of_scope", "forget_checkpoints_of_scope"):
            forgotten = PAGE
            while forgotten == PAGE:
                began = monotonic()
                async with work.store.transaction(patient=True) as session:
                    # Any partition will do: rules that bring the scope back wait for all of them.
                    await hold(session, work, 0)
                    forgotten = await session.run(statement, scope=scope, limit=PAGE)
                await work.rest(began)

"""The backfill: after rules have changed, it brings all subjects up to date, in the background and in small pieces.

A piece is some subjects of one partition: its lock is held for a moment only, so that live unlocks hardly wait. Who is
visited: worker/admin/outdated.py. The stamp of a stored state says which rules have folded it, and one that is carried
over without effect is not written. So a backfill that was interrupted goes on where it was, several may run at once,
and subjects that live events have touched meanwhile are skipped.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec
import structlog

from dsl.event import Position
from worker.admin.outdated import PAGE, Stamp, pages_of, searches
from worker.admin.rollout import adopt_plans
from worker.contract.partition import partition_of
from worker.engine.columns import FIELDLESS
from worker.engine.decide import backfill_facts, decide, without
from worker.engine.state_cache import BEGINNING, SubjectState
from worker.pipeline.fence import RulesMovedError, hold_partitions
from worker.pipeline.ledger import states_of, types_heard, unlocks_of
from worker.pipeline.refold import refold
from worker.pipeline.rules_in_force import Aggregate, load_deployed
from worker.pipeline.write import write
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.engine.folding import Refold
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

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
    thorough = not await is_building(store)
    for scope, plan in rules.program.scopes.items():
        for search in await searches(store, rules, scope, thorough=thorough):
            async for page in pages_of(store, rules, search):
                for piece in page.pieces():
                    await _bring_up_to_date(store, settings, rules, dict.fromkeys(piece, BEGINNING), report, now=now())
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
        await _bring_up_to_date(store, settings, rules, {subject: since[subject]}, report, now=now())
    return report


# -- bringing them up to date -----------------------------------------------------------------------------------------


async def _bring_up_to_date(
    store: Store,
    settings: Settings,
    rules: Deployed,
    since: Mapping[Subject, Position],
    report: Report,
    *,
    now: int,
) -> None:
    """Bring a piece up to date: subjects of one scope and partition.

    The state of earlier rules is carried over; subjects without one are folded from their last checkpoint before a
    position. Where nothing is otherwise, nothing is written.
    """
    partition = partition_of(*min(since))
    async with store.transaction(patient=True) as session:
        await _hold(session, rules, partition)
        # Live events may have come first.
        states = await states_of(session, rules, since)
        stale = {one: state for one, state in states.items() if state.stamp != rules.stamps[one.scope]}
        if not stale:
            return
        late = {one: since[one] if state.state is None else _BEHIND_ALL for one, state in stale.items()}
        refolds = await refold(session, rules, late, stale)
        await _find_marks(session, rules, refolds)
        facts = backfill_facts(
            {one: SubjectState(partition) for one in refolds}, refolds, await unlocks_of(session, refolds)
        )
        clock = now
        if settings.clock is Clock.STREAM:
            clock = await session.value(int, "latest_instant") or 0
        decided = decide(rules, facts, now=now, clock=clock)
        kept = _as_they_were(rules, refolds, stale, decided.decisions)
        writes = await write(session, settings, rules, without(decided, kept))
    report.subjects += len(refolds) - len(kept)
    _count(report, writes.decisions, [grant for refold in refolds.values() for grant in refold.grants])


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

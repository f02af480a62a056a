"""Moments: a version of the rules begins, and every subject is judged, without an event.

No event has to come for it, so a worker looks for moments that the clock has reached. It reads all states whose
mark lies before the moment, without a lock, and brings those up to date that earn something then. No event is read but
those that a row of `progress` lags behind.

A worker whose clock is slow may commit a batch meanwhile that has not passed the moment, for a subject that was looked
at already. So all are looked at a second time, once no clock can be that slow. The row of the moment says who looks,
and how far it is: a worker that falls silent is followed by another one, which goes on from there. Two that look at
once do no harm, since each subject is looked at again under the lock of its partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from dsl.calendar import format_instant
from dsl.fold import walk
from dsl.outcome import Subject
from dsl.progress import decode
from worker.admin.backfill import cause_of_build
from worker.admin.built import Report
from worker.admin.changes import SILENT_SECONDS, builder_name
from worker.admin.lease import SupersededError
from worker.admin.outdated import Named, Page, StateRow
from worker.admin.piece import Build, bring_up_to_date, in_pieces
from worker.engine.folding import UnfoldableError, earns_at_moment
from worker.engine.pace import Courtesy
from worker.engine.rule_set import RulesRefusedError
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import clock_of, event_of, types_heard
from worker.pipeline.past_states import know_former
from worker.pipeline.rules_in_force import load_deployed
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dsl.compile import Plan
    from worker.engine.rule_set import Deployed
    from worker.pipeline.standby import Standby
    from worker.settings import Settings
    from worker.store import Session, Store

LOOK_SECONDS: Final = 1.0
REST_SECONDS: Final = 60.0
"""After a failure."""
SLOW_SECONDS: Final = 60
"""That a batch may take, beside what clocks may differ: the second look comes so much later."""
PAGE: Final = 500
"""States that are looked at together: few, since live batches wait meanwhile."""
PAUSE_SECONDS: Final = 0.005
FAR: Final = 2**62
"""Behind every moment."""

log = structlog.get_logger()


class Due(NamedTuple):
    """A moment that this process looks at: when it is, which look it is, and the last subject that was looked at."""

    at: int
    looks: int
    scope: str
    after: Named


class _Taken(NamedTuple):
    looks: int
    scope: str
    tenant_id: str
    subject: str


class MomentLostError(Exception):
    """Another process looks at the moment now."""


class Moments:
    """Judges all subjects when versions begin; `granted` is called whenever there may be something to announce."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        standby: Standby,
        *,
        now: Callable[[], int],
        granted: Callable[[], None],
    ) -> None:
        self._store = store
        self._settings = settings
        self._standby = standby
        self._now = now
        self._granted = granted
        self._builder = builder_name()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                while await self.look():
                    pass
            except (MomentLostError, SupersededError) as error:
                log.info("a moment is not judged any further here", said=str(error))
            except (UnavailableError, RefusedError, RulesRefusedError, UnfoldableError) as error:
                log.warning("a moment cannot be judged at the moment", said=str(error))
                await anyio.sleep(0 if isinstance(error, UnavailableError) else REST_SECONDS)
            await anyio.sleep(LOOK_SECONDS)

    async def look(self) -> bool:
        """Look at the first moment that is due; return whether there was one.

        Raises:
            MomentLostError: another process has taken it over.
            SupersededError: other rules came into force; look again.
            UnavailableError: the database is away.
        """
        due = await self._due()
        if due is None:
            return False
        rules = await load_deployed(self._store, self._settings, self._standby.sets)
        subjects = 0
        for scope, plan in sorted(rules.program.scopes.items()):
            if scope >= due.scope:
                after = due.after if scope == due.scope else Named()
                subjects += await self._look_through(rules, scope, plan, due._replace(after=after))
        async with self._store.transaction() as session:
            await session.run("end_look", at=due.at, builder=self._builder, now=self._now())
        if subjects or not due.looks:
            log.info("moment judged", at=format_instant(due.at), look=due.looks + 1, subjects=subjects)
        return True

    async def are_judged(self) -> bool:
        """Tell whether all subjects were looked at for each moment that the clock has reached.

        Raises:
            UnavailableError: the database is away.
        """
        async with self._store.transaction() as session:
            clock = await self._clock(session)
            return clock is None or await session.value(int, "due_moment", clock=clock, second=0) is None

    async def _clock(self, session: Session) -> int | None:
        """Return what the clock shows; None where nothing is left to come."""
        # By the clock of the stream, it is only asked what that shows where it matters.
        if await session.value(int, "due_moment", clock=FAR, second=FAR) is None:
            return None
        return await clock_of(session, self._settings, self._now())

    async def _due(self) -> Due | None:
        """Take the first moment that is due, if there is one that no other process is at."""
        async with self._store.transaction() as session:
            clock = await self._clock(session)
            if clock is None:
                return None
            second = clock - (self._settings.skew + SLOW_SECONDS) * 1_000_000
            at = await session.value(int, "due_moment", clock=clock, second=second)
            if at is None:
                return None
            silent = int(SILENT_SECONDS * 1000)
            row = await session.row(_Taken, "take_moment", at=at, builder=self._builder, silent_ms=silent)
        return None if row is None else Due(at, row.looks, row.scope, Named(row.tenant_id, row.subject))

    async def _look_through(self, rules: Deployed, scope: str, plan: Plan, due: Due) -> int:
        """Bring those up to date that earn something; return how many they were."""
        if not any(moment.at == due.at for moment in plan.moments):
            return 0
        cause = await cause_of_build(self._store, rules.epoch)
        report, courtesy = Report(rules.epoch), Courtesy(0.0)
        work = Build(self._store, self._settings, rules, None, cause, report, self._now, self._granted, courtesy)
        subjects, last = 0, due.after
        async for page in self._pages(rules, scope, due):
            for piece in in_pieces(page.found):
                await bring_up_to_date(work, dict.fromkeys(piece, BEGINNING))
                await self._beat(due, scope, last, 0)
                await anyio.sleep(PAUSE_SECONDS)
            subjects += len(page.found)
            last = page.last
            await self._beat(due, scope, last, len(page.found))
            await anyio.sleep(PAUSE_SECONDS)
        return subjects

    async def _beat(self, due: Due, scope: str, last: Named, subjects: int) -> None:
        async with self._store.transaction() as session:
            known = await session.value(
                int,
                "beat_moment",
                at=due.at,
                builder=self._builder,
                scope=scope,
                tenant_id=last.tenant_id,
                subject=last.subject,
                subjects=subjects,
            )
        if known is None:
            raise MomentLostError("another process has taken it over")

    async def _pages(self, rules: Deployed, scope: str, due: Due) -> AsyncIterator[Page]:
        """Yield the subjects of a scope that earn something at moments up to the one that is due."""
        after, types = due.after, types_heard(rules, scope)
        while True:
            async with self._store.transaction(patient=True) as session:
                clock = await clock_of(session, self._settings, self._now())
                place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
                rows = await session.rows(
                    StateRow, "states_before", scope=scope, until=due.at, types=types, **place, limit=PAGE
                )
                stale = {(scope, row.stamp) for row in rows if row.stamp != rules.stamps[scope]}
                if stale:
                    await know_former(session, rules, stale)
            if rows:
                after = Named(rows[-1].tenant_id, rows[-1].subject)
                found = [Subject(row.tenant_id, scope, row.subject) for row in rows if earns(rules, scope, row, clock)]
                yield Page(found, len(rows), after)
            if len(rows) < PAGE:
                return


def earns(rules: Deployed, scope: str, row: StateRow, clock: int) -> bool:
    """Tell whether a stored state earns something at a moment up to a clock, or does not say enough to tell.

    Its user's later events were granted when they came. Rules in between are those of a change that is built.
    """
    plan, state = rules.program.scopes[scope], decode(row.state.encode())
    if state is None:
        return True
    if row.stamp != rules.stamps[scope]:
        carriage = rules.former.carriage(scope, row.stamp)
        carried = None if carriage is None else carriage.without.of(state)
        if carried is None or not carried.certain:
            return True
        state = carried.state
    try:
        walk(plan, state, [event_of(rules, *event) for event in row.unsaved])
    except Exception:  # noqa: BLE001 - to fold the subject again shows what is wrong
        return True
    return earns_at_moment(plan, state, clock)

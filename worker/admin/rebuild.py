"""A rebuild: states are thrown away and folded again from the ledger, beside live workers.

What comes out is what was there: a difference means a defect, or a database that others have touched. It is reported,
and corrected by the usual decisions: what is missing is granted, what no event supports is contested.

A subject is folded in a snapshot and without a lock, from its first event on, and compared there with its state, its
checkpoints and its unlocks (worker/admin/folded_anew.py). As a rule nothing differs, and nothing is locked or written:
live work hardly notices. What differs, or was folded by earlier rules, is put in place under the lock of its partition,
which is held for a moment only: what came since is folded on top. If the ledger does not have as many events up to
there as were folded, a late one came in between, or an erasure: then the subject is folded again from the beginning.

How far it is stands in a row of `rebuild`, and whatever process rebuilds the same subjects goes on from there.
"""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import msgspec

from dsl.calendar import format_instant
from dsl.compile import USER
from worker.admin.backfill import cause_of_build
from worker.admin.folded_anew import Anew, differs, feed, fold_from_the_beginning, fold_without_lock
from worker.admin.lease import LAG_SECONDS, NO_LIMITS, SEEN_SECONDS, Limits
from worker.admin.outdated import BEFORE_ALL, Named
from worker.admin.piece import in_pieces
from worker.admin.rebuild_target import Page, Target, pages_of, scopes_of
from worker.contract.partition import partition_of
from worker.engine.columns import FIELDLESS, position_columns
from worker.engine.decide import backfill_facts, decide
from worker.engine.pace import Headway, Lag, Pace, gives_way
from worker.engine.state_cache import BEGINNING, SubjectState
from worker.pipeline.fence import RulesMovedError, hold_partitions
from worker.pipeline.ledger import clock_of, positions_heard, states_of, unlocks_of
from worker.pipeline.rules_in_force import load_deployed
from worker.pipeline.write import write
from worker.retry import PATIENCE_SECONDS, delays
from worker.store import UnavailableError, UnusableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.event import Position
    from dsl.outcome import Subject
    from worker.engine.change import Cause
    from worker.engine.folding import Refold
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

PAUSE_SECONDS: Final = 0.005
"""After each piece, for the live batches that wait for the partition."""
SHOWN: Final = 1000
"""Differences that are kept; the others are counted."""
STATE: Final = "state"
"""The kind of a difference that is no decision: the stored state was another one."""


class Difference(msgspec.Struct, frozen=True):
    """What was not as the events make it: a state, or an unlock and what was decided about it."""

    kind: str
    tenant_id: str
    scope: str
    subject: str
    achievement: str | None = None
    tier: str | None = None
    occurrence: str | None = None
    version: int | None = None
    earned_at: str | None = None


class Rebuilt(msgspec.Struct):
    """What a rebuild has done so far, since it was begun."""

    subjects: int = 0
    events: int = 0
    states: int = 0
    """Subjects whose stored state, or a checkpoint, was not what their events make of it."""
    decisions: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter[str])
    """Decisions of this process, by kind."""
    differences: list[Difference] = msgspec.field(default_factory=list[Difference])
    """The first ones that this process has found."""
    went_on: bool = False
    """Whether it went on with one that was interrupted."""

    @property
    def is_as_it_was(self) -> bool:
        """Whether no difference was found."""
        return not self.states and not self.decisions


_LAST: Final = 2**63 - 1
"""Behind every rebuild."""


class _Place(NamedTuple):
    """An open rebuild."""

    rebuild_id: int
    scope: str = ""
    tenant_id: str = ""
    subject: str = ""
    subjects: int = 0
    events: int = 0
    states: int = 0
    decisions: int = 0


class Orders(NamedTuple):
    """How to rebuild."""

    by: str
    now: Callable[[], int]
    """In microseconds."""
    limits: Limits = NO_LIMITS
    pause: float = PAUSE_SECONDS
    anew: bool = False
    """Whether to begin anew where one was interrupted."""
    watch: Callable[[Headway], None] | None = None


async def rebuild(store: Store, settings: Settings, target: Target, orders: Orders) -> Rebuilt:
    """Rebuild the subjects of a target, or go on with a rebuild of them that was interrupted.

    Raises:
        UnknownAchievementError: no rule in force has the achievement of the target.
        UnavailableError: the database went away; call again to go on.
    """
    rules = await load_deployed(store, settings)
    if target.achievement is not None:
        target = target._replace(achievement=rules.renames.first(target.achievement))
    scopes = scopes_of(rules, target)
    work = _Rebuild(store, settings, target, orders, rules)
    await work.begin()
    for scope in scopes:
        await work.through(scope)
    await work.end()
    work.done.differences = rules.renames.shown_in(work.done.differences)
    return work.done


async def end_of(store: Store, **ended: object) -> None:
    """Note that rebuilds have ended: the arguments of `end_rebuilds`.

    Raises:
        UnavailableError: they may have ended or not; call again.
    """
    async with store.transaction() as session:
        await session.run("end_rebuilds", **ended)


class _Rebuild:
    """A rebuild under way."""

    def __init__(self, store: Store, settings: Settings, target: Target, orders: Orders, rules: Deployed) -> None:
        self._store, self._settings, self._target, self._orders = store, settings, target, orders
        self._rules = rules
        self._place: _Place | None = None
        self._pace = Pace(orders.limits.rate, monotonic())
        self._begun = self._lagged = monotonic()
        self._waits_for = ""
        self.done = Rebuilt()

    @property
    def _asked(self) -> dict[str, object]:
        return {"tenant_id": self._target.tenant, "achievement": self._target.achievement}

    async def begin(self) -> None:
        """Find the place to go on from. A single user is one step, and leaves no row."""
        if self._target.user is not None:
            return
        now = self._orders.now()
        async with self._store.transaction() as session:
            if self._orders.anew:
                await session.run("end_rebuilds", **self._asked, upto=_LAST, now=now)
            self._place = await session.row(_Place, "rebuild_to_go_on_with", **self._asked)
            if self._place is None:
                made = await session.value(int, "begin_rebuild", **self._asked, now=now, by=self._orders.by)
                self._place = _Place(made or 0)
                return
        *_, subjects, events, states, decisions = self._place
        self.done = Rebuilt(subjects, events, states, decisions, went_on=True)

    async def end(self) -> None:
        """Note that all is done."""
        if self._place is None:
            return
        until = monotonic() + PATIENCE_SECONDS
        for wait in delays():
            try:
                await end_of(self._store, **self._asked, upto=self._place.rebuild_id, now=self._orders.now())
            except UnusableError:
                raise
            except UnavailableError:
                # A commit that was not answered may have ended it: the caller would begin anew, and count nothing.
                if monotonic() > until:
                    raise
                await anyio.sleep(wait)
            else:
                return

    async def through(self, scope: str) -> None:
        """Rebuild the subjects of a scope, from the place on."""
        place, after = self._place, BEFORE_ALL
        if place is not None:
            if place.scope > scope:
                return  # it was done before
            after = Named(place.tenant_id, place.subject) if place.scope == scope else BEFORE_ALL
        async for page in pages_of(self._store, self._rules, self._target, scope, after):
            before = msgspec.structs.replace(self.done)
            for piece in in_pieces(page.subjects):
                await self._piece(piece)
            await self._note(scope, page, before)

    async def _note(self, scope: str, page: Page, before: Rebuilt) -> None:
        done, place = self.done, self._place
        if place is None:
            return
        async with self._store.transaction() as session:
            await session.run(
                "note_rebuild",
                rebuild_id=place.rebuild_id,
                scope=scope,
                after_tenant=page.last.tenant_id,
                after_subject=page.last.subject,
                subjects=done.subjects - before.subjects,
                events=done.events - before.events,
                states=done.states - before.states,
                decisions=done.decisions - before.decisions,
            )

    async def _piece(self, piece: Sequence[Subject]) -> None:
        """Rebuild subjects of one scope and partition."""
        await self._give_way()
        left, events = [*piece], 0
        while left and left[0].scope in self._rules.program.scopes:  # rules may have come in force without the scope
            anew = await fold_without_lock(self._store, self._rules, left)
            events += sum(one.events for one in anew.folded.values())
            odd = {subject: anew.folded[subject] for subject in anew.odd}
            try:
                if odd:
                    await self._put_in_place(odd, anew.spoilt)
            except RulesMovedError:
                self._rules = await load_deployed(self._store, self._settings)
                left = [*odd]
                continue
            finally:
                self._count_alike(anew)
            break
        if self._orders.watch is not None:
            self._orders.watch(self._headway())
        rest = self._pace.rest(events, monotonic())
        await anyio.sleep(max(rest, self._orders.pause))

    def _headway(self) -> Headway:
        done, ms = self.done, int((monotonic() - self._begun) * 1000)
        return Headway(done.subjects, None, done.subjects, done.events, ms, self._waits_for)

    def _count_alike(self, anew: Anew) -> None:
        alike = [one for subject, one in anew.folded.items() if subject not in anew.odd]
        self.done.subjects += len(alike)
        self.done.events += sum(one.events for one in alike)

    async def _put_in_place(self, folded: dict[Subject, Refold], spoilt: AbstractSet[Subject]) -> None:
        """Save states that were folded, with what came since.

        Raises:
            RulesMovedError: other rules came into force, and nothing is saved.
        """
        rules, now = self._rules, self._orders.now()
        cause = await cause_of_build(self._store, rules.epoch)
        async with self._store.transaction(patient=True) as session:
            await hold_partitions(session, [partition_of(*min(folded))], epoch=rules.epoch)
            stored = await states_of(session, rules, folded)
            kept = {subject: one for subject, one in folded.items() if not stored[subject].erased}
            if not kept:
                return
            await _catch_up(session, rules, kept)
            await session.run("forget_checkpoints", **position_columns(dict.fromkeys(kept, BEGINNING)))
            clock = await clock_of(session, self._settings, now)
            decisions = await self._decide(session, rules, kept, cause, now=now, clock=clock)
        found = {one for one, refold in kept.items() if one in spoilt or differs(rules, stored[one], refold)}
        self._count(kept, found, decisions)

    async def _decide(
        self,
        session: Session,
        rules: Deployed,
        kept: dict[Subject, Refold],
        cause: Cause | None,
        *,
        now: int,
        clock: int,
    ) -> list[Decision]:
        empty = {subject: SubjectState(partition_of(*subject)) for subject in kept}
        facts = backfill_facts(empty, kept, await unlocks_of(session, kept), cause)
        writes = await write(session, self._settings, rules, decide(rules, facts, now=now, clock=clock))
        return writes.decisions

    def _count(
        self, kept: Mapping[Subject, Refold], differing: AbstractSet[Subject], decisions: Sequence[Decision]
    ) -> None:
        done = self.done
        done.subjects += len(kept)
        done.events += sum(one.events for one in kept.values())
        done.states += len(differing)
        done.decisions += len(decisions)
        done.kinds.update(decision.kind.value for decision in decisions)
        listed = [Difference(STATE, *subject) for subject in sorted(differing)] + [
            _difference(one) for one in decisions
        ]
        done.differences += listed[: SHOWN - len(done.differences)]

    async def _give_way(self) -> None:
        """Wait while live work is further behind than the limits allow."""
        most = self._orders.limits.max_lag
        while most is not None and (self._waits_for or monotonic() - self._lagged >= LAG_SECONDS):
            self._lagged, now = monotonic(), self._orders.now()
            async with self._store.transaction() as session:
                lag = await session.row(Lag, "live_lag", since=now - int(SEEN_SECONDS * 1_000_000))
            self._waits_for = "" if lag is None else gives_way(lag, most, now)
            if not self._waits_for:
                return
            if self._orders.watch is not None:
                self._orders.watch(self._headway())
            await anyio.sleep(LAG_SECONDS)


def _difference(decision: Decision) -> Difference:
    grant = decision.grant
    return Difference(
        decision.kind.value,
        *decision.subject,
        grant.achievement,
        grant.tier,
        grant.occurrence,
        grant.version,
        format_instant(grant.earned_at),
    )


async def _catch_up(session: Session, rules: Deployed, folded: dict[Subject, Refold]) -> None:
    """Fold what came since the snapshot. Where that is not all behind what was folded, fold again."""
    marks = {subject: one.state.mark for subject, one in folded.items()}
    known = {subject: mark for subject, mark in marks.items() if mark is not None}
    if rules.program.roles.naming:
        # An erasure leaves as many events, under other names.
        late = [*known]
    else:
        counts = await _counts(session, rules, known) if known else {}
        late = [subject for subject in known if counts.get(subject, 0) != folded[subject].events]
    rest = {subject: marks[subject] or BEGINNING for subject in folded if subject not in late}
    if rest:
        await feed(session, rules, folded, rest)
    if late:
        folded.update(await fold_from_the_beginning(session, rules, late))


class _Count(NamedTuple):
    n: int
    events: int


async def _counts(session: Session, rules: Deployed, marks: Mapping[Subject, Position]) -> dict[Subject, int]:
    """Return how many events of some types each subject of a scope has up to a position."""
    scope = min(marks).scope
    query = {USER: "count_of_users", "tenant": "count_of_tenants"}.get(scope, "count_of_subjects")
    asked = positions_heard(rules, scope, marks)
    if scope not in FIELDLESS:
        asked["scope"] = scope
    subjects = sorted(marks)
    return {subjects[n - 1]: events for n, events in await session.rows(_Count, query, **asked)}

"""A piece of a build: some subjects of one scope and partition, brought up to date in one short transaction.

They are folded ahead, without a lock (worker/admin/ahead.py). Under the lock of the partition it only remains to see
that nothing has touched them since, to compare what they have earned with their unlocks, and to write. A subject that
was touched is up to date, as a rule: a live event under the rules in force saves its state. All others are folded under
the lock.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from dsl.event import Position
from worker.admin.ahead import find_marks
from worker.admin.lease import SupersededError
from worker.contract.partition import partition_of
from worker.engine.columns import position_columns
from worker.engine.decide import backfill_facts, decide, without
from worker.engine.folding import earns_at_moment
from worker.engine.reconcile import unlock_id
from worker.engine.state_cache import BEGINNING, SubjectState
from worker.pipeline.fence import NO_OWNER, RulesMovedError, hold_partitions
from worker.pipeline.ledger import clock_of, states_of, unlocks_of, unlocks_to_compare
from worker.pipeline.refold import refold
from worker.pipeline.write import write
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.admin.ahead import Ahead
    from worker.admin.built import Report
    from worker.admin.lease import Lease
    from worker.engine.change import Cause
    from worker.engine.folding import Refold
    from worker.engine.pace import Courtesy
    from worker.engine.reconcile import Decision, Stored
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

PIECE: Final = 50
"""Subjects of one transaction, where they are not folded ahead."""
MOST_PENDING: Final = 6400
"""Subjects that are folded ahead and not written yet: some hundred of each partition."""
_BEHIND_ALL: Final = Position(2**63 - 1, "")


class Build(NamedTuple):
    """What a build works with."""

    store: Store
    settings: Settings
    rules: Deployed
    lease: Lease | None
    cause: Cause | None
    """The change that decisions come of."""
    report: Report
    now: Callable[[], int]
    granted: Callable[[], None] | None
    courtesy: Courtesy

    async def rest(self, since: float) -> None:
        """Rest for what was done since an instant (of `monotonic`)."""
        at = monotonic()
        await anyio.sleep(self.courtesy.rest(at - since, at))


class Pieces:
    """Subjects that are folded ahead, until there are enough of one partition to be written together."""

    def __init__(self, work: Build) -> None:
        self._work = work
        self._pending: defaultdict[int, dict[Subject, Ahead]] = defaultdict(dict)
        self._number = 0

    @property
    def full(self) -> bool:
        """Whether it is time to write all of them."""
        return self._number >= MOST_PENDING

    async def add(self, ahead: Mapping[Subject, Ahead]) -> None:
        """Take more of them, and write what is enough for a piece."""
        for subject, one in ahead.items():
            self._pending[partition_of(*subject)][subject] = one
        self._number += len(ahead)
        for partition in [key for key, some in self._pending.items() if len(some) >= self._work.courtesy.size]:
            await self._write([partition])

    async def flush(self) -> None:
        """Write all of them; where there is no live work, as many partitions together as a piece has room for."""
        waiting = deque(sorted(self._pending))
        while waiting:
            together = [waiting.popleft()]
            room = self._work.courtesy.size - len(self._pending[together[0]])
            while waiting and len(self._pending[waiting[0]]) <= room and self._work.courtesy.alone(monotonic()):
                together.append(waiting.popleft())
                room -= len(self._pending[together[-1]])
            await self._write(together)

    async def _write(self, partitions: Sequence[int]) -> None:
        some: dict[Subject, Ahead] = {}
        waiting: list[Subject] = []
        for partition in partitions:
            pending = self._pending.pop(partition)
            some |= pending
            waiting += sorted(pending)
        self._number -= len(some)
        while waiting:
            size = self._work.courtesy.size
            piece, waiting = waiting[:size], waiting[size:]
            await write_ahead(self._work, {subject: some[subject] for subject in piece})


def in_pieces(subjects: Iterable[Subject]) -> Iterator[list[Subject]]:
    """Yield subjects of one scope in pieces: a few of one partition."""
    by_partition: defaultdict[int, list[Subject]] = defaultdict(list)
    for subject in subjects:
        by_partition[partition_of(*subject)].append(subject)
    for some in by_partition.values():
        for at in range(0, len(some), PIECE):
            yield some[at : at + PIECE]


async def write_ahead(work: Build, ahead: Mapping[Subject, Ahead]) -> None:
    """Write subjects of one scope that were folded ahead: those of one partition, or of a few.

    Raises:
        SupersededError: other rules came into force.
        UnavailableError: nothing is known to have happened.
    """
    began = monotonic()
    # A full collection would take longer than all of this.
    with without_collector():
        written = await _write_locked(work, ahead)
    await _did(work, written)
    await work.rest(began)
    for moved in in_pieces(ahead.keys() - written.refolds.keys()):
        await bring_up_to_date(work, dict.fromkeys(moved, BEGINNING))


async def _write_locked(work: Build, ahead: Mapping[Subject, Ahead]) -> _Written:
    async with work.store.transaction() as session:
        await hold(session, work, {partition_of(*one) for one in ahead})
        locked = monotonic()
        unmoved = await _unmoved(session, ahead)
        refolds = {subject: ahead[subject].refold for subject in unmoved}
        anew = {subject: BEGINNING for subject, one in refolds.items() if one.since == BEGINNING}
        if anew:
            await session.run("forget_checkpoints", **position_columns(anew))
        stored = await unlocks_to_compare(session, *_compared(refolds)) if refolds else {}
        written = await _write(session, work, refolds, stored, {one: ahead[one].stamp for one in refolds})
    work.courtesy.held(monotonic() - locked, len(ahead), monotonic())
    return written


async def _unmoved(session: Session, ahead: Mapping[Subject, Ahead]) -> list[Subject]:
    """Return the subjects that nothing has touched since they were folded."""
    asked = sorted(ahead)
    found = await session.rows(
        int,
        "unmoved_subjects",
        scope=asked[0].scope,
        tenant_ids=[one.tenant_id for one in asked],
        subjects=[one.subject for one in asked],
        versions=[ahead[one].version for one in asked],
        witnesses=[ahead[one].witness for one in asked],
    )
    return [asked[n - 1] for n in sorted(found)]


def _compared(refolds: Mapping[Subject, Refold]) -> tuple[dict[Subject, Position], set[tuple[str, str]], list[UUID]]:
    """Return which unlocks decide anything: those behind a position, of some rulings, and those that are earned."""
    keys = {key for one in refolds.values() if one.anew is not None for key in one.anew.rulings}
    ids = [
        unlock_id(subject, grant)
        for subject, one in refolds.items()
        for grant in one.grants
        if (grant.achievement, grant.tier or "") not in keys
    ]
    return {subject: one.since for subject, one in refolds.items()}, keys, sorted(ids)


async def bring_up_to_date(work: Build, since: Mapping[Subject, Position]) -> None:
    """Bring subjects of one scope and partition up to date, all of it under the lock of the partition.

    The state of earlier rules is carried over; subjects without one are folded from their last checkpoint before a
    position. Where nothing is otherwise, nothing is written.

    Raises:
        SupersededError: other rules came into force.
        UnavailableError: nothing is known to have happened.
    """
    rules = work.rules
    async with work.store.transaction(patient=True) as session:
        await hold(session, work, {partition_of(*min(since))})
        # Live events may have come first.
        states = await states_of(session, rules, since)
        clock = await clock_of(session, work.settings, work.now())
        stale = {one: state for one, state in states.items() if _is_stale(rules, one, state, clock)}
        if not stale:
            return
        late = {one: since[one] if state.state is None else _BEHIND_ALL for one, state in stale.items()}
        refolds = await refold(session, rules, late, stale)
        await find_marks(session, rules, refolds)
        stored = await unlocks_of(session, refolds)
        written = await _write(session, work, refolds, stored, {one: state.stamp for one, state in stale.items()})
    await _did(work, written)


def _is_stale(rules: Deployed, subject: Subject, state: SubjectState, clock: int) -> bool:
    """Tell whether earlier rules have folded a state, or it has yet to earn something at a moment."""
    if state.stamp != rules.stamps[subject.scope]:
        return True
    plan = rules.program.scopes[subject.scope]
    return state.state is not None and earns_at_moment(plan, state.state, clock)


async def hold(session: Session, work: Build, partitions: Collection[int]) -> None:
    """Lock partitions until the transaction ends.

    Raises:
        SupersededError: other rules came into force.
    """
    try:
        held = await hold_partitions(session, sorted(partitions), epoch=work.rules.epoch)
    except RulesMovedError as error:
        raise SupersededError from error
    work.courtesy.saw(live=any(one.owner != NO_OWNER for one in held), at=monotonic())


class _Written(NamedTuple):
    """What became of some subjects."""

    refolds: Mapping[Subject, Refold]
    kept: Collection[Subject]
    """Those without any change."""
    decisions: Sequence[Decision]


async def _write(
    session: Session,
    work: Build,
    refolds: Mapping[Subject, Refold],
    stored: Mapping[Subject, Sequence[Stored]],
    stamps: Mapping[Subject, str],
) -> _Written:
    """Decide about subjects of one partition, and write it; `stamps` are those that their states have."""
    rules, now = work.rules, work.now()
    facts = backfill_facts({one: SubjectState(partition_of(*one)) for one in refolds}, refolds, stored, work.cause)
    clock = await clock_of(session, work.settings, now)
    decided = decide(rules, facts, now=now, clock=clock)
    kept = _as_they_were(rules, refolds, stamps, decided.decisions)
    writes = await write(session, work.settings, rules, without(decided, kept))
    return _Written(refolds, kept, writes.decisions)


def _as_they_were(
    rules: Deployed, refolds: Mapping[Subject, Refold], stamps: Mapping[Subject, str], decisions: Collection[Decision]
) -> set[Subject]:
    """Return the subjects without any change: their states stay under the stamp that they have."""
    moved = {decision.subject for decision in decisions}
    return {
        subject
        for subject, one in refolds.items()
        if one.as_it_was and subject not in moved and not rules.former.aged(stamps[subject])
    }


async def _did(work: Build, written: _Written) -> None:
    refolds, subjects = written.refolds.values(), len(written.refolds) - len(written.kept)
    work.report.subjects += subjects
    _count(work.report, written.decisions, chain.from_iterable(one.grants for one in refolds))
    if work.granted is not None:
        work.granted()
    if work.lease is not None:
        events = sum(one.events + (0 if one.anew is None else one.anew.events) for one in refolds)
        await work.lease.did(subjects=subjects, events=events)


def _count(report: Report, decisions: Iterable[Decision], earned: Iterable[Grant]) -> None:
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

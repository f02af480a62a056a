"""The books of a worker as plain dicts, and what gathering and writing does to them: decisions are tested on them.

Statements, locks and their failures are left out; the guards of the fast path are here.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from dsl.compile import USER
from dsl.event import Position
from dsl.fold import walk
from dsl.outcome import Subject, canonical_order
from dsl.progress import decode, encode
from tests.reference.timeline import name_in
from worker.contract.partition import partition_of
from worker.contract.sameness import stored_body
from worker.engine import folding
from worker.engine.arrivals import Arrivals, arrivals_of, screen
from worker.engine.decide import (
    Facts,
    backfill_facts,
    decide,
    first_look,
    latest_known,
    settling_until,
    without,
)
from worker.engine.decoding import subjects_of
from worker.engine.fast_users import Trust, divide, unknown_users
from worker.engine.folding import PartFold, Refold, anew_of
from worker.engine.long_way import LongWay
from worker.engine.reconcile import Kind, Stored, unlock_id
from worker.engine.state_cache import BEGINNING, Hold, StateCache, SubjectState
from worker.engine.subject_events import events_of_subjects, events_of_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from random import Random
    from uuid import UUID

    from dsl.event import Event
    from dsl.progress import State
    from worker.contract.sameness import StoredBody
    from worker.engine.batch import Batch, DeadLetter, Item
    from worker.engine.decide import Writes
    from worker.engine.fast_users import FastBatch
    from worker.engine.reconcile import Decision
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import Checkpoint

Marker = tuple[int, str]
"""Generation and owner of a partition."""


class Saved(NamedTuple):
    """A row of `progress`."""

    stamp: str
    mark: Position
    state: str
    folded: int


class OvertakenError(Exception):
    """A guard of the fast path has found something otherwise."""


class LostError(Exception):
    """An attempt died; its worker does not know how it ended."""


class Books:
    """The tables, and what reads and writes them."""

    def __init__(self) -> None:
        self.ledger: dict[tuple[str, str], Item] = {}
        self.progress: dict[Subject, Saved] = {}
        self.checkpoints: dict[Subject, dict[Position, Checkpoint]] = {}
        self.unlocks: dict[UUID, Stored] = {}
        self.decisions: list[Decision] = []
        self.letters: list[DeadLetter] = []
        self.partitions: dict[int, Marker] = {}
        self.erased: set[Subject] = set()

    def snapshot(self) -> Books:
        """Return the books as they are, for who may have to go back to them."""
        kept = copy(self)
        for name, table in vars(self).items():
            setattr(kept, name, copy(table))
        kept.checkpoints = {subject: dict(points) for subject, points in self.checkpoints.items()}
        return kept

    def restore(self, kept: Books) -> None:
        """Go back to books as they were."""
        vars(self).update(vars(kept))

    # -- reading -------------------------------------------------------------------------------------------------------

    def events_of(self, subject: Subject) -> list[Event]:
        """Return the events of a subject, heard or not, in canonical order."""
        tenant, scope, name = subject
        events = [item.event for item in self.ledger.values() if item.event.tenant == tenant]
        if scope == USER:
            named = {item.key for item in self.ledger.values() if subject in item.audience.named}
            found = [event for event in events if event.user == name or (event.id, tenant) in named]
        else:
            found = [event for event in events if name_in(scope, event) == name]
        return sorted(found, key=canonical_order)

    def heard_by(self, rules: Deployed, subject: Subject, after: Position = BEGINNING) -> list[Event]:
        """Return the events that a subject's plan hears, behind a position."""
        types = rules.program.scopes[subject.scope].types
        place, events = (after.at, after.id), self.events_of(subject)
        if subject.scope == USER:
            events = [rules.program.roles.seen_by(event, subject.subject) for event in events]
        return [event for event in events if event.type in types and canonical_order(event) > place]

    def unlocks_of(self, subjects: Iterable[Subject]) -> dict[Subject, list[Stored]]:
        wanted, found = set(subjects), dict[Subject, list[Stored]]()
        for row in self.unlocks.values():
            if (subject := Subject(*row[:3])) in wanted:
                found.setdefault(subject, []).append(row)
        return found

    def state_of(self, rules: Deployed, subject: Subject) -> SubjectState:
        """Return where a subject stands: what is saved, with what users have had since on top."""
        saved, is_user = self.progress.get(subject), subject.scope == USER
        found = SubjectState(partition_of(*subject), erased=subject in self.erased)
        events = self.events_of(subject)
        if is_user and events:
            found.latest = canonical_order(events[-1])
        found.known = bool(events) or (not is_user and bool(self.unlocks_of([subject])))
        if saved is None:
            return found
        found.stamp, found.folded, found.state = saved.stamp, saved.folded, decode(saved.state.encode())
        unsaved = self.heard_by(rules, subject, saved.mark) if is_user and saved.stamp == rules.stamps[USER] else []
        assert found.state is not None
        walk(rules.program.scopes[subject.scope], found.state, unsaved)
        found.folded += len(unsaved)
        found.unsaved = len(unsaved) if is_user else None
        return found

    def past_of(self, rules: Deployed, subject: Subject, before: Position) -> Refold:
        """Return the last checkpoint of a subject before a position, as the rules in force see it, or its beginning."""
        points = [point for mark, point in self.checkpoints.get(subject, {}).items() if mark < before]
        last = max(points, default=None)
        state = None if last is None else decode(last.state.encode())
        if last is None or state is None:
            return Refold(rules, subject, None, BEGINNING)
        return self.carried(rules, subject, last.stamp, state)

    def carried(self, rules: Deployed, subject: Subject, stamp: str, state: State, folded: int = 0) -> Refold:
        """Return a subject at a state that some rules have folded; at its beginning where they are not known."""
        since = state.mark or BEGINNING
        if stamp == rules.stamps[subject.scope]:
            return Refold(rules, subject, state, since, folded=folded)
        carriage = rules.former.carriage(subject.scope, stamp)
        if carriage is None:
            self.forget(subject, BEGINNING)
            return Refold(rules, subject, None, BEGINNING)
        moved = carriage.of(state)
        part = carriage.part(moved)
        if part is None:
            anew = anew_of(carriage, moved.state.mark, moved.unearned)
            return Refold(rules, subject, moved.state, since, folded=folded, anew=anew)
        fold = PartFold(carriage, moved, part, certain=lambda: carriage.without.of(state).certain)
        if heard := [event for event in self.heard_by(rules, subject) if event.type in part.types]:
            fold.feed(heard)
        state, anew = fold.merged()
        return Refold(rules, subject, state, since, folded=folded, anew=anew)

    def up_to_date(self, rules: Deployed, subject: Subject) -> State | None:
        """Return the state of a subject that is up to date, though other rules may have folded what is saved."""
        saved = self.state_of(rules, subject)
        if saved.state is None or saved.stamp == rules.stamps[subject.scope]:
            return saved.state
        refold = self.carried(rules, subject, saved.stamp, saved.state)
        assert refold.as_it_was
        refold.feed(self.heard_by(rules, subject, refold.since))
        return refold.state

    def refolded(
        self,
        rules: Deployed,
        late: Mapping[Subject, Position],
        dice: Random,
        states: Mapping[Subject, SubjectState] = MappingProxyType({}),
    ) -> dict[Subject, Refold]:
        """Fold subjects again from the ledger, in pages; checkpoints behind the positions are forgotten."""
        refolds: dict[Subject, Refold] = {}
        for subject, position in late.items():
            own = states.get(subject)
            if own and own.state and own.state.mark and own.state.mark < position:
                refold = self.carried(rules, subject, own.stamp, own.state, own.folded)
            else:
                self.forget(subject, position)
                refold = self.past_of(rules, subject, position)
            refolds[subject] = refold
            events = self.heard_by(rules, subject, refold.since)
            while events:
                size = dice.choice((1, 3, 100))
                refold.feed(events[:size])
                events = events[size:]
        return refolds

    # -- writing -------------------------------------------------------------------------------------------------------

    def take(self, partitions: Iterable[int], owner: str) -> dict[int, Marker]:
        """Leave a name at partitions; return how they were found."""
        found = {partition: self.partitions.get(partition, (0, "")) for partition in sorted(partitions)}
        self.partitions |= {partition: (generation + 1, owner) for partition, (generation, _) in found.items()}
        return found

    def record(self, items: Iterable[Item]) -> dict[tuple[str, str], StoredBody]:
        """Insert events; return what was there before."""
        known: dict[tuple[str, str], StoredBody] = {}
        for item in items:
            there = self.ledger.setdefault(item.key, item)
            if there is not item:
                known[item.key] = stored_body(there.event, there.written)
        return known

    def forget(self, subject: Subject, since: Position) -> None:
        """Forget the checkpoints of a subject from a position on."""
        points = self.checkpoints.get(subject, {})
        for mark in [mark for mark in points if mark >= since]:
            del points[mark]

    def write(self, writes: Writes, *, guarded: bool) -> None:
        """Carry out what was decided; guarded, all or nothing."""
        if guarded:
            self._guard(writes)
        for subject in writes.forgotten:
            self.progress.pop(subject, None)
        for subject, now in writes.progress.items():
            assert now.state is not None
            assert now.state.mark is not None
            self.progress[subject] = Saved(now.stamp, now.state.mark, encode(now.state).decode(), now.folded)
        stale = {**writes.absorbed, **(writes.refolded if guarded else {})}
        for subject, since in stale.items():
            self.forget(subject, since)
        for point in writes.checkpoints:
            points = self.checkpoints.setdefault(Subject(*point[:3]), {})
            points[Position(point.mark_at, point.mark_id)] = point
        for subject in {Subject(*point[:3]) for point in writes.checkpoints}:
            points = self.checkpoints[subject]
            for mark in sorted(points)[: -folding.CHECKPOINTS_KEPT]:
                del points[mark]
        self._write_unlocks(writes)
        self.letters += writes.arrivals.letters
        self.decisions += writes.decisions

    def _guard(self, writes: Writes) -> None:
        """Raise an error where something is not as it was taken to be."""
        keys = [item.key for group in writes.arrivals.groups for item in group.items]
        assert len(keys) == len(set(keys)) == writes.arrivals.new
        if any(key in self.ledger for key in keys):
            raise OvertakenError(LongWay.EVENT_KNOWN)
        if any(one.unlock_id in self.unlocks for one in writes.unlocks):
            raise OvertakenError(LongWay.UNLOCK_KNOWN)
        rows = [self.unlocks.get(change.unlock_id) for change in writes.amended]
        if any(row is None or row.revoked_at is not None for row in rows):
            raise OvertakenError(LongWay.UNLOCK_MOVED)
        assert [*writes.contested, *writes.withdrawn, *writes.forgotten] == []
        self.record(item for group in writes.arrivals.groups for item in group.items)

    def _write_unlocks(self, writes: Writes) -> None:
        unlocks = self.unlocks
        for decision in writes.unlocks:
            subject, grant = decision.subject, decision.grant
            assert decision.unlock_id not in unlocks
            granted_at = writes.now if decision.kind is Kind.GRANTED else None
            key = grant.achievement, grant.tier or "", grant.occurrence or "", decision.unlock_id
            evidence = grant.version, grant.earned_at, grant.event_id
            unlocks[decision.unlock_id] = Stored(
                *subject, *key, *evidence, settling_until(grant), granted_at, None, None
            )
        for change in writes.amended:
            row, grant = unlocks[change.unlock_id], change.grant
            if row.revoked_at is None:
                settles_at = settling_until(grant)
                if settles_at is None and row.granted_at is None:
                    settles_at = grant.earned_at
                unlocks[change.unlock_id] = row._replace(
                    version=grant.version,
                    earned_at=grant.earned_at,
                    event_id=grant.event_id,
                    settles_at=settles_at,
                    contested_at=None,
                )
        for key in writes.contested:
            row = unlocks[key]
            if row.granted_at is not None and not row.by_hand and (row.contested_at, row.revoked_at) == (None, None):
                unlocks[key] = row._replace(contested_at=writes.now)
        for key in writes.withdrawn:
            if unlocks[key].granted_at is None and unlocks[key].revoked_at is None:
                del unlocks[key]


class Terms(NamedTuple):
    """Under which terms a batch is committed: all that is chance, or a setting."""

    dice: Random
    streamed: bool
    """Whether the clock of the stream tells what has settled."""
    save_every: int
    meanwhile: Callable[[], None]
    """What others do between reading and committing on the fast path."""
    lost: float
    """Chance that an answer, or an attempt, is lost."""


class Worker:
    """What remembers states, and commits batches by either way, as worker/pipeline/pipeline.py does."""

    def __init__(self, books: Books, owner: str, remembered: int) -> None:
        self.books = books
        self.cache = StateCache(owner, remembered)
        self.trust = Trust()
        self.seen: Counter[str] = Counter()
        """What has happened, by name: a test looks at whether all of it has."""

    def commit(self, batch: Batch, terms: Terms) -> list[Writes]:
        """Commit a batch, and return what was written."""
        events = events_of_users(batch.groups)
        if unknown := unknown_users(events, self.cache):
            for user, generation in unknown.items():
                self.cache.add_unlocked(user, self.books.state_of(batch.rules, user), generation)
        fast, rest, reasons = divide(batch, events, self.cache, trusting=self.trust.given())
        self.seen.update(reasons)
        if fast is None:
            return [self._long(batch, terms)]
        try:
            writes = self._fast(fast, terms)
        except OvertakenError as error:
            self.cache.failed(fast.hold)
            self.seen[error.args[0]] += 1
            if fast.look.late:
                self.trust.broken()
            return [self._long(batch, terms)]
        except LostError:
            self.cache.failed(fast.hold)
            return [self._long(batch, terms)]
        self.cache.committed(fast.hold)
        if fast.look.late:
            self.trust.kept()
        return [writes, *([self._long(rest, terms)] if rest.groups or rest.letters else [])]

    def _fast(self, fast: FastBatch, terms: Terms) -> Writes:
        books, batch, look = self.books, fast.batch, fast.look
        rules = batch.rules
        facts = Facts(Arrivals(batch.groups, batch.size), fast.states, look)
        if look.refolds:
            refolds = {user: books.past_of(rules, user, position) for user, position in look.refolds.items()}
            for user, refold in refolds.items():
                behind = books.heard_by(rules, user, refold.since)
                for event in fast.events[user].heard:
                    insort(behind, event, key=canonical_order)
                refold.feed(behind)
            facts = facts._replace(refolds=refolds, stored=books.unlocks_of(refolds))
        clock = fast.latest if terms.streamed else batch.now
        writes = decide(rules, facts, now=batch.now, clock=clock, save_every=terms.save_every)
        terms.meanwhile()
        if writes.contested or writes.withdrawn:
            raise OvertakenError(LongWay.REVOKES)
        generations = fast.hold.generations
        if any(books.partitions.get(at) != (number, self.cache.owner) for at, number in generations.items()):
            raise OvertakenError(LongWay.PARTITION_MOVED)
        books.write(writes, guarded=True)
        books.take(generations, self.cache.owner)
        self._note(writes, "fast")
        if terms.dice.random() < terms.lost:
            raise LostError
        return writes

    def _long(self, batch: Batch, terms: Terms) -> Writes:
        kept = self.books.snapshot()
        while True:
            hold, dice = Hold(), terms.dice
            writes = self._attempt(batch, hold, terms)
            if dice.random() >= terms.lost:
                self.cache.committed(hold)
                self._note(writes, "long")
                return writes
            self.cache.failed(hold)
            self.seen["lost"] += 1
            if dice.random() < 0.5:
                self.books.restore(kept.snapshot())

    def _attempt(self, batch: Batch, hold: Hold, terms: Terms) -> Writes:
        books, rules = self.books, batch.rules
        for partition, (generation, owner) in books.take(
            {partition_of(*subject) for subject in batch.subjects}, self.cache.owner
        ).items():
            self.cache.locked(hold, partition, generation, owner)
        states: dict[Subject, SubjectState] = {}
        for subject in batch.subjects:
            state = self.cache.locked_state(hold, subject)
            if state is None:
                state = books.state_of(rules, subject)
                self.cache.add_locked(hold, subject, state)
            states[subject] = state
        screened = screen(batch.items, states)
        items, arrivals = arrivals_of(batch, screened, books.record(screened.firsts.values()))
        events = events_of_subjects(items)
        for subject, own in events.items():
            assert own.put_in_order(latest_known(states[subject]))
        look = first_look(rules, events, states, clock=arrivals.latest if terms.streamed else batch.now)
        refolds = books.refolded(rules, look.refolds, terms.dice, states)
        stored = books.unlocks_of(refolds)
        for subject, grant in look.earned:
            if (row := books.unlocks.get(unlock_id(subject, grant))) is not None:
                stored.setdefault(subject, []).append(row)
                self.seen["known before"] += 1
        clock = arrivals.latest if terms.streamed else batch.now
        writes = decide(rules, Facts(arrivals, states, look, refolds, stored), now=batch.now, clock=clock)
        books.write(writes, guarded=False)
        return writes

    def _note(self, writes: Writes, way: str) -> None:
        self.seen[way] += 1
        self.seen[f"{way} refolds"] += bool(writes.refolded)
        self.seen[f"{way} absorbs"] += bool(writes.absorbed)
        self.seen[f"{way} earns"] += bool(writes.unlocks)
        self.seen["duplicates"] += bool(writes.arrivals.duplicates)
        self.seen["erased"] += bool(writes.arrivals.erased)
        self.seen["unsaved"] += any(state.unsaved for state in writes.progress.values())
        self.seen.update(decision.kind.value for decision in writes.decisions)


def backfill(books: Books, rules: Deployed, since: Mapping[Subject, Position], terms: Terms, *, now: int) -> Writes:
    """Bring subjects up to date, as a backfill does: from their states, or the last checkpoint before a position."""
    books.take({partition_of(*subject) for subject in since}, "")
    stale = {subject: books.state_of(rules, subject) for subject in since}
    clock = now
    if terms.streamed:
        clock = max((item.event.at for item in books.ledger.values()), default=0)
    stale = {
        one: state
        for one, state in stale.items()
        if state.stamp != rules.stamps[one.scope] or earns_at_moment(rules, one, state, clock)
    }
    late = {one: since[one] if state.state is None else Position(2**63 - 1, "") for one, state in stale.items()}
    refolds = books.refolded(rules, late, terms.dice, stale)
    for subject, refold in refolds.items():
        if refold.mark_is_doubtful:
            heard = books.heard_by(rules, subject)
            refold.mark(Position(*canonical_order(heard[-1])) if heard else None)
    states = {subject: SubjectState(partition_of(*subject)) for subject in refolds}
    facts = backfill_facts(states, refolds, books.unlocks_of(refolds))
    writes = decide(rules, facts, now=now, clock=clock)
    moved = {decision.subject for decision in writes.decisions}
    kept = {one for one, refold in refolds.items() if refold.as_it_was and one not in moved}
    writes = without(writes, kept)
    books.write(writes, guarded=False)
    return writes


def earns_at_moment(rules: Deployed, subject: Subject, state: SubjectState, clock: int) -> bool:
    """Return whether a subject that is up to date otherwise earns something at a moment up to a clock."""
    if state.state is None or state.stamp != rules.stamps[subject.scope]:
        return False
    return folding.earns_at_moment(rules.program.scopes[subject.scope], state.state, clock)


def subjects_in(books: Books, rules: Deployed) -> set[Subject]:
    """Return every subject that hears an event, or has something that a fold has left."""
    heard = {subject for item in books.ledger.values() for subject in _heard(rules, item.event)}
    left = {*books.progress, *(subject for subject, points in books.checkpoints.items() if points)}
    left |= {Subject(*row[:3]) for row in books.unlocks.values()}
    return heard | {subject for subject in left if subject.scope in rules.program.scopes}


def _heard(rules: Deployed, event: Event) -> tuple[Subject, ...]:
    found = subjects_of(rules.program, event)
    assert not isinstance(found, str)
    return found

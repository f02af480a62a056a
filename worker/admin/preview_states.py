"""Subjects with what they earn by new rules, as far as these differ: from stored states where those suffice.

States are a third stream beside events and unlocks. Events are read where something is new that only they can tell, or
of subjects whose states do not say enough; otherwise only those that states have not seen yet. Of users who are short
of a bound by more than these, not even that.
"""

from __future__ import annotations

from contextlib import aclosing
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.outcome import Subject
from dsl.partial_state import PREFIX
from worker.admin.hashed_events import Swept
from worker.admin.preview_events import Ordered, read_by
from worker.admin.preview_reading import PIECE, Fold, Part, Reading, columns_of, subject_of
from worker.admin.results import UnreadableError
from worker.admin.sweep import chunks
from worker.engine.columns import columns
from worker.engine.foresight import CarriedFold
from worker.engine.glance import Seen
from worker.engine.reconcile import Stored
from worker.engine.state_cache import BEGINNING
from worker.pipeline.fast_path import SAVE_EVERY
from worker.pipeline.ledger import event_of, in_roles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from dsl.compile import Plan
    from dsl.event import Event, Position
    from dsl.progress import Amount, State
    from worker.admin.preview_events import Run
    from worker.admin.preview_reading import Asked, Outcome
    from worker.engine.foresight import Carrier, Concerned
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session


BY_KEY: Final = "SET LOCAL enable_hashjoin = off"
"""Where whole tables are read, but for those of some subjects."""
PAGE: Final = 4000
"""States that are read together."""
UNSAVED: Final = 2 * SAVE_EVERY
"""A stored state lacks fewer events than that, all of them behind its mark."""
BRIEF: Final = 8000
"""Characters of a state below which it has not so many groups that it is saved less often."""
MOST_BEHIND: Final = 1000
"""Events behind a mark that are counted."""
FEW: Final = 4000
"""States, and unlocks, that are held at once in any order; more of them are read in the order of subjects."""


MANY: Final = 50_000
"""Users whose events are all read together, at most."""
BY_SCAN: Final = 24
"""Of so many users one has to be doubtful for a scan of the ledger to take less than to find their events by key."""
SCANNED: Final = 20_000
"""Events that a scan holds in memory."""
BY_HASH: Final = """
SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_mergejoin = off; SET LOCAL enable_nestloop = off;
"""
BY_INDEX: Final = """
SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on;
SET LOCAL enable_mergejoin = on; SET LOCAL enable_nestloop = on;
"""


class StateRow(NamedTuple):
    """A stored state."""

    tenant_id: str
    subject: str
    stamp: str
    state: str


class _Near(NamedTuple):
    """A user who may have reached something by events behind the mark."""

    row: StateRow
    short: Amount
    mark: Position


class Known(NamedTuple):
    """How states of one scope are carried over; `part` is that of `concerned`."""

    concerned: Concerned
    part: Plan
    carriers: Mapping[str, Carrier]
    """By stamp."""
    states: int
    """How many are stored."""

    @property
    def all_new(self) -> bool:
        """Whether all that is concerned is new: subjects without events of it have nothing of it, and earn nothing."""
        known = {
            (ruling.achievement, ruling.tier or "")
            for carrier in self.carriers.values()
            for ruling in carrier.carriage.old.rulings
        }
        return self.concerned.reads_all and known.isdisjoint(self.concerned.keys)


class FromStates(Reading):
    """Reads one scope, subjects from their stored states on."""

    def __init__(self, session: Session, rules: Deployed, scope: str, known: Known, asked: Asked) -> None:
        super().__init__(session, rules, scope, Part(known.part, known.concerned.keys), asked)
        self._carriers = known.carriers
        self._reads_all = known.concerned.reads_all
        self._all_new = known.all_new
        self._states_stored = known.states

    def _fold_of(self, row: StateRow) -> CarriedFold:
        """Return the fold of a subject with a state."""
        carrier, state = self._read(row)
        return CarriedFold(carrier, carrier.of(state))

    def _read(self, row: StateRow) -> tuple[Carrier, State]:
        carrier = self._carriers[row.stamp]
        state = carrier.read(row.state.encode())
        if state is None:
            raise UnreadableError(1)
        return carrier, state

    def _subject(self, row: StateRow) -> Subject:
        return Subject(row.tenant_id, self._scope, row.subject)

    # -- everyone ------------------------------------------------------------------------------------------------------

    def _everyone(self) -> AsyncGenerator[list[Outcome]]:
        if self._scope != USER or in_roles(self._rules, USER):
            return self._all_of_them()
        if self._all_new:
            return self._with_events()
        return self._all_of_them() if self._reads_all else self._by_state()

    async def _by_state(self) -> AsyncGenerator[list[Outcome]]:
        """Yield the users whose states do not say that nothing is otherwise, and those that have unlocks."""
        few = await self._few()
        if few is not None:
            self.subjects = self._states_stored
            yield await self._judged(*few)
            return
        unlocks, doubtful = self._unlocks(), dict[Subject, list[Stored]]()
        async for page in self._ahead(self._states()):
            stored = await self._stored_up_to(unlocks, self._subject(page[-1]))
            self.subjects += len(page)
            yield await self._judged(page, stored, doubtful)
            if len(doubtful) > MANY:
                async for found in self._doubtful(doubtful):
                    yield found
                doubtful.clear()
        yield self._outcomes({}, await self._stored_up_to(unlocks, None))
        async for found in self._doubtful(doubtful):
            yield found

    async def _doubtful(self, doubtful: Mapping[Subject, list[Stored]]) -> AsyncGenerator[list[Outcome]]:
        """Yield users whose states do not say enough, with their unlocks: all their events are read."""
        subjects = [*doubtful]
        async with self._lock:
            by_key = len(subjects) * BY_SCAN < self._states_stored or await self._session.value(bool, "has_packs")
        if not by_key:
            async for found in self._by_scan(subjects, doubtful):
                yield found
            return
        for at in range(0, len(subjects), PIECE):
            piece = subjects[at : at + PIECE]
            folds = await self._folds_aside(piece)
            await self._feed_by_key({one: self._begin(folds[one]) for one in piece}, folds)
            yield self._outcomes(folds, {one: doubtful[one] for one in piece if doubtful[one]})

    async def _by_scan(
        self, subjects: Sequence[Subject], stored: Mapping[Subject, list[Stored]]
    ) -> AsyncGenerator[list[Outcome]]:
        """Yield users with all their events, which one scan of the ledger finds."""
        folds, known = dict[Subject, Fold](), 0
        async for page in self._ahead(self._scanned(subjects)):
            upto = page[-1][0]
            folds |= await self._folds_aside(subjects[known:upto])
            known = upto
            for number, run in groupby(page, itemgetter(0)):
                self._feed(folds[subjects[number - 1]], [event for _, event in run])
            last = subjects[upto - 1]  # which may go on in the next page
            done, folds = {one: fold for one, fold in folds.items() if one != last}, {last: folds[last]}
            yield self._outcomes(done, {one: stored[one] for one in done if stored[one]})
        folds |= await self._folds_aside(subjects[known:])
        yield self._outcomes(folds, {one: stored[one] for one in folds if stored[one]})

    async def _scanned(self, subjects: Sequence[Subject]) -> AsyncGenerator[list[tuple[int, Event]]]:
        plan, rules = self._part.plan, self._rules

        def numbered(number: int, *row: *EventRow) -> tuple[int, Event]:
            return number, event_of(rules, *row)

        asked = {"tenant_ids": [one.tenant_id for one in subjects], "user_ids": [one.subject for one in subjects]}
        types = {"types": sorted(plan.types), "read": sorted(read_by(plan))}
        pages = self._session.pages_of(SCANNED, numbered, "events_of_many_users", **asked, **types)
        await self._session.script(BY_HASH)
        page = await anext(pages)
        await self._session.script(BY_INDEX)
        while page is not None:
            if page:
                yield page
            page = await anext(pages, None)

    async def _folds_aside(self, piece: Sequence[Subject]) -> dict[Subject, Fold]:
        """Return the folds of some users while streams are read."""
        if not piece:
            return {}
        async with self._lock:
            return await self._folds_of([*piece])

    async def _few(self) -> tuple[list[StateRow], dict[Subject, list[Stored]]] | None:
        """Return the states of all who are within reach of what is new, and who have unlocks of it, with these.

        The server tells by the texts of states; None where that takes more than counts, or where there are many.
        """
        counts = self._counts()
        if not counts:
            return None
        asked = columns("counts", ("stamp", "before", "least"), counts) | {"long": BRIEF, "prefix": PREFIX}
        found = await self._session.rows(StateRow, "states_within_reach", scope=self._scope, **asked, limit=FEW + 1)
        if len(found) > FEW:
            return None
        states = [*dict.fromkeys(found)]
        rows: list[Stored] = []
        if await self._session.value(bool, "ever_in_force", **self._keys):
            asked = {"scope": self._scope, "limit": FEW + 1}
            rows = await self._session.rows(Stored, "some_unlocks_by_subject", **asked, **self._keys)
        if len(rows) > FEW:
            return None
        stored = {subject: [*group] for subject, group in groupby(rows, subject_of)}
        if others := sorted(stored.keys() - {self._subject(row) for row in states}):
            states += await self._session.rows(StateRow, "states_of_subjects", **columns_of(others))
        return states, stored

    def _counts(self) -> list[tuple[str, str, str]]:
        """Return by stamp from which numbers on counts are within reach; nothing where counts do not say so of all."""
        found: list[tuple[str, str, str]] = []
        for stamp, carrier in self._carriers.items():
            counts = None if carrier.glance is None else carrier.glance.counts
            if counts is None or any(one.least <= UNSAVED for one in counts):
                return []
            found += [(stamp, one.before, f"{one.least - UNSAVED:020}") for one in counts]
        return found

    async def _judged(
        self,
        page: Sequence[StateRow],
        stored: Mapping[Subject, list[Stored]],
        doubtful: dict[Subject, list[Stored]] | None = None,
    ) -> list[Outcome]:
        """Return what comes of some states and unlocks, without those that plainly decide nothing.

        Those whose states do not say enough are put aside to `doubtful`, where that is given.
        """
        folds: dict[Subject, Fold] = {}
        near: list[_Near] = []
        for row in page:
            if stored and (row.tenant_id, self._scope, row.subject) in stored:
                folds[self._subject(row)] = self._fold_of(row)
            elif isinstance(found := self._look(row), CarriedFold):
                folds[self._subject(row)] = found
            elif found.short <= (UNSAVED if len(row.state) < BRIEF else MOST_BEHIND):
                near.append(_Near(row, *found))
        folds |= {self._subject(row): self._fold_of(row) for row in await self._reaching(near)}
        if doubtful is not None:
            aside = sorted(subject for subject, fold in folds.items() if _needs_all(fold))
            doubtful |= {one: stored.get(one, []) for one in aside}
            folds = {one: fold for one, fold in folds.items() if one not in doubtful}
            stored = {one: rows for one, rows in stored.items() if one not in doubtful}
        asked = sorted(folds)
        for at in range(0, len(asked), PIECE):
            await self._feed_by_key({one: self._begin(folds[one]) for one in asked[at : at + PIECE]}, folds)
        return self._outcomes(folds, stored)

    def _look(self, row: StateRow) -> Seen | CarriedFold:
        """Return what a state says of a user, or the fold where it does not say enough."""
        glance = self._carriers[row.stamp].glance
        seen = None if glance is None else glance.look(row.state.encode())
        if seen is not None and seen.short > 0:
            return seen
        carrier, state = self._read(row)
        carried = carrier.of(state)
        if not carried.certain or carrier.part.moments:
            return CarriedFold(carrier, carried)
        return Seen(carrier.short(carried), carried.state.mark or BEGINNING)

    async def _states(self) -> AsyncGenerator[list[StateRow]]:
        """Yield the states of users, by the index: to sort them would take longer than all the rest."""
        after, page = ("", ""), [StateRow("", "", "", "")]
        while page:
            asked = {"after_tenant": after[0], "after_subject": after[1], "limit": PAGE}
            page = await self._session.rows(StateRow, "states_behind", scope=self._scope, **asked)
            if page:
                after = page[-1][:2]
                yield page

    async def _reaching(self, near: Sequence[_Near]) -> list[StateRow]:
        """Return those of some users that have as many events behind the mark as they are short of a bound."""
        if not near:
            return []
        async with self._lock:
            numbers = await self._session.rows(
                int,
                "events_behind",
                tenant_ids=[one.row.tenant_id for one in near],
                user_ids=[one.row.subject for one in near],
                marks=[one.mark.at for one in near],
                most=MOST_BEHIND,
            )
        # The mark is among them, if it is not a moment.
        behind = [number - bool(one.mark.id) for number, one in zip(numbers, near, strict=True)]
        return [one.row for one, number in zip(near, behind, strict=True) if number > 0 and one.short <= number]

    async def _with_events(self) -> AsyncGenerator[list[Outcome]]:
        """Yield the users with events of what is new, and those that have unlocks of it all the same.

        States have nothing of what is new, so none is read.
        """
        plan, session, scope = self._part.plan, self._session, self._scope
        await session.script(BY_KEY)
        self.subjects = self._states_stored
        swept = Swept.of([plan])
        async with aclosing(chunks(session, self._rules, swept)) as found:
            async for chunk in found:
                folds: dict[Subject, Fold] = {subject: self._unknown() for subject in chunk.events}
                async for page in chunk.read(session, self._rules, scope, dict.fromkeys(folds, BEGINNING), part=plan):
                    for subject, events in page:
                        self._feed(folds[subject], events)
                asked = columns_of(sorted(folds))
                self.subjects += len(folds) - (await session.value(int, "number_of_states", **asked) or 0)
                rows = await session.rows(Stored, "unlocks_as_they_are", **asked, **self._keys)
                yield self._outcomes(folds, {subject: [*group] for subject, group in groupby(rows, subject_of)})
        types = sorted(plan.types)
        async for page in session.pages(Stored, "unlocks_without_events", types=types, **self._keys):
            stored = {subject: [*group] for subject, group in groupby(page, subject_of)}
            if stored:
                yield self._outcomes({}, stored)

    async def _all_of_them(self) -> AsyncGenerator[list[Outcome]]:
        rows = self._unlocks()
        heard = self._events.all() if self._reads_all else self._events.unseen()
        events = Ordered(self._ahead(heard), itemgetter(0))
        async for page in self._ahead(self._session.pages(StateRow, "states_by_subject", scope=self._scope)):
            bound = self._subject(page[-1])
            folds: dict[Subject, Fold] = {self._subject(row): self._fold_of(row) for row in page}
            await self._feed_up_to(folds, events, bound)
            if not self._reads_all:
                await self._feed_doubtful(folds)
            self.subjects += len(folds)
            stored = await self._stored_up_to(rows, bound)
            yield self._outcomes(_worth_it(folds, stored), stored)
        # Behind the last state are subjects that have none.
        folds = dict[Subject, Fold]()
        await self._feed_up_to(folds, events, None)
        self.subjects += len(folds)
        yield self._outcomes(folds, await self._stored_up_to(rows, None))

    async def _feed_up_to(self, folds: dict[Subject, Fold], events: Ordered[Run], bound: Subject | None) -> None:
        while taken := await events.take(bound):
            for subject, heard in taken:
                fold = folds.get(subject)
                if fold is None:
                    fold = folds[subject] = self._unknown()
                if self._reads_all or not _needs_all(fold):
                    self._feed(fold, heard)

    async def _feed_doubtful(self, folds: Mapping[Subject, Fold]) -> None:
        """Read the events of subjects whose states do not say enough."""
        doubtful = [subject for subject, fold in folds.items() if _needs_all(fold)]
        for at in range(0, len(doubtful), PIECE):
            await self._feed_by_key(dict.fromkeys(doubtful[at : at + PIECE], BEGINNING), folds)

    # -- a sample ------------------------------------------------------------------------------------------------------

    async def _folds_of(self, piece: list[Subject]) -> dict[Subject, Fold]:
        folds: dict[Subject, Fold] = {subject: self._unknown() for subject in piece}
        for row in await self._session.rows(StateRow, "states_of_subjects", **columns_of(piece)):
            folds[self._subject(row)] = self._fold_of(row)
        return folds

    def _begin(self, fold: Fold) -> Position:
        return BEGINNING if self._reads_all or not isinstance(fold, CarriedFold) or fold.needs_all else fold.mark


def _needs_all(fold: Fold) -> bool:
    return isinstance(fold, CarriedFold) and fold.needs_all


def _worth_it(folds: Mapping[Subject, Fold], stored: Mapping[Subject, Sequence[Stored]]) -> dict[Subject, Fold]:
    """Leave out subjects that have earned nothing and have nothing: most of them, where a tier is new."""
    return {
        subject: fold
        for subject, fold in folds.items()
        if subject in stored or not isinstance(fold, CarriedFold) or not fold.untouched
    }

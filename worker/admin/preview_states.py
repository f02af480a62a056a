"""Subjects with what they earn by new rules, as far as these differ: from stored states where those suffice.

States are a third stream beside events and unlocks. Events are read where something is new that only they can tell, or
of subjects whose states do not say enough; otherwise only those that states have not seen yet.
"""

from __future__ import annotations

from contextlib import aclosing
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.outcome import Subject
from worker.admin.preview_events import Ordered, read_by
from worker.admin.preview_reading import PIECE, Fold, Part, Reading, columns_of, subject_of
from worker.admin.results import UnreadableError
from worker.admin.sweep import Swept, chunks
from worker.engine.foresight import CarriedFold
from worker.engine.reconcile import Stored
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import in_roles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from dsl.compile import Plan
    from dsl.event import Position
    from worker.admin.preview_events import Run
    from worker.admin.preview_reading import Asked, Outcome
    from worker.engine.foresight import Carrier, Concerned
    from worker.engine.rule_set import Deployed
    from worker.store import Session


BY_KEY: Final = "SET LOCAL enable_hashjoin = off"
"""Where whole tables are read, but for those of some subjects."""


class StateRow(NamedTuple):
    """A stored state."""

    tenant_id: str
    subject: str
    stamp: str
    state: str


class Known(NamedTuple):
    """How states of one scope are carried over; `part` is that of `concerned`."""

    concerned: Concerned
    part: Plan
    carriers: Mapping[str, Carrier]
    """By stamp."""

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

    def _fold_of(self, row: StateRow) -> Fold:
        """Return the fold of a subject with a state."""
        carrier = self._carriers[row.stamp]
        state = carrier.read(row.state.encode())
        if state is None:
            raise UnreadableError(1)
        return CarriedFold(carrier, state)

    def _subject(self, row: StateRow) -> Subject:
        return Subject(row.tenant_id, self._scope, row.subject)

    # -- everyone ------------------------------------------------------------------------------------------------------

    def _everyone(self) -> AsyncGenerator[list[Outcome]]:
        by_user = self._scope == USER and not in_roles(self._rules, USER)
        return self._with_events() if self._all_new and by_user else self._all_of_them()

    async def _with_events(self) -> AsyncGenerator[list[Outcome]]:
        """Yield the users with events of what is new, and those that have unlocks of it all the same."""
        plan, session, scope = self._part.plan, self._session, self._scope
        await session.script(BY_KEY)
        self.subjects = await session.value(int, "count_states", scope=scope) or 0
        swept = Swept(plan, plan.types & read_by(plan))
        async with aclosing(chunks(session, self._rules, swept)) as found:
            async for chunk in found:
                folds = await self._folds_of(sorted(chunk.events))
                async for page in chunk.read(session, self._rules, scope, dict.fromkeys(folds, BEGINNING), part=plan):
                    for subject, events in groupby(page, itemgetter(0)):
                        self._feed(folds[subject], [event for _, event in events])
                self.subjects += sum(not isinstance(fold, CarriedFold) for fold in folds.values())
                asked = columns_of(folds)
                rows = await session.rows(Stored, "unlocks_as_they_are", **asked, **self._keys)
                yield self._outcomes(folds, {subject: [*group] for subject, group in groupby(rows, subject_of)})
        types = sorted(plan.types)
        async for page in session.pages(Stored, "unlocks_without_events", types=types, **self._keys):
            stored = {subject: [*group] for subject, group in groupby(page, subject_of)}
            if stored:
                yield self._outcomes(await self._folds_of(sorted(stored)), stored)

    async def _all_of_them(self) -> AsyncGenerator[list[Outcome]]:
        rows = self._unlocks()
        heard = self._events.all() if self._reads_all else self._events.unseen()
        events = Ordered(self._ahead(heard), itemgetter(0))
        async for page in self._ahead(self._session.pages(StateRow, "states_by_subject", scope=self._scope)):
            bound = self._subject(page[-1])
            folds = {self._subject(row): self._fold_of(row) for row in page}
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

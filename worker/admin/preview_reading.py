"""Subjects with what they earn by new rules, and with what is stored of that: read in one snapshot, in flat memory.

Events and unlocks are streams in the order of subjects, and are merged. A sample takes each chosen subject by its key.
Subjects of a field are never sampled, as all events have to be read to know them.
"""

from __future__ import annotations

from asyncio import Lock
from contextlib import AsyncExitStack, aclosing
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from dsl.compile import USER
from dsl.outcome import Subject
from dsl.roles import is_pseudonym
from worker.admin.preview_events import Events, Ordered, ahead
from worker.engine.columns import FIELDLESS, columns
from worker.engine.reconcile import Stored
from worker.engine.state_cache import BEGINNING
from worker.engine.whole_fold import WholeFold
from worker.pipeline.ledger import in_roles, read_back

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence

    from dsl.compile import Plan
    from dsl.event import Event, Position
    from worker.engine.rule_set import Deployed
    from worker.engine.whole_fold import Earned
    from worker.store import Session

T = TypeVar("T")

PIECE: Final = 200
"""Subjects whose events are read by their keys together."""


class Sampled(NamedTuple):
    """Chooses a part of all subjects, by a hash of the name: the same ones each time, on every server."""

    millionths: int

    def has(self, subject: Subject) -> bool:
        """Return whether a subject is chosen."""
        name = "\0".join(subject).encode()
        return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") % 1_000_000 < self.millionths


class Outcome(NamedTuple):
    """A subject, what it has earned, and its stored unlocks."""

    subject: Subject
    earned: Earned
    stored: Sequence[Stored]


class Fold(Protocol):
    """One subject under new rules; it is fed its events in canonical order."""

    def feed(self, events: list[Event]) -> None:
        """Fold more events."""
        ...

    def earned(self, clock: int) -> Earned:
        """Return what comes of it by a clock (microseconds), once all events are folded."""
        ...


class Part(NamedTuple):
    """What is folded of a scope, and which rulings of the new rules that decides: achievement and tier, "" for none."""

    plan: Plan
    keys: frozenset[tuple[str, str]]


EVER: Final = 2**62
"""Behind every begin of a version: what would be earned at those to come is foreseen, too."""


class Asked(NamedTuple):
    """What a reading is asked for; `moved` is called with how many events more were folded."""

    sampled: Sampled | None
    moved: Callable[[int], None]


class Reading:
    """Reads one scope, every subject from its beginning.

    `events` and `subjects` count what was read so far, `population` says how many there are where a sample is read.
    """

    def __init__(self, session: Session, rules: Deployed, scope: str, part: Part, asked: Asked) -> None:
        self._session = session
        self._rules = rules
        self._scope = scope
        self._part = part
        self._asked = asked
        self._events = Events(session, rules, scope, part.plan)
        self._keys = columns("keys", ("achievement", "tier"), sorted(part.keys))
        self._lock = Lock()
        self._streams = AsyncExitStack()
        self.events = self.subjects = 0
        self.population: int | None = None

    async def outcomes(self) -> AsyncGenerator[list[Outcome]]:
        """Yield subjects about which something may be decided.

        Raises:
            UnreadableError: a stored state cannot be read.
            OSError: the disk of temporary files is full.
        """
        sampled = self._asked.sampled
        found = self._everyone() if sampled is None or self._scope not in FIELDLESS else self._of_names(sampled)
        async with self._streams, aclosing(found):
            async for page in found:
                yield page

    def _ahead(self, pages: AsyncIterator[list[T]]) -> AsyncGenerator[list[T]]:
        """Return pages that are asked for ahead of time; the stream ends with the reading at the latest."""
        stream = ahead(pages, self._lock)
        self._streams.push_async_callback(stream.aclose)
        return stream

    # -- what each of them earns ---------------------------------------------------------------------------------------

    def _feed(self, fold: Fold, events: list[Event]) -> None:
        fold.feed(events)
        self.events += len(events)
        self._asked.moved(len(events))

    def _unknown(self) -> WholeFold:
        """Return the fold of a subject without a state."""
        return WholeFold(self._part.plan, self._part.keys)

    def _outcomes(self, folds: Mapping[Subject, Fold], stored: Mapping[Subject, Sequence[Stored]]) -> list[Outcome]:
        found: list[Outcome] = []
        for subject in sorted(folds.keys() | stored.keys()):
            fold = folds.get(subject) or self._unknown()
            found.append(Outcome(subject, fold.earned(EVER), stored.get(subject, ())))
        return found

    async def _stored_up_to(self, rows: Ordered[Stored], bound: Subject | None) -> dict[Subject, list[Stored]]:
        found: dict[Subject, list[Stored]] = {}
        while taken := await rows.take(bound):
            for subject, group in groupby(taken, subject_of):
                found.setdefault(subject, []).extend(group)
        return found

    def _unlocks(self) -> Ordered[Stored]:
        pages = self._session.pages(Stored, "unlocks_by_subject", scope=self._scope, **self._keys)
        return Ordered(self._ahead(pages), subject_of)

    # -- everyone ------------------------------------------------------------------------------------------------------

    async def _everyone(self) -> AsyncGenerator[list[Outcome]]:
        rows, folds = self._unlocks(), dict[Subject, Fold]()
        async for page in self._ahead(self._events.all()):
            for subject, events in page:
                fold = folds.get(subject)
                if fold is None:
                    fold = folds[subject] = self._unknown()
                self._feed(fold, events)
            # The last subject of a page may go on in the next one.
            *done, last = folds
            if done:
                ready = {subject: folds.pop(subject) for subject in done}
                yield self._counted(self._outcomes(ready, await self._stored_up_to(rows, done[-1])))
            folds = {last: folds[last]}
        last = next(iter(folds), None)
        if last is not None:
            yield self._counted(self._outcomes(folds, await self._stored_up_to(rows, last)))
        async for page in self._left(rows):
            yield page

    async def _left(self, rows: Ordered[Stored]) -> AsyncGenerator[list[Outcome]]:
        """Yield subjects behind all others, that have unlocks alone."""
        while taken := await rows.take(None):
            bound = subject_of(taken[-1])
            stored = {subject: list(group) for subject, group in groupby(taken, subject_of)}
            for subject, more in (await self._stored_up_to(rows, bound)).items():
                stored.setdefault(subject, []).extend(more)
            yield self._counted(self._outcomes({}, stored))

    def _counted(self, found: list[Outcome]) -> list[Outcome]:
        self.subjects += len(found)
        return found

    # -- a sample ------------------------------------------------------------------------------------------------------

    async def _of_names(self, sampled: Sampled) -> AsyncGenerator[list[Outcome]]:
        self.population = 0
        piece: list[Subject] = []
        users = "users_in_ledger_in_roles" if in_roles(self._rules, self._scope) else "users_in_ledger"
        query = users if self._scope == USER else "tenants_in_ledger"
        async for page in self._session.pages(self._named, query):
            known = [one for one in page if one.scope != USER or not is_pseudonym(one.subject)]
            self.population += len(known)
            piece += filter(sampled.has, known)
            while len(piece) >= PIECE:
                yield await self._of_piece(piece[:PIECE])
                del piece[:PIECE]
        if piece:
            yield await self._of_piece(piece)

    def _named(self, tenant: str, name: str) -> Subject:
        return Subject(tenant, self._scope, name)

    async def _of_piece(self, piece: list[Subject]) -> list[Outcome]:
        asked = columns_of(piece)
        folds = await self._folds_of(piece)
        await self._feed_by_key({subject: self._begin(fold) for subject, fold in folds.items()}, folds)
        rows = await self._session.rows(Stored, "unlocks_as_they_are", **asked, **self._keys)
        stored = {subject: list(group) for subject, group in groupby(rows, subject_of)}
        self.subjects += len(piece)
        return self._outcomes(folds, stored)

    async def _folds_of(self, piece: list[Subject]) -> dict[Subject, Fold]:
        """Return the folds of some subjects."""
        return {subject: self._unknown() for subject in piece}

    def _begin(self, fold: Fold) -> Position:
        """Return where the events begin that a fold needs."""
        del fold
        return BEGINNING

    async def _feed_by_key(self, after: Mapping[Subject, Position], folds: Mapping[Subject, Fold]) -> None:
        async with self._lock:
            async for page in read_back(self._session, self._rules, self._scope, after, part=self._part.plan):
                for subject, events in groupby(page, itemgetter(0)):
                    self._feed(folds[subject], [event for _, event in events])


def subject_of(row: Stored) -> Subject:
    """Return the subject of an unlock."""
    return Subject(*row[:3])


def columns_of(subjects: Iterable[Subject]) -> dict[str, object]:
    """Return subjects as the arguments of a query."""
    tenants, scopes, names = (list(column) for column in zip(*subjects, strict=True))
    return {"tenant_ids": tenants, "scopes": scopes, "subjects": names}

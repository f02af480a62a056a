"""A replay of the ledger: its events folded again in one snapshot, and compared with what production has granted.

Nothing is written. Subjects are folded one after the other, their events read through a cursor, so that neither many
users nor a long history lie in memory.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.event import Position
from dsl.fold import reach, start, walk
from dsl.outcome import Subject, hash_of, progress_lines, shown, unlock_line
from worker.engine.agreement import Disagreement, StoredUnlock, Why, disagreements
from worker.engine.columns import FIELDLESS
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import read_back, subjects_heard
from worker.pipeline.sorted_lines import SortedLines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from dsl.event import Event
    from dsl.progress import Grant, State
    from worker.engine.rule_set import Deployed
    from worker.store import Session, Store

PAGE: Final = 2000
"""Subjects that are looked up together."""
PIECE: Final = 100
"""Subjects whose events are asked for together, and whose states are in memory."""
SHOWN: Final = 1000
"""Disagreements that are kept; the others are counted."""


class Part(NamedTuple):
    """Which part of the ledger: events from `since` on and before `until` (microseconds), of a tenant, of a user."""

    since: int | None = None
    until: int | None = None
    tenant: str | None = None
    user: str | None = None

    @property
    def is_whole_history(self) -> bool:
        """Whether subjects have all of their events, so that production can be compared with them."""
        return self.since is None and self.until is None


class Replayed(NamedTuple):
    """What comes out of the ledger."""

    digest: str
    folded: int
    """Events, each counted once for each scope that hears it."""
    subjects: int
    suppressed: int
    unlocks: Counter[tuple[str, str]]
    """By achievement and tier, "" for none."""
    holders: Counter[tuple[str, str]]
    """Subjects that have one of these unlocks."""
    disagreements: list[Disagreement]
    """The first ones; what operators have decided comes last."""
    disagreed: Counter[Why]
    """All of them; empty where nothing was compared."""
    clock: int


class NotInLedgerError(Exception):
    """The ledger does not know which events belong to which subject of a scope; the message says which."""

    def __init__(self, scope: str, missing: Sequence[str]) -> None:
        super().__init__(
            f"scope {scope}: the ledger does not know whose events {', '.join(missing)} are, "
            f"since the rules in force do not hear them in scope {scope}"
        )


def check_scopes(rules: Deployed, in_force: Deployed) -> None:
    """Check that the ledger knows the subjects of these rules.

    Raises:
        NotInLedgerError: it does not.
    """
    for scope, plan in rules.program.scopes.items():
        if scope in FIELDLESS:
            continue
        known = in_force.program.scopes.get(scope)
        missing = sorted(plan.types - (frozenset[str]() if known is None else known.types))
        if missing:
            raise NotInLedgerError(scope, missing)


async def replay_ledger(
    store: Store, rules: Deployed, part: Part, *, times: int = 1, moved: Callable[[int], None] | None = None
) -> list[Replayed]:
    """Fold a part of the ledger as many times as is asked for, all in one snapshot; compare it with production.

    It is compared if the part has the whole history of its subjects. The clock of moments and of `settle` is the latest
    instant of the ledger, as in a replay of a recording, or the end of the part. `moved` is called with how many more
    events are folded.

    Raises:
        UnavailableError: the database is away.
        OSError: the disk of temporary files is full.
    """
    async with store.transaction(patient=True) as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        clock = await session.value(int, "latest_instant") or 0
        if part.until is not None:
            clock = part.until
        found: list[Replayed] = []
        for _ in range(times):
            with SortedLines() as lines:
                reader = _Reader(session, rules, part, clock=clock, lines=lines)
                async for folded in reader.pieces():
                    if moved is not None:
                        moved(folded)
                found.append(reader.result(hash_of(lines)))
        return found


class _Folded(NamedTuple):
    """A subject, and what came of its events so far."""

    state: State
    grants: list[Grant]


class _Named(NamedTuple):
    tenant_id: str
    subject: str


class _Reader:
    """Folds subject after subject, and counts."""

    def __init__(self, session: Session, rules: Deployed, part: Part, *, clock: int, lines: SortedLines) -> None:
        self._session = session
        self._rules = rules
        self._part = part
        self._compare = part.is_whole_history
        self._clock = clock
        self._lines = lines
        self._folded = self._subjects = self._suppressed = 0
        self._unlocks = Counter[tuple[str, str]]()
        self._holders = Counter[tuple[str, str]]()
        self._wrong: list[Disagreement] = []
        self._decided: list[Disagreement] = []
        self._disagreed = Counter[Why]()

    def result(self, digest: str) -> Replayed:
        return Replayed(
            digest,
            self._folded,
            self._subjects,
            self._suppressed,
            self._unlocks,
            self._holders,
            [*self._wrong, *self._decided][:SHOWN],
            self._disagreed,
            self._clock,
        )

    async def pieces(self) -> AsyncIterator[int]:
        """Fold everything, and yield how many events each piece had."""
        for scope in sorted(self._rules.program.scopes):
            async for piece in self._pieces_of(scope):
                before = self._folded
                folded = await self._fold(scope, piece)
                stored = await self._stored(piece) if self._compare else {}
                for subject in piece:
                    self._close(subject, folded.get(subject), stored.get(subject, []))
                yield self._folded - before

    async def _pieces_of(self, scope: str) -> AsyncIterator[list[Subject]]:
        user = self._part.user
        if user is not None:
            if scope == USER:
                yield [Subject(self._part.tenant or "", USER, user)]
            return
        piece: list[Subject] = []
        async for tenant, name in self._names(scope):
            piece.append(Subject(tenant, scope, name))
            if len(piece) == PIECE:
                yield piece
                piece = []
        if piece:
            yield piece

    async def _names(self, scope: str) -> AsyncIterator[_Named]:
        """Yield the subjects of a scope in order: those with events, and those that only have unlocks."""
        sources = [self._paged(*subjects_heard(self._rules, scope))]
        if self._compare:
            sources.append(self._paged("subjects_with_rows", {"scope": scope}))
        heads = [await anext(source, None) for source in sources]
        while rest := [head for head in heads if head is not None]:
            first = min(rest)
            yield first
            for at, source in enumerate(sources):
                if heads[at] == first:
                    heads[at] = await anext(source, None)

    async def _paged(self, query: str, asked: dict[str, object]) -> AsyncGenerator[_Named]:
        tenant = self._part.tenant
        after = _Named(tenant or "", "")
        while True:
            place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
            page = await self._session.rows(_Named, query, **asked, **place, limit=PAGE)
            for name in page:
                if tenant is not None and name.tenant_id != tenant:
                    return
                yield name
            if len(page) < PAGE:
                return
            after = page[-1]

    async def _fold(self, scope: str, piece: list[Subject]) -> dict[Subject, _Folded]:
        plan, since, until = self._rules.program.scopes[scope], self._part.since, self._part.until
        after = BEGINNING if since is None else Position(since, "")
        found: dict[Subject, _Folded] = {}
        async for page in read_back(self._session, self._rules, scope, dict.fromkeys(piece, after)):
            heard: dict[Subject, list[Event]] = {}
            for subject, event in page:
                if until is None or event.at < until:
                    heard.setdefault(subject, []).append(event)
            for subject, events in heard.items():
                one = found.setdefault(subject, _Folded(start(plan), []))
                one.grants.extend(walk(plan, one.state, events))
                self._folded += len(events)
        return found

    async def _stored(self, piece: list[Subject]) -> dict[Subject, list[StoredUnlock]]:
        tenants, scopes, names = (list(column) for column in zip(*piece, strict=True))
        asked = {"tenant_ids": tenants, "scopes": scopes, "subjects": names}
        found: dict[Subject, list[StoredUnlock]] = {}
        for row in await self._session.rows(StoredUnlock, "granted_to_subjects", **asked):
            found.setdefault(Subject(*row[:3]), []).append(row)
        return found

    def _close(self, subject: Subject, folded: _Folded | None, stored: list[StoredUnlock]) -> None:
        """Count a subject, all of whose events are folded."""
        program, grants = self._rules.program, [] if folded is None else folded.grants
        if folded is not None:
            folded.grants.extend(reach(program.scopes[subject.scope], folded.state, self._clock))
            self._subjects += 1
            self._suppressed += folded.state.suppressed if subject.scope == USER else 0
            self._lines.add(progress_lines(program.scopes[subject.scope], subject, folded.state))
        granted = [grant for grant in grants if grant.earned_at + grant.settle <= self._clock]
        self._lines.add(unlock_line(shown(subject, grant)) for grant in granted)
        names = [(grant.achievement, grant.tier or "") for grant in granted]
        self._unlocks.update(names)
        self._holders.update(set(names))
        if not self._compare:
            return

        def ruled(achievement: str, tier: str) -> bool:
            return self._rules.rules_on(subject.scope, achievement, tier)

        found = disagreements(subject, grants, stored, self._clock, ruled)
        self._disagreed.update(one.why for one in found)
        for one in found:
            kept = self._decided if one.why.is_word_of_operator else self._wrong
            if len(kept) < SHOWN:
                kept.append(one)

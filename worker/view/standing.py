"""The facts about one subject, read in one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from dsl.compile import USER
from dsl.fold import fold, start
from dsl.outcome import Subject
from worker.admin.results import StaleError, UnreadableError
from worker.engine.answer import Facts, Held, Presence
from worker.engine.reconcile import Stored
from worker.pipeline.ledger import TooManyEventsError, events_of, types_heard
from worker.pipeline.past_states import know_former, recorded_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.progress import State
    from worker.engine.entries import Catalogue
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session, Store

MOST_FOLDED: Final = 20_000
"""Events of a user that a reader folds by itself while the stored state is one of other rules."""


class RulesChangedError(Exception):
    """Other rules are in force than the reader has: it has to load them, and ask again."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"rule set {epoch} is in force")
        self.epoch = epoch


_UnlockRow = tuple[str, str, str, str, UUID, int, int, str, int | None, int | None, int | None, int | None, bool]
"""The reward, and an unlock as in `Stored` without its subject."""


class _Row(NamedTuple):
    epoch: int
    stamp: str | None
    state: str | None
    unsaved: Sequence[EventRow]
    unlocks: Sequence[_UnlockRow]
    shown: Sequence[tuple[str, str]]
    known: bool
    heard: bool
    erased: bool
    building: bool
    clock: int | None
    mark: str


class _Mark(NamedTuple):
    epoch: int
    mark: str


class _MarkOf(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    mark: str


async def read_facts(store: Store, catalogue: Catalogue, subject: Subject, *, stream_clock: bool = False) -> Facts:
    """Read all that an answer about a subject needs, in one statement; `stream_clock` asks for the latest event too.

    Where a user's state is not up to date with the rules in force, the user's events are folded here.

    Raises:
        RulesChangedError: the catalogue is not of the rules in force.
        StaleError: the state is not up to date with the rules in force, and too large a thing to be folded here.
        UnreadableError: it cannot be read.
        UnavailableError: the database is away.
    """
    async with store.alone() as session:
        row = await _read_known(session, catalogue, subject, stream_clock=stream_clock)
    try:
        return _facts(subject, row, _state(catalogue.rules, subject, row))
    except StaleError:
        if subject.scope != USER:
            raise
    async with store.transaction() as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = await _read(session, catalogue, subject, stream_clock=stream_clock)
        state = await _folded(session, catalogue.rules, subject)
    return _facts(subject, row, state)


async def facts_in(session: Session, catalogue: Catalogue, user: Subject, *, stream_clock: bool = False) -> Facts:
    """Read the facts about a user in a transaction that has one snapshot for all its statements.

    Raises:
        RulesChangedError, StaleError, UnreadableError: as in `read_facts`.
    """
    row = await _read_known(session, catalogue, user, stream_clock=stream_clock)
    try:
        state = _state(catalogue.rules, user, row)
    except StaleError:
        state = await _folded(session, catalogue.rules, user)
    return _facts(user, row, state)


async def read_mark(store: Store, catalogue: Catalogue, subject: Subject) -> str:
    """Return what changes whenever the facts about a subject do, for one row.

    Raises:
        RulesChangedError: the catalogue is not of the rules in force.
        UnavailableError: the database is away.
    """
    async with store.alone() as session:
        row = await session.row(
            _Mark,
            "mark_of_subject",
            tenant_id=subject.tenant_id,
            scope=subject.scope,
            subject=subject.subject,
            types=types_heard(catalogue.rules, USER),
        )
    if row is None:
        raise AssertionError(subject)
    _check_epoch(catalogue, row.epoch)
    return row.mark


async def read_marks(store: Store, catalogue: Catalogue, subjects: Sequence[Subject]) -> dict[Subject, str]:
    """Return what changes whenever the facts about some subjects do, or the rules that the catalogue is of.

    Raises:
        UnavailableError: the database is away.
    """
    tenants, scopes, names = zip(*subjects, strict=True)
    async with store.alone() as session:
        rows = await session.rows(
            _MarkOf,
            "marks_of_subjects",
            tenant_ids=tenants,
            scopes=scopes,
            subjects=names,
            types=types_heard(catalogue.rules, USER),
        )
    return {Subject(row.tenant_id, row.scope, row.subject): f"{catalogue.rules.epoch} {row.mark}" for row in rows}


async def _read_known(session: Session, catalogue: Catalogue, subject: Subject, *, stream_clock: bool) -> _Row:
    """Read the row of a subject, and the rules that have folded its state where they are others than those in force."""
    row = await _read(session, catalogue, subject, stream_clock=stream_clock)
    if row.stamp is not None and row.stamp != catalogue.rules.stamps.get(subject.scope, row.stamp):
        await know_former(session, catalogue.rules, [(subject.scope, row.stamp)])
    return row


async def _read(session: Session, catalogue: Catalogue, subject: Subject, *, stream_clock: bool) -> _Row:
    row = await session.row(
        _Row,
        "standing_of_subject",
        tenant_id=subject.tenant_id,
        scope=subject.scope,
        subject=subject.subject,
        types=types_heard(catalogue.rules, USER),
        stream_clock=stream_clock,
    )
    if row is None:
        raise AssertionError(subject)
    _check_epoch(catalogue, row.epoch)
    return row


def _check_epoch(catalogue: Catalogue, epoch: int) -> None:
    if epoch != catalogue.rules.epoch:
        raise RulesChangedError(epoch)


def _state(rules: Deployed, subject: Subject, row: _Row) -> State | None:
    if row.erased or subject.scope not in rules.stamps:
        return None
    if row.stamp is None or row.state is None:
        if row.heard:
            raise StaleError(1)
        return start(rules.program.scopes[subject.scope]) if row.known else None
    found = recorded_state(rules, subject, row.stamp, row.state, row.unsaved, built=not row.building)
    if found.stale:
        raise StaleError(1)
    if found.state is None:
        raise UnreadableError(1)
    return found.state


async def _folded(session: Session, rules: Deployed, subject: Subject) -> State:
    """Fold a user's events from the first one on.

    Raises:
        StaleError: there are too many of them.
    """
    try:
        events = await events_of(session, rules, subject, most=MOST_FOLDED)
    except TooManyEventsError:
        raise StaleError(1) from None
    state, _ = fold(rules.program.scopes[subject.scope], events)
    return state


def _facts(subject: Subject, row: _Row, state: State | None) -> Facts:
    unlocks = [Held(Stored(*subject, *each[1:]), each[0]) for each in row.unlocks]
    known = state is not None or bool(unlocks)
    presence = Presence.ERASED if row.erased else Presence.KNOWN if known else Presence.UNKNOWN
    shown = frozenset((achievement, tier or None) for achievement, tier in row.shown)
    return Facts(subject, presence, state, unlocks, shown, row.mark, row.building, row.clock or 0)

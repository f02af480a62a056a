"""What a database holds as a result, in the form of a replay: unlocks, states, and the digest of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from dsl.calendar import format_instant
from dsl.compile import USER
from dsl.fold import start
from dsl.outcome import Subject, Unlock, digest, hash_of, progress_lines, suppressed, unlock_line
from worker.engine.answer import Held
from worker.engine.reconcile import Stored as UnlockRow
from worker.pipeline.ledger import types_heard
from worker.pipeline.past_states import know_former, recorded_state
from worker.pipeline.sorted_lines import SortedLines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.progress import State
    from worker.engine.entries import Key
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session, Store


class StaleError(Exception):
    """Subjects that are not up to date with the rules in force; `subjects` says how many."""

    def __init__(self, subjects: int) -> None:
        super().__init__(f"{subjects:,} subjects are not up to date with the rules in force; run `ach backfill`")
        self.subjects = subjects


class UnreadableError(Exception):
    """Progress that is up to date by its stamp and cannot be read; a backfill passes it over."""

    def __init__(self, subjects: int) -> None:
        super().__init__(
            f"the progress of {subjects:,} subjects cannot be read, or not be folded on from there; a worker folds it "
            "anew at the next event of each, and its log says what is wrong"
        )
        self.subjects = subjects


class Stored(NamedTuple):
    """Unlocks in order, supported and contested apart, and every subject's state.

    Those are what the rules in force judge. What achievements and tiers have granted that have left the rules stays
    where it is: `retired`, which is no part of the digest.
    """

    unlocks: list[Unlock]
    contested: list[Unlock]
    states: dict[Subject, State]
    digest: str
    retired: list[Unlock]

    @property
    def suppressed(self) -> int:
        """How many events `once per` took for copies."""
        return suppressed(self.states)


class _UnlockRow(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    earned_at: int
    contested: bool

    def shown(self) -> Unlock:
        where = (self.tenant_id, self.scope, self.subject, self.achievement)
        at = format_instant(self.earned_at)
        return Unlock(*where, self.tier or None, self.occurrence or None, self.version, at)


class _ProgressRow(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    stamp: str
    state: str
    unsaved: Sequence[EventRow]


async def read_results(store: Store, rules: Deployed, *, clock: int | None = None) -> Stored:
    """Read everything in one snapshot.

    `clock` (microseconds) is that of `settle`, by default the latest event of the ledger.

    Raises:
        StaleError: the states of some subjects were folded by other rules.
        UnreadableError: those of some cannot be read.
        UnavailableError: the database is away.
    """
    async with store.transaction(patient=True) as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if clock is None:
            clock = await session.value(int, "latest_instant") or 0
        rows = await session.rows(_UnlockRow, "all_unlocks", clock=clock)
        states = await _states(session, rules)
    judged = [row for row in rows if rules.rules_on(row.scope, row.achievement, row.tier)]
    unlocks = [row.shown() for row in judged if not row.contested]
    unlocks.sort(key=lambda unlock: unlock.order)
    contested = [row.shown() for row in judged if row.contested]
    retired = [row.shown() for row in rows if not rules.rules_on(row.scope, row.achievement, row.tier)]
    return Stored(unlocks, contested, states, digest(rules.program, unlocks, states), retired)


async def _states_of(session: Session, rules: Deployed, tenant: str, name: str) -> dict[Subject, State]:
    """Return the states of everything of that name; a user whose events no rule hears is at the beginning."""
    types, scopes = types_heard(rules, USER), list(rules.stamps)
    rows = await session.rows(
        _ProgressRow, "progress_of_subject", tenant_id=tenant, scopes=scopes, subject=name, types=types
    )
    states = await _checked(session, rules, rows)
    user = await session.row(_InLedger, "user_in_ledger", tenant_id=tenant, user_id=name, types=types)
    subject = Subject(tenant, USER, name)
    if user is not None and user.known and subject not in states:
        if user.heard:
            raise StaleError(1)
        states[subject] = start(rules.program.scopes[USER])
    return states


class Digested(NamedTuple):
    """What `ach digest` prints: the hash, and how much is behind it."""

    digest: str
    unlocks: int
    contested: int
    subjects: int
    retired: int


async def read_digest(store: Store, rules: Deployed) -> Digested:
    """Return what `read_results` would, as counts and a hash: rows go through a cursor, so they may be many.

    Raises:
        StaleError, UnreadableError, UnavailableError: as in `read_results`.
        OSError: the disk of temporary files is full.
    """
    async with store.transaction(patient=True) as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        clock = await session.value(int, "latest_instant") or 0
        unlocks = contested = retired = subjects = 0
        with SortedLines() as lines:
            async for page in session.pages(_UnlockRow, "all_unlocks", clock=clock):
                judged = [row for row in page if rules.rules_on(row.scope, row.achievement, row.tier)]
                supported = [row.shown() for row in judged if not row.contested]
                unlocks += len(supported)
                contested += len(judged) - len(supported)
                retired += len(page) - len(judged)
                lines.add(map(unlock_line, supported))
            flaws = _Flaws()
            async for rows in session.pages(_ProgressRow, "all_progress", types=types_heard(rules, USER)):
                for subject, state in (await _decoded(session, rules, rows, flaws)).items():
                    subjects += 1
                    lines.add(progress_lines(rules.program.scopes[subject.scope], subject, state))
            flaws.check()
            return Digested(hash_of(lines), unlocks, contested, subjects, retired)


_UnlockColumns = tuple[
    str, str, str, str, str, str, UUID, int, int, str, int | None, int | None, int | None, int | None, bool
]
"""Those of `UnlockRow`."""


class Named(NamedTuple):
    """All that is known under one name in a tenant, as of one moment."""

    states: dict[Subject, State]
    unlocks: dict[Subject, list[Held]]
    shown: dict[Subject, frozenset[Key]]
    """What was revealed by progress, and written down."""
    erased: bool
    """Whether a user of that name was erased."""
    building: bool
    """Whether a backfill is under way, so that what is not known may be known soon."""
    clock: int
    """The latest instant of any event, microseconds; 0 where it was not asked for."""


async def read_named(store: Store, rules: Deployed, tenant: str, name: str, *, stream_clock: bool = False) -> Named:
    """Read the states and the unlocks of everything of that name in one snapshot.

    `stream_clock` asks for the latest event, too, which reads the whole ledger: only where that is the clock.

    Raises:
        StaleError: a state was folded by other rules, or not yet.
        UnreadableError: one cannot be read.
        UnavailableError: the database is away.
    """
    async with store.transaction() as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        states = await _states_of(session, rules, tenant, name)
        unlocks: dict[Subject, list[Held]] = {}
        for held in await session.rows(_held, "unlocks_of_name", tenant_id=tenant, subject=name):
            unlocks.setdefault(Subject(*held.stored[:3]), []).append(held)
        shown: dict[Subject, frozenset[Key]] = {}
        for row in await session.rows(_Shown, "revealed_to_name", tenant_id=tenant, subject=name):
            subject = Subject(tenant, row.scope, name)
            shown[subject] = shown.get(subject, frozenset()) | {(row.achievement, row.tier or None)}
        erased = bool(await session.value(bool, "user_is_erased", tenant_id=tenant, user_id=name))
        building = bool(await session.value(bool, "something_is_building"))
        clock = await session.value(int, "latest_instant") if stream_clock else None
        return Named(states, unlocks, shown, erased, building, clock or 0)


def _held(*row: *tuple[*_UnlockColumns, str]) -> Held:
    return Held(UnlockRow(*row[:-1]), row[-1])


class _Shown(NamedTuple):
    scope: str
    achievement: str
    tier: str


class _InLedger(NamedTuple):
    known: bool
    heard: bool


async def _states(session: Session, rules: Deployed) -> dict[Subject, State]:
    rows = await session.rows(_ProgressRow, "all_progress", types=types_heard(rules, USER))
    return await _checked(session, rules, rows)


class _Flaws:
    """Counts states that cannot be used."""

    def __init__(self) -> None:
        self.stale = self.unreadable = 0

    def check(self) -> None:
        """Raise what `read_results` does, where there are some."""
        if self.stale:
            raise StaleError(self.stale)
        if self.unreadable:
            raise UnreadableError(self.unreadable)


async def _checked(session: Session, rules: Deployed, rows: list[_ProgressRow]) -> dict[Subject, State]:
    flaws = _Flaws()
    states = await _decoded(session, rules, rows, flaws)
    flaws.check()
    return states


async def _decoded(session: Session, rules: Deployed, rows: list[_ProgressRow], flaws: _Flaws) -> dict[Subject, State]:
    known = [row for row in rows if row.scope in rules.stamps]
    built = True
    if former := {(row.scope, row.stamp) for row in known if row.stamp != rules.stamps[row.scope]}:
        await know_former(session, rules, former)
        built = not await session.value(bool, "something_is_building")
    states: dict[Subject, State] = {}
    for row in known:
        subject = Subject(row.tenant_id, row.scope, row.subject)
        found = recorded_state(rules, subject, row.stamp, row.state, row.unsaved, built=built)
        if found.stale:
            flaws.stale += 1
        elif found.state is None:
            flaws.unreadable += 1
        else:
            states[subject] = found.state
    return states

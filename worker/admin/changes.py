"""Changes of rules as objects: what they are, who is at work on them, and what an operator may do with them.

    pending      announced to workers, not in force; one at a time
    building     in force; subjects are brought up to date, by one process and by workers when events touch them
    paused       the same, and no process goes on before an operator says so
    done         all subjects are up to date
    cancelled    given up: before it was in force, or built no further; events bring subjects up to date then
    superseded   other rules came into force before it was done, and their change does what it has left
    rolled_back  taken back

The process that builds a change writes to its row every second. One that has been silent for a while is taken over:
by `ach apply` with the same rules, by `ach change resume`, or by any worker.
"""

from __future__ import annotations

import os
import platform
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import anyio
import msgspec

from worker.engine.change import Announced, Cause, Policy
from worker.process.loop import alone
from worker.store import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from worker.store import Session, Store

UNFINISHED: Final = frozenset({"pending", "building", "paused"})
"""States of a change that has not come to its end."""
BEAT_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 10.0
"""After which a worker goes on with a build."""
PENDING_SILENT_SECONDS: Final = 3.0
"""After which another `ach apply` takes the place of one that has announced its rules."""
AT_ONCE: Final = 1000
"""Unlocks that enter the outbox in one transaction."""


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a build goes on, and what it has to do beside the subjects."""

    heard: dict[str, list[str]] = {}
    """Per field scope the event types that it hears for the first time: whether all are listed has to be seen."""
    xid: str = "0"
    """The oldest transaction whose events may not be listed."""
    unheard: bool = False
    """Whether events are listed that no scope hears any more."""
    scope: str = ""
    """The scope that is built; all before it, in order, are done."""
    step: int = 0
    """The search among those of its scope."""
    tenant_id: str = ""
    """With `subject` the last one that was looked at."""
    subject: str = ""
    swept: int | None = None
    """Of a search that goes through users by a hash: the last one."""


class Change(NamedTuple):
    """A row of the table `change`; instants in microseconds."""

    change_id: int
    state: str
    epoch: int | None
    epoch_before: int
    plan: str | None
    hash: str
    begun_at: int
    applied_at: int | None
    applied_by: str
    message: str
    announce: str
    announce_since: int | None
    rate: int | None
    max_lag: int | None
    builder: str
    silent_ms: int
    cursor: str | None
    expected: int | None
    looked_at: int
    subjects: int
    events: int
    built_ms: int
    waits_for: str
    ended_at: int | None
    ended_by: str | None

    @property
    def policy(self) -> Policy:
        """What is announced of what it grants."""
        return Policy(Announced(self.announce), self.announce_since)

    @property
    def cause(self) -> Cause:
        """The change as decisions name it."""
        return Cause(self.change_id, self.policy)

    @property
    def place(self) -> Cursor:
        """Where its build goes on."""
        return read_cursor(self.cursor)


class Counts(NamedTuple):
    """What came of a change so far, in workers and in its build."""

    decisions: Mapping[str, int]
    """By kind: granted, amended and so on."""
    granted: int
    silent: int
    """Of those granted: nothing is announced of them."""
    waiting: int
    announced: int


class UnknownChangeError(LookupError):
    """There is no such change."""

    def __init__(self, change_id: int) -> None:
        super().__init__(f"there is no change {change_id}: `ach change list` lists them")


class NotNowError(Exception):
    """A change is in a state in which that cannot be done; the message says which."""


def builder_name() -> str:
    """Return a name for this process as a builder: host and process id, and a part that makes it unique."""
    return f"{platform.node() or 'unknown'}:{os.getpid()}:{uuid4().hex[:8]}"


def taken_over(left: Change, policy: Policy) -> str:
    """Return in words that the next change does what one has left, by its own `policy`; empty where nothing is left."""
    if left.state not in {"building", "paused"}:
        return ""
    said = f"change {left.change_id} was {left.state}: this change does what it has left"
    return f"{said}, with --announce {policy.announced.value}"


def shown_builder(builder: str) -> str:
    """Return the name of a builder for people: host and process id."""
    return builder.rpartition(":")[0] or builder


def read_cursor(text: str | None) -> Cursor:
    """Return a cursor as the table has it; what another release has written is begun anew."""
    if text is None:
        return Cursor()
    try:
        return msgspec.json.decode(text, type=Cursor)
    except msgspec.DecodeError:
        return Cursor()


def cursor_text(cursor: Cursor) -> str:
    """Return a cursor as the table has it."""
    return msgspec.json.encode(cursor).decode()


def merged(new: Cursor, left: Cursor) -> Cursor:
    """Return where a build begins that takes over what another one has left to do beside the subjects."""
    heard = {
        scope: sorted({*new.heard.get(scope, ()), *left.heard.get(scope, ())})
        for scope in sorted(new.heard.keys() | left.heard.keys())
    }
    xid = left.xid if left.heard else new.xid
    return Cursor(heard=heard, xid=xid, unheard=new.unheard or left.unheard)


# -- looking -----------------------------------------------------------------------------------------------------------


async def changes(store: Store, *, limit: int) -> list[Change]:
    """Return changes, the latest first."""
    async with store.transaction() as session:
        return await session.rows(Change, "changes", limit=limit)


async def open_changes(store: Store) -> list[Change]:
    """Return what is built or rests, then what is pending: at most one of each."""
    async with store.transaction() as session:
        return await session.rows(Change, "changes_open")


async def change_of(store: Store, change_id: int) -> Change:
    """Return one change.

    Raises:
        UnknownChangeError: there is none of this number.
    """
    async with store.transaction() as session:
        return await _change(session, change_id)


async def _change(session: Session, change_id: int) -> Change:
    found = await session.row(Change, "change_of_id", change_id=change_id)
    if found is None:
        raise UnknownChangeError(change_id)
    return found


async def counts_of(store: Store, change_id: int) -> Counts:
    """Return what came of a change so far."""
    async with store.transaction() as session:
        decisions = dict(await session.rows(name_and_number, "decisions_of_change", change_id=change_id))
        unlocks = await session.row(_four, "unlocks_of_change", change_id=change_id)
    return Counts(decisions, *(unlocks or (0, 0, 0, 0)))


def name_and_number(name: str, number: int) -> tuple[str, int]:
    """Return a row of a query that counts by name."""
    return name, number


def _four(*numbers: int) -> tuple[int, int, int, int]:
    granted, silent, waiting, announced = numbers
    return granted, silent, waiting, announced


# -- what an operator may do -------------------------------------------------------------------------------------------


async def pause(store: Store, change_id: int) -> Change:
    """Stop a build until an operator resumes it; the process that is at it ends within a second.

    Raises:
        UnknownChangeError, NotNowError: nothing was done.
    """
    async with store.transaction() as session:
        done = await session.run("pause_change", change_id=change_id)
        change = await _change(session, change_id)
        if not done and change.state != "paused":
            raise NotNowError(f"change {change_id} is {change.state}: only one that is building can be paused")
        return change


async def cancel(store: Store, change_id: int, *, by: str, now: int) -> Change:
    """Give a change up: one that is not in force never will be, one that is, is built no further.

    Raises:
        UnknownChangeError, NotNowError: nothing was done.
    """
    async with store.transaction() as session:
        done = await session.run("cancel_change", change_id=change_id, now=now, by=by)
        change = await _change(session, change_id)
        if not done and change.state != "cancelled":
            raise NotNowError(f"change {change_id} is {change.state} already")
        return change


async def announce_silent(store: Store, change_id: int) -> int:
    """Announce what a change has granted silently, as it stands; return how many unlocks enter the outbox, or will.

    Raises:
        UnknownChangeError, NotNowError: nothing was done.
    """
    async with store.transaction() as session:
        change = await _change(session, change_id)
        if change.state in UNFINISHED:
            raise NotNowError(f"change {change_id} is {change.state}: wait for its end, or cancel it first")
        if change.state == "rolled_back":
            said = f"change {change_id} is rolled back: what it has not announced by then never is"
            raise NotNowError(f"{said}; `ach grant` announces single unlocks")
    announced, more = 0, True
    while more:
        async with store.transaction() as session:
            some = await session.run("announce_silent_unlocks", change_id=change_id, limit=AT_ONCE)
        announced, more = announced + some, some == AT_ONCE
    async with store.transaction() as session:
        await session.run("change_announces_all", change_id=change_id)
    return announced


async def roll_back_changes(session: Session, epoch: int, *, now: int) -> int:
    """Mark the changes that came into force after an epoch, but for the one in force, as rolled back.

    To be called in the transaction that puts the rules of that epoch into force again, so that no batch adds to what
    they have granted. What of that is not announced never will be: it becomes silent, and the relay that announces an
    unlock at this moment is waited for. Returns how many unlocks that are.
    """
    rolled_back = await session.rows(int, "roll_back_changes", epoch=epoch, now=now)
    return await session.run("silence_rolled_back", change_ids=rolled_back)


# -- a sign of life ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def beating(beat: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Call `beat` once a second beside a block; what it raises ends the block, except that the database is away."""

    async def run() -> None:
        while True:
            await anyio.sleep(BEAT_SECONDS)
            try:
                await beat()
            except UnavailableError:
                continue

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise alone(group) from None

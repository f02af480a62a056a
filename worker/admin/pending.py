"""A change that is announced and not in force yet: one at a time, and workers load its rules meanwhile."""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from worker.admin.changes import PENDING_SILENT_SECONDS, Change, shown_builder
from worker.engine.change import Announced, Policy
from worker.engine.rule_set import rules_hash
from worker.store import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from worker.store import Session, Store

READY_SECONDS: Final = 5.0
"""For workers to load rules; those that have not by then load them when they are in force."""
SEEN_SECONDS: Final = 7.0
"""A worker that has been silent for longer is not waited for."""
LOOK_SECONDS: Final = 0.1

NOTHING_APPLIED: Final = "nothing was applied"


class NotPendingError(Exception):
    """The change was cancelled, or another process has taken its place, before it came into force."""

    def __init__(self, change_id: int) -> None:
        super().__init__(f"change {change_id} was cancelled before it came into force; {NOTHING_APPLIED}")


class PolicyRefusedError(Exception):
    """Workers are running that announce everything, and the change is not to."""


class Terms(NamedTuple):
    """What an operator says of a change beside its rules."""

    message: str = ""
    policy: Policy = Policy()
    plan: str | None = None
    """Hash of the plan that it is applied from."""
    epoch: int | None = None
    """The epoch that the plan was made against."""
    against: str | None = None
    """SHA-256, in hexadecimal, of the rules of that epoch: another database counts its epochs too. "" before any."""
    rate: int | None = None
    """Events that its build may read a second; None for no limit."""
    max_lag: int | None = None
    """Messages that may wait for workers while it is built; None for no limit."""
    back_to: int | None = None
    """The epoch that it goes back to: all changes since are rolled back. None where it does not."""


NO_TERMS: Final = Terms()


class Pending:
    """A change on its way into force; `change_id` is known once it is announced."""

    def __init__(self, epoch_before: int, sources: str, by: str, now: int, terms: Terms, builder: str) -> None:
        self.epoch_before = epoch_before
        self.sources = sources
        self.by = by
        self.now = now
        self.terms = terms
        self.builder = builder
        self.change_id = 0
        self.waits = False
        """Whether it is announced, and not in force."""

    async def begin(self, session: Session) -> bool:
        """Announce it; return False where another one is pending."""
        policy = self.terms.policy
        self.change_id = (
            await session.value(
                int,
                "begin_change",
                epoch_before=self.epoch_before,
                plan=self.terms.plan,
                digest=rules_hash(self.sources),
                sources=self.sources,
                now=self.now,
                by=self.by,
                message=self.terms.message,
                announce=policy.announced.value,
                announce_since=policy.since,
                rate=self.terms.rate,
                max_lag=self.terms.max_lag,
                builder=self.builder,
            )
            or 0
        )
        return bool(self.change_id)

    async def beat(self, store: Store) -> None:
        """Say that this process lives.

        Raises:
            NotPendingError: the change was cancelled, or is in force by now.
        """
        async with store.transaction() as session:
            beaten = await session.run("beat_pending", change_id=self.change_id, builder=self.builder)
        if not beaten and self.waits:  # it may have come into force meanwhile, by our own hand
            raise NotPendingError(self.change_id)

    async def put_into_force(self, session: Session, *, epoch: int, cursor: str, now: int) -> None:
        """Note that its rules are in force, in the transaction that makes them so.

        Raises:
            NotPendingError: it was cancelled, or taken for dead.
        """
        done = await session.run(
            "put_change_into_force", change_id=self.change_id, builder=self.builder, epoch=epoch, cursor=cursor, now=now
        )
        if not done:
            raise NotPendingError(self.change_id)
        self.waits = False


@asynccontextmanager
async def announce(store: Store, pending: Pending, said: Callable[[str], None]) -> AsyncGenerator[Pending]:
    """Announce a change for the length of a block, when no other one is pending; drop it where it is not in force then.

    Raises:
        UnavailableError: the database is away.
    """
    waits = False
    while True:
        async with store.transaction() as session:
            await session.run(
                "drop_silent_pending", silent_ms=int(PENDING_SILENT_SECONDS * 1000), now=pending.now, by=pending.by
            )
            if await pending.begin(session):
                break
            others = await session.rows(Change, "changes_open")
        for other in others if not waits else ():
            if other.state == "pending":
                waits = True
                said(f"{other.applied_by} is applying rules ({shown_builder(other.builder)}): waiting for that to end")
        await anyio.sleep(LOOK_SECONDS)
    pending.waits = True
    try:
        yield pending
    except BaseException:
        with anyio.CancelScope(shield=True), anyio.move_on_after(READY_SECONDS):
            await _drop(store, pending)
        raise
    if pending.waits:
        await _drop(store, pending)


async def _drop(store: Store, pending: Pending) -> None:
    pending.waits = False
    try:
        async with store.transaction() as session:
            await session.run("drop_pending", change_id=pending.change_id, by=pending.by, now=pending.now)
    except UnavailableError:  # it is dropped for its silence
        return


class _Workers(NamedTuple):
    behind: int
    older: int
    release: str | None


async def await_workers(store: Store, pending: Pending, *, now: int, said: Callable[[str], None]) -> None:
    """Wait until the workers that are alive have loaded the rules, for a few seconds at the most."""
    until, waits = monotonic() + READY_SECONDS, False
    while (behind := (await _workers(store, pending.change_id, now)).behind) and monotonic() < until:
        if not waits:
            said(f"workers are loading the rules: {behind} to go")
            waits = True
        await anyio.sleep(LOOK_SECONDS)


async def check_policy(store: Store, terms: Terms, *, now: int) -> None:
    """Refuse to be silent while workers of an older release run, which announce all that they grant.

    Raises:
        PolicyRefusedError: such workers are alive.
    """
    if terms.policy.announced is Announced.ALL:
        return
    found = await _workers(store, 0, now)
    if found.older:
        raise PolicyRefusedError(
            f"{found.older} running workers are of an older release ({found.release}), which announces everything; "
            f"{NOTHING_APPLIED}: upgrade them, or use --announce all"
        )


async def _workers(store: Store, change_id: int, now: int) -> _Workers:
    async with store.transaction() as session:
        since = now - int(SEEN_SECONDS * 1_000_000)
        found = await session.row(_Workers, "workers_of_change", change_id=change_id, since=since)
    return found or _Workers(0, 0, None)

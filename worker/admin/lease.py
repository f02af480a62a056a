"""The right to build a change: one process has it, says that it lives, and notes how far it is.

It is held by the name of the process in the row of the change, and not by a lock of a session, which a pooler would
lose. Two that build at once do no harm, since a subject that is up to date is passed over under its lock: the name only
keeps work from being done twice.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from worker.admin.changes import SILENT_SECONDS, Change, Cursor, beating, cursor_text, shown_builder
from worker.engine.pace import Headway, Lag, Pace, gives_way

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from worker.store import Store

NOTE_SECONDS: Final = 0.5
"""Between two notes of how far a build is."""
LAG_SECONDS: Final = 0.25
"""Between two looks at how far live work is behind."""
SEEN_SECONDS: Final = 15.0
"""What a worker has said longer ago is not believed."""


class BuildEndedError(Exception):
    """This process is not to build the change any more: it was paused, cancelled, superseded or taken over."""

    def __init__(self, change: Change) -> None:
        super().__init__(_why(change))
        self.change = change


class SupersededError(Exception):
    """Other rules came into force meanwhile; their own backfill does the work."""

    def __init__(self) -> None:
        super().__init__("other rules came into force meanwhile; their own `ach apply` brings all subjects up to date")


def _why(change: Change) -> str:
    number = change.change_id
    match change.state:
        case "paused":
            return f"change {number} was paused; `ach change resume {number}` goes on with it"
        case "cancelled":
            return f"change {number} was cancelled by {change.ended_by}; the rules stay in force"
        case "done":
            return f"change {number} is done: another process has built it"
        case _:
            return f"change {number} is built by {shown_builder(change.builder)} now; see `ach change status`"


class Limits(NamedTuple):
    """How fast a build may go; None for what the change says, or no limit."""

    rate: int | None = None
    """Events a second."""
    max_lag: int | None = None
    """Messages that may wait for workers."""


NO_LIMITS: Final = Limits()


class Lease:
    """The right to build one change. `now` is in microseconds; `watch` is called with how far the build is."""

    def __init__(
        self,
        store: Store,
        change: Change,
        *,
        now: Callable[[], int],
        watch: Callable[[Headway], None] | None = None,
    ) -> None:
        self._store = store
        self.change = change
        self.cursor = change.place
        self._now = now
        self._watch = watch
        self._builder = change.builder
        self._pace = Pace(change.rate, monotonic())
        self._max_lag = change.max_lag
        self._begun = self._noted = monotonic()
        self._lagged = 0.0
        self._looked_at = self._subjects = self._events = 0
        self._sent = (0, 0, 0)
        """What the row has of these three."""
        self._sent_ms = 0
        self.expected = change.expected
        self._waits_for = ""

    @property
    def rate(self) -> int | None:
        """Events a second that it may read; None for no limit."""
        return self._pace.rate

    @property
    def headway(self) -> Headway:
        """How far the build is."""
        change = self.change
        return Headway(
            change.looked_at + self._looked_at,
            self.expected,
            change.subjects + self._subjects,
            change.events + self._events,
            change.built_ms + self._ms(),
            self._waits_for,
        )

    def kept(self) -> AbstractAsyncContextManager[None]:
        """Say that this process lives, beside a block.

        Raises:
            BuildEndedError, SupersededError: the change is not ours any more.
        """
        return beating(self.note)

    async def did(self, *, looked_at: int = 0, subjects: int = 0, events: int = 0) -> None:
        """Note what was done, and rest as long as the limits ask for.

        Raises:
            BuildEndedError, SupersededError: the change is not ours any more.
        """
        self._looked_at += looked_at
        self._subjects += subjects
        self._events += events
        rest = self._pace.rest(max(events, subjects), monotonic())
        while rest > 0:
            await anyio.sleep(min(rest, NOTE_SECONDS))
            rest -= NOTE_SECONDS
            await self._note_at_times()
        await self._give_way()
        await self._note_at_times()

    async def move(self, cursor: Cursor) -> None:
        """Note where the build goes on.

        Raises:
            BuildEndedError, SupersededError: the change is not ours any more.
        """
        self.cursor = cursor
        await self.note(moved=True)

    async def note(self, *, moved: bool = False) -> None:
        """Write down how far the build is.

        Raises:
            BuildEndedError, SupersededError: the change is not ours any more.
        """
        self._noted = monotonic()
        done, ms = (self._looked_at, self._subjects, self._events), self._ms()
        looked_at, subjects, events = (now - sent for now, sent in zip(done, self._sent, strict=True))
        async with self._store.transaction() as session:
            limits = await session.row(
                Limits,
                "beat_change",
                change_id=self.change.change_id,
                builder=self._builder,
                cursor=cursor_text(self.cursor) if moved else None,
                expected=self.expected,
                looked_at=looked_at,
                subjects=subjects,
                events=events,
                built_ms=ms - self._sent_ms,
                waits_for=self._waits_for,
            )
            change = None
            if limits is None:
                change = await session.row(Change, "change_of_id", change_id=self.change.change_id)
        if limits is None:
            raise SupersededError if change is None or change.state == "superseded" else BuildEndedError(change)
        self._sent, self._sent_ms = done, ms
        self._pace.rate, self._max_lag = limits
        if self._watch is not None:
            self._watch(self.headway)

    async def end(self) -> None:
        """Note that all is built.

        Raises:
            BuildEndedError, SupersededError: the change is not ours any more.
        """
        await self.note()
        async with self._store.transaction() as session:
            await session.run("change_is_done", change_id=self.change.change_id, builder=self._builder, now=self._now())

    async def _note_at_times(self) -> None:
        if monotonic() - self._noted >= NOTE_SECONDS:
            await self.note()

    async def _give_way(self) -> None:
        """Wait while live work is further behind than the change allows."""
        while self._max_lag is not None and (self._waits_for or monotonic() - self._lagged >= LAG_SECONDS):
            self._lagged, now = monotonic(), self._now()
            async with self._store.transaction() as session:
                since = now - int(SEEN_SECONDS * 1_000_000)
                lag = await session.row(Lag, "live_lag", since=since)
            self._waits_for = "" if lag is None else gives_way(lag, self._max_lag, now)
            if not self._waits_for:
                return
            await self._note_at_times()
            await anyio.sleep(LAG_SECONDS)

    def _ms(self) -> int:
        return int((monotonic() - self._begun) * 1000)


async def take(  # noqa: PLR0913 - each is a choice of its own
    store: Store,
    change_id: int,
    builder: str,
    *,
    by_operator: bool,
    now: Callable[[], int],
    limits: Limits = NO_LIMITS,
    watch: Callable[[Headway], None] | None = None,
) -> Lease | None:
    """Take a change to build it: an operator any that is not done, a worker one that was left alone.

    None where it is done, not in force, or another process is at it.
    """
    async with store.transaction() as session:
        change = await session.row(
            Change,
            "take_change",
            change_id=change_id,
            builder=builder,
            by_operator=by_operator,
            silent_ms=int(SILENT_SECONDS * 1000),
            rate=limits.rate,
            max_lag=limits.max_lag,
        )
    return None if change is None else Lease(store, change, now=now, watch=watch)

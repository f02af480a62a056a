"""Announcing rows of an outbox, while those that the broker refuses wait by themselves.

Both outboxes do it alike, that of grants and that of corrections. When each row is tried again: engine/refusals.py.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import structlog

from worker.broker.errors import BrokerAwayError
from worker.engine.announcement import Claimed, Correction
from worker.engine.refusals import FullError, Refusals
from worker.retry import delays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.broker.announce import Announced, Announcement
    from worker.engine.stats import Stats

log = structlog.get_logger()


R = TypeVar("R", Claimed, Correction)


class Outlet(Protocol):
    """Where announcements go: the broker, or a callback in its place (ach/announcing.py)."""

    @property
    def connected(self) -> bool:
        """Whether it can be reached, so that a round that fails as a whole may be the fault of its messages."""
        ...

    async def announce(self, announcements: Sequence[Announcement], /) -> Announced:
        """Announce; return what became of each.

        Raises:
            BrokerAwayError: some may have arrived; try all of them again.
        """
        ...

    def look_after(self) -> None:
        """See to the connection: an announcement has failed."""
        ...


class Gate(Generic[R]):
    """Announces rows of one outbox. It logs each refusal with a message, and the column `shown` beside the others."""

    def __init__(self, outlet: Outlet, stats: Stats, message: str, shown: str) -> None:
        self._outlet = outlet
        self._stats = stats
        self._message = message
        self._shown = shown
        self.refusals = Refusals(delays)
        """Unlocks with a row that the broker refuses."""

    async def announce(
        self, rows: Sequence[R], made: Callable[[R], Announcement], *, patiently: bool = True
    ) -> tuple[Sequence[R], Mapping[str, bool]]:
        """Announce rows; return those that the broker has now, and by id of the announcement whether it was new.

        A round that fails as a whole is put off too, if it has failed often enough; without `patiently` it never is.

        Raises:
            BrokerAwayError: some may have arrived; try all of them again.
        """
        asked = [made(one) for one in rows]
        try:
            said = await self._outlet.announce(asked)
        except BrokerAwayError as error:
            connected = patiently and self._outlet.connected
            if not (connected and self.refusals.round_failed(one.unlock_id for one in rows)):
                raise
            self._put_off(rows, asked, dict.fromkeys((one.id for one in asked), str(error)))
            return (), {}
        if patiently:
            self.refusals.round_came_through()
        if not said.refused:
            return rows, said.new
        self._put_off(rows, asked, said.refused)
        kept = [one for one, announced in zip(rows, asked, strict=True) if announced.id not in said.refused]
        return kept, said.new

    def _put_off(self, rows: Sequence[R], asked: Sequence[Announcement], said: Mapping[str, str]) -> None:
        """Let the rows in `said` wait by themselves, and log each.

        Raises:
            BrokerAwayError: so many are refused that it is the broker's fault.
        """
        for one, announced in zip(rows, asked, strict=True):
            if announced.id not in said:
                continue
            try:
                seconds = self.refusals.put_off(one.unlock_id, monotonic())
            except FullError:
                raise BrokerAwayError(f"it refuses everything: {said[announced.id]}") from None
            self._stats.refused += 1
            log.warning(
                self._message,
                unlock=announced.id,
                tenant=one.tenant_id,
                subject=one.subject,
                achievement=one.achievement,
                said=said[announced.id],
                retry_in=round(seconds, 1),
                **{self._shown: getattr(one, self._shown) or None},
            )

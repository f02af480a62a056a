"""What was shown to a subject because its progress had come to N %: written down, for it stays visible from then on."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.outcome import Subject
    from worker.engine.entries import Key
    from worker.store import Store

RETRY_SECONDS: Final = 30.0
"""For which nothing is written after that has failed: a replica, or a role without the right, would fail each time."""

log = structlog.get_logger()


class Revealer(Protocol):
    """Writes down what a subject is about to be shown.

    A reader may have none: on a replica, or with a role that only reads. What is revealed at N % is shown by such a
    reader only while the progress is there, unless another reader has written it down before.
    """

    async def reveal(self, subject: Subject, keys: Sequence[Key], now: int) -> None:
        """Write down, before they are shown, that a subject sees achievements and tiers from `now` on (microseconds).

        It raises nothing: what could not be written down is shown all the same, and tried again by the next reader.
        """
        ...


class StoreRevealer:
    """Writes it down in a database. The role needs to read, and to execute the function `keep_revealed`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._again_at = 0.0

    async def reveal(self, subject: Subject, keys: Sequence[Key], now: int) -> None:
        """Write it down; what is known already, or of a subject that has been erased meanwhile, is passed over."""
        if monotonic() < self._again_at:
            return
        achievements, tiers = [key[0] for key in keys], [key[1] or "" for key in keys]
        tenant, scope, name = subject
        try:
            async with self._store.transaction() as session:
                await session.value(
                    int,
                    "keep_revealed",
                    tenant_id=tenant,
                    scope=scope,
                    subject=name,
                    achievements=achievements,
                    tiers=tiers,
                    now=now,
                )
        except (UnavailableError, RefusedError) as error:
            self._again_at = monotonic() + RETRY_SECONDS
            log.warning(
                "what was revealed could not be written down",
                needs="a primary, and the right to execute keep_revealed",
                scope=scope,
                said=str(error),
                retry_in=RETRY_SECONDS,
            )

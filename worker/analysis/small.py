"""Answers straight from PostgreSQL where its ledger is small: by a mirror that lives as long as the question."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from worker.analysis.answers import ask
from worker.mirror.once import Wanted, mirror_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.analysis.answers import Answers, Asked
    from worker.analysis.questions import Question
    from worker.mirror.duck import Bounds
    from worker.settings import Settings
    from worker.store import Store

MOST_EVENTS: Final = 200_000


class LargeError(Exception):
    """The ledger has more than `MOST_EVENTS` events."""


async def ask_database(
    store: Store, settings: Settings, questions: Sequence[Question], asked: Asked, bounds: Bounds
) -> Answers:
    """Answer questions from the database.

    Raises:
        LargeError: it has too many events.
        UnavailableError: it is away.
        DuckError, DiskError, UnknownNameError: as in `mirror_once` and `ask`.
    """
    async with store.alone() as session:
        events = await session.value(int, "events_up_to", most=MOST_EVENTS + 1) or 0
        if events > MOST_EVENTS:
            raise LargeError(f"the ledger has more than {MOST_EVENTS:,} events")
    tenant = asked.tenants[0] if asked.tenants is not None and len(asked.tenants) == 1 else None
    with TemporaryDirectory(prefix="ach-analyze-") as name:
        folder = Path(name)
        await mirror_once(store, settings, Wanted(folder, tenant, bounds))
        return await to_thread.run_sync(ask, folder, questions, asked, bounds)

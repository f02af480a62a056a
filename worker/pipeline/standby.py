"""A worker makes ready for rules that are about to come into force, and says how far it is behind while some are built.

`ach apply` announces new rules as a change that is pending. A worker reads them aside meanwhile, and says so in its
row, so that the switch costs it no more than to look them up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.broker.errors import BrokerAwayError
from worker.engine.rule_set import RulesRefusedError
from worker.pipeline.rules_in_force import RuleSets, files_of
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.store import Store

LOOK_SECONDS: Final = 0.5

log = structlog.get_logger()


class AtHand(NamedTuple):
    """A change that is not in force yet, or is built."""

    change_id: int
    state: str
    max_lag: int | None
    silent_ms: int
    """Since its process last said that it lives."""


class Standby:
    """What this worker has loaded of changes; `lag` asks the broker how many messages wait."""

    def __init__(self, store: Store, *, lag: Callable[[], Awaitable[int]]) -> None:
        self._store = store
        self._lag = lag
        self.sets = RuleSets()
        self.loaded_change = 0
        """The latest change whose rules are loaded."""
        self.pending: int | None = None
        """Messages that wait; None while no change asks for it."""
        self.building: list[AtHand] = []
        """What is built, as of the last look."""
        self._refused = 0
        self._moved: Callable[[], None] = _nothing

    def on_move(self, moved: Callable[[], None]) -> None:
        """Call `moved` whenever what is said of this worker has changed."""
        self._moved = moved

    async def run(self) -> None:
        """Look until cancelled; a database that is away is asked again."""
        while True:
            try:
                await self.look()
            except (UnavailableError, RefusedError) as error:
                log.debug("no change can be looked for", said=str(error))
            await anyio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look for changes once, and load what is pending.

        Raises:
            UnavailableError: the database is away.
        """
        async with self._store.transaction() as session:
            found = await session.rows(AtHand, "changes_at_hand")
        self.building = [one for one in found if one.state == "building"]
        wanted = any(one.max_lag is not None for one in self.building)
        pending = await self._waiting() if wanted else None
        loaded = await self._load([one.change_id for one in found if one.state == "pending"])
        if pending != self.pending or loaded:
            self.pending = pending
            self._moved()

    async def _waiting(self) -> int | None:
        try:
            return await self._lag()
        except BrokerAwayError as error:
            log.debug("the broker does not say what waits", said=str(error))
            return self.pending

    async def _load(self, changes: list[int]) -> bool:
        """Load the rules of changes that are not loaded yet; return whether there were any."""
        news = [one for one in changes if one > max(self.loaded_change, self._refused)]
        for change_id in news:
            async with self._store.transaction() as session:
                sources = await session.value(str, "pending_sources", change_id=change_id)
            if sources is None:
                continue
            try:
                rules = await self.sets.read(files_of(sources))
            except RulesRefusedError as error:
                self._refused = change_id
                log.warning("this release refuses rules that are about to come into force", said=str(error))
                continue
            self.loaded_change = change_id
            log.info(
                "rules loaded before they are in force", change=change_id, achievements=len(rules.rules.achievements)
            )
        return bool(news)


def _nothing() -> None:
    pass

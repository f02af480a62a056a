"""A worker goes on with a change whose process has died; one that is paused or cancelled it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.admin.backfill import build
from worker.admin.changes import SILENT_SECONDS, builder_name
from worker.admin.lease import BuildEndedError, SupersededError, take
from worker.engine.folding import UnfoldableError
from worker.engine.rule_set import RulesRefusedError
from worker.pipeline.rules_in_force import load_deployed
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.pipeline.standby import Standby
    from worker.settings import Settings
    from worker.store import Store

LOOK_SECONDS: Final = 1.0
REST_SECONDS: Final = 60.0
"""After a build that failed."""

log = structlog.get_logger()


class Successor:
    """Builds what others have left; `granted` is called whenever there may be something to announce."""

    def __init__(
        self, store: Store, settings: Settings, standby: Standby, *, now: Callable[[], int], granted: Callable[[], None]
    ) -> None:
        self._store = store
        self._settings = settings
        self._standby = standby
        self._now = now
        self._granted = granted

    async def run(self) -> None:
        """Look until cancelled; `standby` knows which changes are built."""
        while True:
            for one in self._standby.building:
                if one.silent_ms >= SILENT_SECONDS * 1000:
                    await self._go_on(one.change_id)
            await anyio.sleep(LOOK_SECONDS)

    async def _go_on(self, change_id: int) -> None:
        try:
            rules = await load_deployed(self._store, self._settings, self._standby.sets)
            lease = await take(self._store, change_id, builder_name(), by_operator=False, now=self._now)
            if lease is None:  # another one was faster
                return
            log.info("going on with a change that was left", change=change_id, epoch=rules.epoch)
            report = await build(self._store, self._settings, rules, lease, now=self._now, granted=self._granted)
        except (BuildEndedError, SupersededError) as error:
            log.info("a change is not built any further here", change=change_id, said=str(error))
        except (UnavailableError, RefusedError, RulesRefusedError, UnfoldableError) as error:
            log.warning("a change cannot be built at the moment", change=change_id, said=str(error))
            await anyio.sleep(REST_SECONDS)
        else:
            log.info("change built", change=change_id, subjects=report.subjects)

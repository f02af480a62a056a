"""Whether an endpoint works: since when every attempt has failed, and why it is disabled.

This is kept as metadata of the endpoint's consumer, so that it survives the notifier and goes with the consumer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from dsl.calendar import format_instant
from dsl.payload import instant
from worker.broker.errors import BrokerAwayError
from worker.notify.schedule import MINUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.broker.durable import DurableConsumer
    from worker.notify.stats import EndpointStats

DISABLED: Final = "ach-disabled"
"""Key of the metadata: when and why."""
FAILING: Final = "ach-failing-since"
KEPT_AFTER: Final = MINUTE
"""Failures of a shorter time are not kept: each change is a write of the broker's."""

log = structlog.get_logger()


class Health:
    """The state of one endpoint; instants are milliseconds since the epoch."""

    def __init__(self, endpoint: str, consumer: DurableConsumer, stats: EndpointStats) -> None:
        self._endpoint = endpoint
        self._consumer = consumer
        self._stats = stats
        self._kept = False
        """Whether the broker knows that it fails."""

    @property
    def disabled(self) -> bool:
        """Whether the endpoint gets nothing."""
        return self._stats.disabled

    def learn(self, metadata: Mapping[str, str]) -> None:
        """Take over what the consumer's metadata say."""
        disabled = DISABLED in metadata
        if disabled != self._stats.disabled:
            say = log.warning if disabled else log.info
            say("endpoint is disabled" if disabled else "endpoint is enabled", endpoint=self._endpoint)
        if self._stats.disabled and not disabled:
            self._stats.failing_since = None
        self._stats.disabled = disabled
        self._kept = FAILING in metadata
        moment = instant(metadata.get(FAILING, ""))
        if moment is not None:
            self._stats.failing_since = moment[0] // 1000

    async def succeeded(self) -> None:
        """Note that an attempt has succeeded."""
        if self._stats.failing_since is None:
            return
        log.info("endpoint works again", endpoint=self._endpoint)
        self._stats.failing_since = None
        if self._kept:
            self._kept = not await self._remember({FAILING: ""})

    def failed(self, now: int, *, said: str) -> int:
        """Note that an attempt has failed; return for how long every one has."""
        if self._stats.failing_since is None:
            self._stats.failing_since = now
            log.warning("endpoint fails", endpoint=self._endpoint, said=said)
        return now - self._stats.failing_since

    async def keep(self, now: int) -> None:
        """Let the broker know since when it fails, once that is worth a write."""
        since = self._stats.failing_since
        if since is not None and not self._kept and now - since >= KEPT_AFTER:
            self._kept = await self._remember({FAILING: format_instant(since * 1000)})

    async def disable(self, why: str, now: int) -> None:
        """Stop all deliveries until an operator enables the endpoint again."""
        self._stats.disabled = True
        hint = f"when the receiver is in order: ach notify enable {self._endpoint}"
        log.error("endpoint is disabled", endpoint=self._endpoint, said=why, hint=hint)
        await self._remember({DISABLED: f"{format_instant(now * 1000)} {why}"})

    async def _remember(self, changes: Mapping[str, str]) -> bool:
        try:
            await self._consumer.remember(changes)
        except BrokerAwayError as error:
            log.warning("state of endpoint is not kept", endpoint=self._endpoint, said=str(error))
            return False
        return True

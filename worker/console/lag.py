"""How many messages are not done: asked of the broker every few seconds, while anyone looks."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio

from worker.broker.api import ApiError
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, BrokerMismatchError
from worker.broker.once import connected_once
from worker.broker.provision import consumer_info

if TYPE_CHECKING:
    from worker.settings import Settings

EVERY_SECONDS: Final = 5.0
FOR_SECONDS: Final = 30.0
"""How long it goes on after the last viewer."""
ANSWER_SECONDS: Final = 3


class Lag:
    """Keeps what the broker said last; None where it does not say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._said: int | None = None
        self._asked_at = float("-inf")
        self._wanted = anyio.Event()

    def latest(self) -> int | None:
        """Return what is known, and ask again soon."""
        self._asked_at = monotonic()
        self._wanted.set()
        return self._said

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self._wanted.wait()
            if monotonic() - self._asked_at > FOR_SECONDS:
                self._wanted = anyio.Event()
                self._said = None
                continue
            self._said = await self._ask()
            await anyio.sleep(EVERY_SECONDS)

    async def _ask(self) -> int | None:
        with suppress(BrokerAwayError, BrokerMismatchError, ApiError, *OUT_OF_REACH):
            async with connected_once(self._settings, seconds=ANSWER_SECONDS) as client:
                info = await consumer_info(client, self._settings)
                return info.num_pending + info.num_ack_pending
        return None

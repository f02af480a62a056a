"""What the probes of a worker answer from its first second: a phase while it starts, and then the worker's own word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.probes.http import Probes
from worker.probes.readiness import listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.probes.families import Scrape

STARTING: Final = "starting"
MIGRATING: Final = "migrating"
LOADING_RULES: Final = "loading rules"
STOPPING: Final = "stopping"


class Front:
    """Answers for a worker that is not there yet: it is alive, and the phase is why it is not ready.

    To wait for a server is no reason to be restarted. `metrics` answers a scrape before the worker is there.
    """

    def __init__(self, metrics: Callable[[str], Scrape]) -> None:
        self.phase = STARTING
        """Why it is not ready, "" once that is the worker's to say."""
        self._worker = Probes(stuck=str, ready=self._nothing_else, metrics=metrics)

    def wait_for(self, server: str) -> None:
        """Begin the phase of waiting for a server."""
        self.phase = listed([server])

    def hand_over(self, probes: Probes) -> None:
        """Let the worker answer from now on; its phase is over."""
        self._worker, self.phase = probes, ""

    @property
    def probes(self) -> Probes:
        """What is served, before the worker is there and after."""
        return Probes(stuck=self._stuck, ready=self._ready, metrics=self._metrics)

    def _stuck(self) -> str:
        return self._worker.stuck()

    def _metrics(self, accept: str) -> Scrape:
        return self._worker.metrics(accept)

    async def _ready(self) -> str:
        return self.phase or await self._worker.ready()

    async def _nothing_else(self) -> str:
        return ""

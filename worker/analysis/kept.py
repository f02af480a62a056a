"""Answers for the console: kept while the mirror has no new run, made one at a time, bounded in memory and time."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio import to_thread

from worker.analysis.answers import Asked, SlowError, ask, manifest_of
from worker.analysis.page import Part, parts
from worker.analysis.questions import BY_NAME
from worker.mirror.duck import Bounds, DuckError
from worker.mirror.manifest import ManifestError
from worker.mirror.stores import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from worker.mirror.copied import Copied

SHOWN: Final = tuple(BY_NAME[name] for name in ("funnel", "retention", "rarity"))
BOUNDS: Final = Bounds("256MB", 1)
SECONDS: Final = 20
"""For each of these."""
MOST_KEPT: Final = 50
MOST_WAITING: Final = 20
BUSY: Final = "Many ask for this at the same time: load the page again in a while."
NOTHING: Final = "There is no mirror that can answer about what you may see."

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Cohorts(NamedTuple):
    """What there is to show: parts of a run with its moment (microseconds), or `trouble`, which says why not."""

    run: int
    made: int
    parts: list[Part]
    trouble: str


class Keeper:
    """Answers of one mirror, by the tenants that a person may see."""

    def __init__(self, mirror: Path | Copied) -> None:
        self._mirror = mirror
        self._known: OrderedDict[tuple[str, ...] | None, Cohorts] = OrderedDict()
        self._lock = anyio.Lock()

    async def of(self, tenants: frozenset[str] | None) -> Cohorts:
        """Return the answers about some tenants (None: all), of the latest run."""
        key = None if tenants is None else tuple(sorted(tenants))
        if self._lock.statistics().tasks_waiting >= MOST_WAITING:
            return _nothing(BUSY)
        async with self._lock:
            try:
                run = (await to_thread.run_sync(manifest_of, self._mirror, key)).run
                found = self._known.get(key)
                if found is None or found.run != run:
                    found = await to_thread.run_sync(self._made, key)
            except (ManifestError, DuckError, SlowError, StoreError, OSError) as error:
                # What is said of a mirror may name other tenants, and where it lies.
                return _nothing(NOTHING if key is not None else str(error))
            self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > MOST_KEPT:
                self._known.popitem(last=False)
            return found

    def _made(self, tenants: tuple[str, ...] | None) -> Cohorts:
        answers = ask(self._mirror, SHOWN, Asked(tenants), BOUNDS, seconds=SECONDS)
        made = datetime.fromisoformat(answers.age.at) - _EPOCH
        return Cohorts(answers.age.run, made // timedelta(microseconds=1), parts(answers), "")


def _nothing(trouble: str) -> Cohorts:
    return Cohorts(0, 0, [], trouble)

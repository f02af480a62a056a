"""What became of one batch, counted over its parts: for a line of the log, and for a span. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from worker.engine.decide import Writes


class Tally(msgspec.Struct):
    """Counts of committed parts; the same words as in `Stats`."""

    events: int = 0
    duplicates: int = 0
    late: int = 0
    erased: int = 0
    dead: int = 0
    grants: int = 0
    fast: int = 0
    """Parts that took the fast path."""
    long: int = 0
    """Parts that took the long way."""
    retries: int = 0

    def count(self, writes: Writes, *, fast: bool) -> None:
        """Count a part that is committed."""
        arrivals = writes.arrivals
        self.events += arrivals.new
        self.duplicates += arrivals.duplicates
        self.late += writes.late
        self.erased += arrivals.erased
        self.dead += len(arrivals.letters)
        self.grants += sum([decision.kind == "granted" for decision in writes.decisions])
        self.fast += fast
        self.long += not fast

    def add(self, other: Tally) -> None:
        """Add the counts of another."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def way(self) -> str:
        """Which way its parts took: `fast`, `long`, or `both`."""
        return "both" if self.fast and self.long else "long" if self.long else "fast"

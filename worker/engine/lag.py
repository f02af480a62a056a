"""How far a replica may be behind, by looks at it. Pure.

A replica says up to where it has received the log, and up to where it has replayed it. Once it has replayed what it had
received at an earlier look, it is true as of that look. Idle primaries send nothing, so by the time of the last commit
an idle replica would be old: that counts where nothing better is known.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

MOST_PENDING: Final = 600
"""Looks that are remembered while replay stands still; the others are passed over."""


class Position(NamedTuple):
    """One look at a database."""

    replica: bool
    following: bool
    """Whether the primary is connected, so that what there is is received at once."""
    received: int | None
    replayed: int | None
    """Places in the log; None where there are none."""
    since_commit: float | None
    """Seconds since the commit that was replayed last, by the primary's clock; None where there was none."""


class Lag:
    """How old what a database says may be, by looks that come in order. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self._true_at: float | None = None
        self._pending: deque[tuple[float, int]] = deque()

    def see(self, look: Position, at: float) -> None:
        """Take a look into account."""
        if not look.replica:
            self._pending.clear()
            self._true_at = at
            return
        if self._true_at is None:  # nothing is known: at least since now
            self._true_at = at if look.since_commit is None else at - max(look.since_commit, 0)
        if look.following and look.received is not None and len(self._pending) < MOST_PENDING:
            self._pending.append((at, look.received))
        while self._pending and self._pending[0][1] <= (look.replayed or 0):
            self._true_at = max(self._true_at, self._pending.popleft()[0])
        if look.since_commit is not None:
            self._true_at = max(self._true_at, at - max(look.since_commit, 0))

    def seconds(self, now: float) -> float:
        """Return how many seconds ago the database was known to be up to date; 0 before the first look."""
        return 0.0 if self._true_at is None else max(now - self._true_at, 0.0)

"""Up to which number everything is there that ever will be, while transactions that have numbers are under way. Pure.

Decisions are numbered by a sequence, inside of transactions. A number is given after its transaction has begun to
write, so all transactions that hold a number up to the last visible one have ids below `next_xid`, as long as that is
read no earlier than the number. Once all ids below it have ended, no number up to there comes any more.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

_XIDS: Final = 2**32
MOST_PENDING: Final = 64
"""Looks that are remembered while a transaction takes long; the others are passed over."""


class Look(NamedTuple):
    """One look at a database: the last number that is visible, and the transactions of that snapshot.

    `next_xid` is modulo 2^32; `xmin` and `xmax` count on.
    """

    last: int
    next_xid: int
    xmin: int
    xmax: int


class Horizon:
    """The highest number that is safe to read up to, by looks that come in order."""

    def __init__(self) -> None:
        self.safe = 0
        self._pending: deque[tuple[int, int]] = deque()

    def see(self, look: Look) -> int:
        """Take a look into account; return the highest number up to which nothing is missing."""
        # Behind xmax, which is one past the latest that has ended; both are never 2^31 apart.
        ends = look.xmax + (look.next_xid - look.xmax) % _XIDS
        newest = self._pending[-1][0] if self._pending else self.safe
        if look.last > newest and len(self._pending) < MOST_PENDING:
            self._pending.append((look.last, ends))
        while self._pending and self._pending[0][1] <= look.xmin:
            self.safe = max(self.safe, self._pending.popleft()[0])
        return self.safe

"""Which rows a run takes: those of transactions from the bound before up to its own. Pure.

`age` counts transactions back from a moment of the run, in 32 bits. So a window is two ages. Where the bound before is
out of the reach of an age, or there is none, the window is whole: it takes everything, and what is there already is
left out by its key, as always.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_XIDS: Final = 2**32
_REACH: Final = 2**31 - 1


class Look(NamedTuple):
    """One look at the database; `bound` is a whole number of a transaction, `next_xid` is modulo 2^32."""

    bound: int
    next_xid: int
    database: str
    now: int


class Window(NamedTuple):
    """Ages of transactions: above `after`, up to `upto`; or all above `after` where it is `whole`."""

    after: int
    upto: int
    whole: bool


def window(look: Look, before: int) -> Window:
    """Return the window from the bound of the run before, 0 where there is none."""
    now = look.bound + (look.next_xid - look.bound) % _XIDS
    after, upto = now - look.bound, now - before
    if not before or upto >= _REACH:
        return Window(after, _REACH, whole=True)
    return Window(after, upto, whole=False)

"""How long to wait before the next attempt. Pure but for the dice."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST: Final = 0.05
"""Seconds before the second attempt."""
LONGEST: Final = 5.0
"""Seconds between attempts at the most."""
PATIENCE_SECONDS: Final = 15.0
"""How long a command that does one thing waits for a server that is down."""

_dice = SystemRandom()


def delays(
    *, first: float = FIRST, longest: float = LONGEST, dice: Callable[[], float] = _dice.random
) -> Iterator[float]:
    """Yield seconds to wait after each failed attempt, for ever: doubled each time, and spread by half.

    Workers that lost the same server should not all come back in the same instant.
    """
    bound = first
    while True:
        yield bound * (0.5 + dice() / 2)
        bound = min(bound * 2, longest)

"""The first process of a container, which has nothing above it that would end it or collect its children."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from types import FrameType

FIRST: Final = 1
STOPPED: Final = 128 + signal.SIGTERM
"""The exit code that a shell reports of a process which SIGTERM has ended."""


def end_on_sigterm() -> None:
    """Let SIGTERM end the first process of a container too, as it ends every other process.

    The kernel gives the first process only signals that it has a handler for. A worker has one while it works. Without
    this, a stop during its start, or of a command that ends by itself, would wait for the whole grace period.
    """
    if os.getpid() == FIRST:
        signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(STOPPED)

"""The priority of a process that works in the background of others on its machine."""

from __future__ import annotations

import os
from typing import Final

LOWEST: Final = 19


def step_back(nice: int) -> int:
    """Give the process at least this niceness, from 0 to LOWEST; return the one that it has.

    One that was started with less priority keeps that. To be called before there are threads: on Linux each has a
    priority of its own, which the threads that it starts inherit.
    """
    return os.nice(max(0, nice - os.nice(0)))

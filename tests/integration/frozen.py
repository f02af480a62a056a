"""Servers that stand still, and keep their connections."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def frozen(*pids: int) -> AsyncGenerator[None]:
    """Freeze servers and all that they have started, for the length of a block."""
    group = [one for pid in pids for one in _with_children(pid)]
    for one in group:
        os.kill(one, signal.SIGSTOP)
    try:
        with anyio.fail_after(10):
            while not all(map(_is_stopped, group)):  # noqa: ASYNC110 - a thread may be on a processor still
                await anyio.sleep(0.001)
        yield
    finally:
        for one in reversed(group):
            os.kill(one, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    states = [
        task.read_text("ascii").rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    # One that has ended meanwhile stays until its parent goes on.
    return set(states) <= {"T", "Z"}


def _with_children(pid: int) -> list[int]:
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())
    return [pid, *(one for child in children for one in _with_children(child))]

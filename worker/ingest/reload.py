"""Files that are read again when they change, or when SIGHUP asks for it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOOK_SECONDS: Final = 1.0
"""Between two looks at the files."""


class Bell:
    """Calls for a look at once; every waiting one hears it."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Call."""
        self._rung.set()
        self._rung = anyio.Event()

    async def wait(self, seconds: float) -> bool:
        """Wait for a call, for so many seconds at most; tell whether there was one."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
            return True
        return False


async def ring_on_hangup(bell: Bell) -> None:
    """Ring on each SIGHUP, until cancelled; without this, one would end the process."""
    with anyio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            bell.ring()


async def follow(paths: Sequence[Path], bell: Bell, read: Callable[[], None]) -> None:
    """Call `read` whenever one of some files or folders has changed, and when the bell rings."""
    seen = await _states(paths)
    while True:
        rung = await bell.wait(LOOK_SECONDS)
        states = await _states(paths)
        if rung or states != seen:
            seen = states
            read()


async def _states(paths: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    return [await _state(anyio.Path(path)) for path in paths]


async def _state(path: anyio.Path) -> tuple[int, int, int] | None:
    try:
        found = await path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

"""What a command takes, in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from subprocess import PIPE, Popen
from threading import Event, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.processes import high_water

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

ACH: Final = Path(sys.executable).with_name("ach")
_LOOK_SECONDS: Final = 0.02


class Measured(NamedTuple):
    """Seconds of the clock and of cores, bytes of memory at the most (of its largest process), and what it printed."""

    seconds: float
    cpu: float
    peak: int
    printed: bytes


def measure(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, codes: Collection[int] = (0,)
) -> Measured:
    """Run a command to its end, and measure it with the processes that it has started.

    Raises:
        RuntimeError: it ended with none of `codes`.
    """
    began = perf_counter()
    with Popen([*map(str, command)], stdout=PIPE, env=environment) as process:
        if process.stdout is None:
            raise AssertionError(command)
        memory = _Memory(process.pid)
        memory.start()
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        memory.end()
    if process.returncode not in codes:
        raise RuntimeError(command)
    # The kernel counts to a process the memory of the one that has started it.
    known = usage.ru_maxrss > getrusage(RUSAGE_SELF).ru_maxrss
    peak = usage.ru_maxrss * 1024 if known else memory.peak
    return Measured(perf_counter() - began, usage.ru_utime + usage.ru_stime, peak, printed)


class _Memory(Thread):
    """Looks at the peak of a process, once it runs its program, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._over = Event()
        self.peak = 0
        """Bytes."""

    def run(self) -> None:
        """Look again and again."""
        while not self._over.wait(_LOOK_SECONDS):
            self.peak = max(self.peak, high_water(self._pid))

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

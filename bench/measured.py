"""What a command takes, in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

ACH: Final = Path(sys.executable).with_name("ach")


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
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise RuntimeError(command)
    return Measured(perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, printed)

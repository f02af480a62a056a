"""Processes, and what the kernel tells of them: CPU seconds and peak memory, from /proc. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT: Final = Path(__file__).parent.parent
_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT: Final = 1
_UTIME: Final = 11
"""Places in /proc/PID/stat behind the name; from here user and system time, then the same of children that ended."""


class BenchError(Exception):
    """A run cannot be made, or what came of it cannot be used; the message says why."""


class Peer:
    """A process that is measured; what it writes goes to a log. Its own children count as it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**_inherited(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # Ctrl-C in the terminal reaches the benchmark alone, which ends its processes.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Make sure that it has not failed.

        Raises:
            BenchError: it has; the end of its log is quoted.
        """
        if self.code:
            log = self.log()
            last = log.strip().rpartition("\n")[2]
            raise BenchError(f"it ended with {self.code}: {last}\n{log}")

    def log(self) -> str:
        """Return the end of what it has written."""
        return self._log.read_text(errors="replace")[-2000:]

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to it and its children, and wait until it is gone; harmless when it is."""
        if self._process.poll() is None:
            os.killpg(self.pid, how)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()


def _inherited() -> dict[str, str]:
    # No settings of the shell's may change what is measured, its own or a library's.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module under this Python."""
    return (sys.executable, "-m", module, *arguments)


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU that processes have used with all their descendants, those that have ended included."""
    return sum(_stat(pid, _UTIME, 4) for pid in family(roots)) / _TICKS


def peak_bytes(roots: Iterable[int]) -> int:
    """Return the most memory that processes and their living descendants have had resident, each by itself."""
    return sum(high_water(pid) for pid in family(roots))


def family(roots: Iterable[int]) -> list[int]:
    """Return processes and all their living descendants."""
    parents = {int(entry.name): _stat(int(entry.name), _PARENT, 1) for entry in _PROC.iterdir() if entry.name.isdigit()}
    found = list(roots)
    for pid in found:  # grows while it is gone through
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _stat(pid: int, start: int, number: int) -> int:
    """Return the sum of some numbers of /proc/PID/stat, 0 where the process is gone."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[start : start + number]))


def high_water(pid: int) -> int:
    """Return the most memory in bytes that a process has had resident; 0 where it is gone."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)

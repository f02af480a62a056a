"""Locks in a data folder: who uses it, and which of its servers run.

A lock is an open file with `flock` on it. It ends with the last process that has the file open, so it is never stale.
A pid file is: its process may be dead, or its number may belong to another program by now.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path


class EmbeddedError(Exception):
    """The servers cannot be started here; the hint says what to do about it."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}\n  hint: {hint}" if hint else problem)
        self.problem: Final = problem
        self.hint: Final = hint


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that a lock file names."""

    pid: int
    """0 between taking the lock and signing it."""
    detached: bool
    """Whether it was meant to outlive the process that started it."""


class Lock:
    """A file and the lock on it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """Take the lock; return False if another process holds it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def fileno(self) -> int:
        """Return the descriptor, for a child process that is to hold the lock as well."""
        return self._fd

    def sign(self, pid: int, *, detached: bool = False) -> None:
        """Write the holder into the file."""
        os.pwrite(self._fd, f"{pid:<10} {'detached' if detached else 'owned':<8}\n".encode(), 0)

    def holder(self) -> Holder:
        """Return the holder that the file names."""
        words = os.pread(self._fd, 64, 0).decode().split()
        return Holder(int(words[0]), words[1] == "detached") if words else Holder(0, detached=False)

    def close(self) -> None:
        """Close the file; the lock ends unless a child process has it open."""
        os.close(self._fd)


class FolderLock:
    """The claim of this process on a data folder.

    Raises:
        EmbeddedError: another process uses the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = Lock(folder / "owner.lock")
        if not self._lock.take():
            pid = self._lock.holder().pid
            self._lock.close()
            raise EmbeddedError(
                f"{folder} is in use by process {pid}", "stop that one, or choose another data folder with --data"
            )
        self._lock.sign(os.getpid())

    def close(self) -> None:
        """Give the folder up."""
        self._lock.close()


def writable(data_dir: Path) -> Path:
    """Return the data folder as an absolute path, made if it is missing.

    Raises:
        EmbeddedError: it cannot be written to.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        kept = (data_dir / name for name in ("nats", "postgres"))
        for path in (data_dir, *data_dir.glob("*.lock"), *data_dir.glob("*.log"), *kept):
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(f"{path} belongs to another user")
    except OSError as error:
        raise EmbeddedError(
            f"cannot write to the data folder {data_dir}: {error}", "choose another data folder with --data"
        ) from error
    return data_dir.resolve()

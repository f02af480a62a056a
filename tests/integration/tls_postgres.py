"""Debian's PostgreSQL with a certificate and passwords, for tests: the one of the wheel knows no TLS."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.integration.engine import PATIENCE
from worker.local.postgres import UNPRIVILEGED
from worker.local.process_tree import ENVIRONMENT, free_port

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.integration.identities import Pair

USER: Final = "ach_worker_1"


class TlsPostgres(NamedTuple):
    """A running server that takes TLS alone, and SCRAM."""

    port: int
    password: str

    def url(self, host: str, *, password: str | None = None, **parameters: str) -> str:
        """Return a URL by a name of this machine."""
        given = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{USER}:{password or self.password}@{host}:{self.port}/postgres?{given}"


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda one: int(one.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL with TLS here: apt install postgresql")
    return found[-1].parent


@contextmanager
def tls_postgres(pair: Pair, password: str) -> Generator[TlsPostgres]:
    """Run a server with a certificate for the length of a block. Its one user owns everything."""
    binaries, port = _binaries(), free_port()
    account = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="ach-tls-", dir="/tmp"))  # where another account may walk

    def give(path: Path) -> Path:
        if account is not None:
            os.chown(path, account.pw_uid, account.pw_gid)
        return path

    def run(program: str, *args: str) -> int:
        return subprocess.run(
            [str(binaries / program), *args],
            check=False,
            # A server that starts would keep a pipe open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=ENVIRONMENT,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        ).returncode

    give(folder)
    secret, cluster, log = give(_written(folder / "password", password)), folder / "data", folder / "log"
    made = (f"--pgdata={cluster}", f"--username={USER}", f"--pwfile={secret}", "--no-sync", "--locale=C")
    assert run("initdb", *made, "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8") == 0
    give(_written(cluster / "server.crt", pair.cert.read_text()))
    give(_written(cluster / "server.key", pair.key.read_text()))
    give(_written(cluster / "pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n"))
    options = f"-c ssl=on -c fsync=off -c listen_addresses=127.0.0.1 -c unix_socket_directories= -p {port}"
    control = ("-D", str(cluster), "-w", "-t", f"{PATIENCE:.0f}", "-l", str(log))
    try:
        assert run("pg_ctl", *control, "-o", options, "start") == 0, log.read_text()
        yield TlsPostgres(port, password)
    finally:
        run("pg_ctl", *control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path

"""PgBouncer in front of the servers of tests: Debian's, in transaction mode, with few sessions for many clients.

This machine's, and that of Debian 13, which keeps named statements for its clients as 1.21 and later do.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import pytest

from tests.integration.engine import PATIENCE
from tests.kit.debian import need, program
from worker.local.postgres import UNPRIVILEGED
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.local.servers import Servers

PGBOUNCER: Final = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
SESSIONS: Final = 3
"""Of the server, for all clients of one database: fewer than a worker has connections."""


def here() -> list[str | Path]:
    """Return the command of this machine's."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer here: apt install pgbouncer")
    return [PGBOUNCER]


def newer() -> list[str | Path]:
    """Return the command of Debian 13's."""
    need("debootstrap")
    return program("pgbouncer")


class Pooler:
    """A running pooler."""

    def __init__(self, port: int, command: list[str | Path]) -> None:
        self.port = port
        self.command = command

    def url_of(self, direct: str) -> str:
        """Return the URL of a database through the pooler."""
        return f"postgresql://ach@127.0.0.1:{self.port}{urlsplit(direct).path}"


@asynccontextmanager
async def pgbouncer(servers: Servers, command: list[str | Path], more: str = "") -> AsyncGenerator[Pooler]:
    """Run PgBouncer for the length of a block; `more` goes into its configuration."""
    server, port = urlsplit(servers.database_tcp_url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="ach-pgbouncer-", dir="/tmp"))  # where another account may walk
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""
        [databases]
        * = host={server.hostname} port={server.port} user={server.username} password={server.password}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        pool_mode = transaction
        default_pool_size = {SESSIONS}
        max_client_conn = 500
        {more}
        """.replace("\n        ", "\n")
    )
    as_account: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root, and leaves it once it is loaded
        as_account = ["-u", UNPRIVILEGED]
        account = pwd.getpwnam(UNPRIVILEGED)
        for path in (folder, settings):
            os.chown(path, account.pw_uid, account.pw_gid)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *as_account, settings], stdout=log, stderr=log)  # noqa: ASYNC220 - it runs beside the test
    try:
        with anyio.fail_after(PATIENCE):
            while not _listens(port):
                assert process.poll() is None, (folder / "log").read_text()
                await anyio.sleep(0.02)
        yield Pooler(port, command)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

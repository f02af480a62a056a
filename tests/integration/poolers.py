"""PgBouncer in front of the servers of tests: Debian's, in transaction mode, with few sessions for many clients."""

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
from worker.local.postgres import UNPRIVILEGED
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.local.servers import Servers

PGBOUNCER: Final = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
SESSIONS: Final = 3
"""Of the server, for all clients of one database: fewer than a worker has connections."""


class Pooler:
    """A running pooler."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url_of(self, direct: str) -> str:
        """Return the URL of a database through the pooler."""
        return f"postgresql://ach@127.0.0.1:{self.port}{urlsplit(direct).path}"


@asynccontextmanager
async def pgbouncer(servers: Servers, more: str = "") -> AsyncGenerator[Pooler]:
    """Run PgBouncer for the length of a block; `more` goes into its configuration."""
    if PGBOUNCER is None:
        pytest.skip("no pgbouncer here: apt install pgbouncer")
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
    # It refuses to run as root.
    account = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
    if account is not None:
        for path in (folder, settings):
            os.chown(path, account.pw_uid, account.pw_gid)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it runs beside the test
            [PGBOUNCER, str(settings)],
            stdout=log,
            stderr=log,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    try:
        with anyio.fail_after(PATIENCE):
            while not _listens(port):
                assert process.poll() is None, (folder / "log").read_text()
                await anyio.sleep(0.02)
        yield Pooler(port)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0

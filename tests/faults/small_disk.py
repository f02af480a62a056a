"""A disk that is soon full, for a database or for files."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from pathlib import Path
from pwd import getpwnam
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final

import anyio
import asyncpg
import pytest

from worker.local.postgres import UNPRIVILEGED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.local.servers import Servers

FULL: Final = "No space left on device"
"""What is quoted of a database whose disk is full."""


@asynccontextmanager
async def small_disk(
    servers: Servers, template: str = "template1", megabytes: int = 64
) -> AsyncGenerator[tuple[Path, str]]:
    """Give a database, copied from another one, whose tables lie on a small disk, and that disk."""
    # PostgreSQL's own user has to reach it, which may not enter the folders of a test.
    disk = Path(mkdtemp(prefix="ach-disk-", dir="/tmp"))
    account = getpwnam(UNPRIVILEGED)
    size = f"size={megabytes}m,mode=700,uid={account.pw_uid},gid={account.pw_gid}"
    mounted = await anyio.run_process(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        disk.rmdir()
        pytest.skip(f"no small disk here: {mounted.stderr.decode().strip()}")
    try:
        disk.chmod(0o700)
        connection = await asyncpg.connect(servers.database_url)
        try:
            await connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            await connection.execute(f"CREATE DATABASE small TEMPLATE {template} TABLESPACE small STRATEGY file_copy")
            yield disk, servers.url_of("small")
            await connection.execute("DROP DATABASE small WITH (FORCE)")
            await connection.execute("DROP TABLESPACE small")
        finally:
            await connection.close()
    finally:
        await anyio.run_process(["umount", "--lazy", str(disk)], check=False)
        disk.rmdir()


def fill(disk: Path) -> Path:
    """Leave no byte free; return the file that takes them."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(65536))
            file.flush()
    return ballast

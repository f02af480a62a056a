"""A run of the mirror, for the commands that do one. Without DuckDB, importing this ends the command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from worker.commands.servers import CommandError, with_store
from worker.distribution import install
from worker.report import screen

try:
    from worker.mirror.ddl import Dialect, statements
    from worker.mirror.duck import Bounds, DuckError
    from worker.mirror.folder import BusyError, DiskError
    from worker.mirror.layout import PROGRESS_DAILY
    from worker.mirror.manifest import ManifestError
    from worker.mirror.once import Ran, Wanted, mirror_once
    from worker.mirror.stores import StoreError
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] != "duckdb":
        raise
    screen.fail(f"`ach mirror` needs {missing.name}, which is not installed", install("analytics"))
    sys.exit(1)

if TYPE_CHECKING:
    from worker.mirror.objects import Objects
    from worker.settings import Settings
    from worker.store import Store

__all__ = [
    "PROGRESS_DAILY",
    "AwayError",
    "Bounds",
    "Dialect",
    "Wanted",
    "keep_mirror",
    "make_private",
    "print_ran",
    "run_once",
    "statements",
]


class AwayError(CommandError):
    """The store of a bucket is away; the next run may find it there."""


async def keep_mirror(settings: Settings, place: Path | Objects, *, quiet: bool) -> None:
    """Bring a mirror of all tenants up to date, for another command; say what it has done, unless `quiet`."""
    make_private()
    started = monotonic()
    wanted = Wanted(place)
    ran = await run_once(settings, wanted)
    if not quiet:
        print_ran(ran, wanted, monotonic() - started)


def make_private() -> None:
    """Keep what is written from here on as private as the books."""
    os.umask(0o077)


async def run_once(settings: Settings, wanted: Wanted) -> Ran:
    """Bring a mirror up to date.

    Raises:
        AwayError: its store is away.
        CommandError: it cannot be written; it is as it was.
        UnavailableError: the database is away; the mirror is as it was.
    """

    async def work(store: Store) -> Ran:
        return await mirror_once(store, settings, wanted)

    try:
        return await with_store(settings, work)
    except BusyError as error:
        raise CommandError(str(error), "wait for it, or name another place") from error
    except ManifestError as error:
        raise CommandError(str(error)) from error
    except DuckError as error:
        raise CommandError(f"{wanted.place}: {error}", _hint(error)) from error
    except StoreError as error:
        kind = AwayError if error.away else CommandError
        raise kind(str(error), error.hint) from error
    except DiskError as error:
        raise CommandError(str(error), "is there room, and may it be written? the mirror is as it was") from error


def _hint(error: DuckError) -> str | None:
    if error.full:
        return "make room on that disk, and run it again: the mirror is as it was"
    return "give it more with --memory" if error.memory or error.too_long else None


def print_ran(ran: Ran, wanted: Wanted, seconds: float) -> None:
    """Print what a run has done."""
    out = screen.out()
    rows = ", ".join(f"{name} {number:+,}" for name, number in ran.rows.items() if number)
    out.say(f"{ran.manifest.at[:19]}Z run {ran.manifest.run}: {rows or 'nothing new'} ({seconds:.1f} s)")
    if ran.erased:
        out.say(f"  erased users: {ran.erased:,}; their rows are gone from all files")
        if not isinstance(wanted.place, Path) and wanted.place.versioned:
            out.say("  the bucket keeps old versions of objects, which hold these rows until they are deleted, too")
    if ran.stale:
        out.say(f"  {ran.stale:,} subjects are not up to date with the rules in force: run `ach backfill`")
    if ran.manifest.run == 1:
        out.say(f"  {wanted.place}/manifest.json names the files; docs/mirror.md says how to load them")

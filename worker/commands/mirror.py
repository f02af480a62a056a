"""`ach mirror`: the books as Parquet files."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import click

from worker.commands.options import memory_of, seconds_of
from worker.commands.servers import CommandError, on_servers, with_store
from worker.distribution import install
from worker.process.priority import step_back
from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.settings import shown
from worker.store import UnavailableError, UnusableError

try:
    from worker.mirror.ddl import Dialect, statements
    from worker.mirror.duck import Bounds, DuckError
    from worker.mirror.folder import BusyError, DiskError
    from worker.mirror.layout import PROGRESS_DAILY
    from worker.mirror.manifest import ManifestError
    from worker.mirror.once import Ran, Wanted, mirror_once
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] != "duckdb":
        raise
    screen.fail(f"`ach mirror` needs {missing.name}, which is not installed", install("analytics"))
    sys.exit(1)

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.store import Store

NICE: Final = 15
"""How far the process steps back where others want the processor."""
SHARE: Final = 3
"""Percent of the time that runs take: a busy worker beside them keeps 0.97 of its rate (`just mirror-bench`)."""


@click.group("mirror", invoke_without_command=True)
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where to.")
@click.option("--every", metavar="SPAN", help="Go on, with a run each SPAN, such as 1m; else there is one.")
@click.option(
    "--share",
    default=SHARE,
    show_default=True,
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    help="With --every: how much of the time runs may take; else they come later.",
)
@click.option("--tenant", "-t", metavar="TENANT", help="Of one tenant alone.")
@click.option("--json", "as_json", is_flag=True, help="Print each run as one line of JSON.")
@click.option("--memory", default="512MB", show_default=True, metavar="SIZE", help="What DuckDB may take.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 64), help="What DuckDB may run.")
@click.pass_context
def command(  # noqa: PLR0913 - its options
    context: click.Context,
    *,
    folder: Path | None,
    every: str | None,
    share: int,
    tenant: str | None,
    as_json: bool,
    memory: str,
    threads: int,
) -> None:
    """Keep a copy of the books as Parquet files, for warehouses and for `ach analyze` (docs/mirror.md)."""
    if context.invoked_subcommand is not None:
        return
    if folder is None:
        raise click.UsageError("where to? name a folder: --to DIR")
    seconds = None if every is None else seconds_of("--every", every)
    wanted = Wanted(folder, tenant, Bounds(memory_of(memory), threads))
    # What it writes is as private as the books, and workers come first: PostgreSQL sends no faster than is read here.
    os.umask(0o077)
    step_back(NICE)
    on_servers(partial(_mirror, wanted=wanted, seconds=seconds, share=share, as_json=as_json))


@command.command("ddl")
@click.option("--dialect", required=True, type=click.Choice([one.value for one in Dialect]), help="The warehouse.")
def ddl(dialect: str) -> None:
    """Print the tables and views of a warehouse, and how to load the files into them."""
    screen.hand_on(statements(Dialect(dialect)))


async def _mirror(settings: Settings, wanted: Wanted, seconds: int | None, share: int, *, as_json: bool) -> None:
    async with stop_on_signals() as stop:
        later = False
        while not stop.is_set():
            started, wait = monotonic(), float(seconds or 0)
            try:
                ran = await _once(settings, wanted)
                took = monotonic() - started
                if as_json:
                    screen.say_json(_as_json(ran, took))
                else:
                    _print(ran, wanted, took)
                wait = pause(wait, took, 100 if is_large(ran) else share)
            except UnavailableError as error:
                if seconds is None or isinstance(error, UnusableError):
                    raise
                server = shown(settings.database_url)
                screen.fail(f"PostgreSQL at {server}: {error}", "the next run tries again; the mirror is as it was")
            if seconds is None:
                return
            if not as_json and not later and wait > seconds:
                later = True
                screen.out().say(f"  the next run comes in {wait:.0f} s: runs may take {share} % of the time (--share)")
            with anyio.move_on_after(wait):
                await stop.wait()


def pause(every: float, took: float, share: int) -> float:
    """Return the seconds from the end of a run to the next one; `share` is the percent of time that runs may take.

    Each run reads the tables from end to end, which costs the database and so the worker beside it.
    """
    return max(0.0, every - took, took * (100 - share) / share)


def is_large(ran: Ran) -> bool:
    """Tell whether a run was one that the next ones are unlike: the first one of a folder, or of a day."""
    return ran.manifest.run == 1 or ran.rows[PROGRESS_DAILY.name] > 0


async def keep_mirror(settings: Settings, folder: Path) -> None:
    """Bring a mirror of all tenants up to date, for another command."""
    started = monotonic()
    wanted = Wanted(folder)
    _print(await _once(settings, wanted), wanted, monotonic() - started)


async def _once(settings: Settings, wanted: Wanted) -> Ran:
    async def work(store: Store) -> Ran:
        return await mirror_once(store, settings, wanted)

    try:
        return await with_store(settings, work)
    except BusyError as error:
        raise CommandError(str(error), "wait for it, or name another folder") from error
    except ManifestError as error:
        raise CommandError(str(error)) from error
    except DuckError as error:
        raise CommandError(f"{wanted.folder}: {error}", _hint(error)) from error
    except DiskError as error:
        raise CommandError(str(error), "is there room, and may it be written? the mirror is as it was") from error


def _hint(error: DuckError) -> str | None:
    if error.full:
        return "make room on that disk, and run it again: the mirror is as it was"
    return "give it more with --memory" if error.memory or error.too_long else None


def _as_json(ran: Ran, seconds: float) -> dict[str, object]:
    about = {"run": ran.manifest.run, "at": ran.manifest.at, "seconds": round(seconds, 3)}
    return {**about, "rows": ran.rows, "erased": ran.erased, "stale": ran.stale}


def _print(ran: Ran, wanted: Wanted, seconds: float) -> None:
    out = screen.out()
    rows = ", ".join(f"{name} {number:+,}" for name, number in ran.rows.items() if number)
    out.say(f"{ran.manifest.at[:19]}Z run {ran.manifest.run}: {rows or 'nothing new'} ({seconds:.1f} s)")
    if ran.erased:
        out.say(f"  erased users: {ran.erased:,}; their rows are gone from all files")
    if ran.stale:
        out.say(f"  {ran.stale:,} subjects are not up to date with the rules in force: run `ach backfill`")
    if ran.manifest.run == 1:
        out.say(f"  {wanted.folder}/manifest.json names the files; docs/mirror.md says how to load them")

"""`ach mirror`: the books as Parquet files."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import click

from worker.commands.mirror_run import (
    PROGRESS_DAILY,
    AwayError,
    Bounds,
    Dialect,
    Wanted,
    make_private,
    print_ran,
    run_once,
    statements,
)
from worker.commands.options import NAMED, TARGET, memory_of, seconds_of
from worker.commands.places import opened
from worker.commands.servers import on_servers
from worker.process.priority import step_back
from worker.process.signals import stop_on_signals
from worker.report import screen
from worker.settings import shown
from worker.store import UnavailableError, UnusableError

if TYPE_CHECKING:
    from worker.mirror.once import Ran
    from worker.mirror.place import Place
    from worker.settings import Settings

NICE: Final = 15
"""How far the process steps back where others want the processor."""
SHARE: Final = 3
"""Percent of the time that runs take: a busy worker beside them keeps 0.97 of its rate (`just mirror-bench`)."""


@click.group("mirror", invoke_without_command=True)
@click.option("--to", "place", type=TARGET, metavar="PLACE", help="Where to: a folder, or s3://BUCKET/PREFIX.")
@click.option("--every", metavar="SPAN", help="Go on, with a run each SPAN, such as 1m; else there is one.")
@click.option(
    "--share",
    default=SHARE,
    show_default=True,
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    help="With --every: how much of the time runs may take; else they come later.",
)
@click.option("--tenant", "-t", type=NAMED, metavar="TENANT", help="Of one tenant alone.")
@click.option("--json", "as_json", is_flag=True, help="Print each run as one line of JSON.")
@click.option("--memory", default="512MB", show_default=True, metavar="SIZE", help="What DuckDB may take.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 64), help="What DuckDB may run.")
@click.pass_context
def command(  # noqa: PLR0913 - its options
    context: click.Context,
    *,
    place: Place | None,
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
    if place is None:
        raise click.UsageError("where to? name a folder or a bucket: --to DIR, --to s3://BUCKET/PREFIX")
    seconds = None if every is None else seconds_of("--every", every)
    wanted = Wanted(opened(place), tenant, Bounds(memory_of(memory), threads))
    make_private()
    # Workers come first: PostgreSQL sends no faster than is read here.
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
                ran = await run_once(settings, wanted)
                took = monotonic() - started
                if as_json:
                    screen.say_json(_as_json(ran, took))
                else:
                    print_ran(ran, wanted, took)
                wait = pause(wait, took, 100 if is_large(ran) else share)
            except UnavailableError as error:
                if seconds is None or isinstance(error, UnusableError):
                    raise
                server = shown(settings.database_url)
                screen.fail(f"PostgreSQL at {server}: {error}", "the next run tries again; the mirror is as it was")
            except AwayError as error:
                if seconds is None:
                    raise
                screen.fail(str(error), "the next run tries again")
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


def _as_json(ran: Ran, seconds: float) -> dict[str, object]:
    about = {"run": ran.manifest.run, "at": ran.manifest.at, "seconds": round(seconds, 3)}
    return {**about, "rows": ran.rows, "erased": ran.erased, "stale": ran.stale}

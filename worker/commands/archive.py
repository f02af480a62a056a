"""`ach archive`: events of long ago leave the ledger, packed by user."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from dsl.calendar import format_instant
from worker.admin.archive import Archived, Asked, CannotArchiveError, archive
from worker.commands.options import TARGET, json_object_option, wall_clock
from worker.commands.places import opened
from worker.commands.servers import CommandError, on_servers, with_store
from worker.distribution import release
from worker.report import screen

if TYPE_CHECKING:
    from pathlib import Path

    from worker.mirror.objects import Objects
    from worker.mirror.place import Place
    from worker.settings import Settings
    from worker.store import Store

LEAST: Final = 1
"""Days: what is younger may still be on its way to a team, or to a mirror."""
MOST: Final = 36_600
"""Days: nothing is that old."""
_DAYS: Final = {"d": 1, "mo": 31, "y": 366}
"""At the most, so that nothing is archived too early."""
_DAY: Final = 86_400_000_000
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_THOUSAND: Final = 1000
_MANY: Final = 10_000
"""Events from which on it makes sense what each takes."""


class _AtHand(NamedTuple):
    """What `archive_at_hand` says; instants in microseconds."""

    archived_at: int | None
    before: int | None
    waiting: int
    events: int
    bytes: int
    hot_events: int
    hot_bytes: int
    probe_holds: bool


@click.command("archive")
@click.option("--older-than", metavar="SPAN", help="Archive what was received longer ago: 400d, 13mo, 2y.")
@click.option(
    "--to",
    "place",
    type=TARGET,
    metavar="PLACE",
    help="First bring the mirror in a folder or in s3://BUCKET/PREFIX up to date: all events as Parquet files "
    "(docs/mirror.md).",
)
@json_object_option
def command(*, older_than: str | None, place: Place | None, as_json: bool) -> None:
    """Pack old events into a tenth of the room; nothing is forgotten. Without SPAN, say what is packed."""
    if older_than is None:
        if place is not None:
            raise click.UsageError("--to goes with --older-than; `ach mirror --to DIR` writes Parquet files alone")
        on_servers(partial(_show, as_json=as_json))
        return
    span = span_of(older_than)
    mirror = None if place is None else opened(place)
    on_servers(partial(_run, span=span, mirror=mirror, as_json=as_json))


def span_of(text: str) -> int:
    """Return the microseconds of a span such as `400d`, `13mo` or `2y`.

    Raises:
        click.UsageError: it is none, less than a day, or more than a hundred years.
    """
    found = re.fullmatch(r"([0-9]{1,5})(d|mo|y)", text)
    if found is None:
        raise screen.usage(f"--older-than: expected a span such as 400d, 13mo or 2y, got {text!r}")
    days = int(found[1]) * _DAYS[found[2]]
    if days < LEAST:
        raise screen.usage(f"--older-than: expected at least {LEAST}d, got {text!r}")
    if days > MOST:
        raise screen.usage(f"--older-than: expected at most 100y, got {text!r}")
    return days * _DAY


async def _run(settings: Settings, *, span: int, mirror: Path | Objects | None, as_json: bool) -> None:
    if mirror is not None:
        await _mirror(settings, mirror, quiet=as_json)
    now = wall_clock()
    asked, done = Asked(now - span, now, release()), Archived()

    async def work(store: Store) -> None:
        with screen.progress("archiving", None) as move:
            await archive(store, asked, done, moved=lambda number: move(number, ""))

    try:
        await with_store(settings, work)
    except CannotArchiveError as error:
        raise CommandError(str(error)) from error
    if as_json:
        screen.say_json({"events": done.events, "users": done.users, "before": format_instant(now - span)})
        return
    out = screen.out()
    out.print(f"archived {screen.plural(done.events, 'event')} of {screen.plural(done.users, 'user')}")
    if done.events:
        out.print("their room in the ledger is free for new events; `VACUUM event` makes that so at once")


async def _mirror(settings: Settings, place: Path | Objects, *, quiet: bool) -> None:
    """Bring a mirror up to date; imported here, since it needs DuckDB."""
    from worker.commands.mirror_run import keep_mirror  # noqa: PLC0415

    await keep_mirror(settings, place, quiet=quiet)


async def _show(settings: Settings, *, as_json: bool) -> None:
    async def work(store: Store) -> _AtHand:
        async with store.transaction() as session:
            found = await session.row(_AtHand, "archive_at_hand")
        if found is None:
            raise AssertionError("the archive has one row")
        return found

    found = await with_store(settings, work)
    if as_json:
        said = found._asdict()
        instants = ("archived_at", "before")
        said |= {name: None if said[name] is None else format_instant(said[name]) for name in instants}
        screen.say_json(said)
        return
    out = screen.out()
    if found.before is None:
        out.print("nothing is archived: `ach archive --older-than 13mo` packs what is older")
    else:
        each = f", {found.bytes / found.events:.0f} bytes each" if found.events >= _MANY else ""
        out.print(f"archived  {screen.plural(found.events, 'event')}, {_size(found.bytes)}{each}")
        out.print(f"          all that was received before {format_instant(found.before)[:10]}, but for what stays")
    hot = f"about {found.hot_events:,} events" if found.hot_events > 0 else "events"
    out.print(f"ledger    {hot}, {_size(found.hot_bytes)}")
    if found.waiting:
        out.print("a run was interrupted: the next one goes on with it")
    if not found.probe_holds:
        raise CommandError("this server computes other hashes than the one on which the archive was begun")


def _size(number: float) -> str:
    for unit in _UNITS:
        if number < _THOUSAND:
            return f"{number:.3g} {unit}"
        number /= _THOUSAND
    return f"{number:,.0f} PB"

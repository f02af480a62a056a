"""`ach export`: all that is stored about one person, as JSON."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Final

import click

from dsl.outcome import Subject
from worker.app import wall_clock
from worker.commands.options import NAMED, PATHS
from worker.commands.servers import CommandError, on_servers, with_store
from worker.engine.entries import Catalogue
from worker.pipeline.rules_in_force import load_deployed
from worker.report import screen
from worker.store import UnavailableError
from worker.view.export import UnknownPersonError, export_person
from worker.view.standing import RulesChangedError

if TYPE_CHECKING:
    from collections.abc import Generator

    from worker.settings import Settings
    from worker.store import Store
    from worker.view.export import Exported

TRIES: Final = 3
"""To read while rules come into force."""


@click.command("export")
@click.option("--user", "-u", required=True, type=NAMED, metavar="USER", help="The person.")
@click.option("--tenant", "-t", required=True, type=NAMED, metavar="TENANT", help="The person's tenant.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=PATHS,
    help="Write to a file that only you may read (default: standard output).",
)
def command(user: str, tenant: str, output: Path | None) -> None:
    """Print all that is stored about one person as one JSON document (docs/export.schema.json).

    Events, progress, unlocks with every decision, corrections, dead letters, deliveries, actions and a tombstone, as
    of one moment. Exits with 1 if nothing is stored.
    """
    on_servers(partial(export_to, person=Subject(tenant, "user", user), output=output))


async def export_to(settings: Settings, person: Subject, output: Path | None) -> None:
    """Write the document of a person to a file, or to standard output.

    Raises:
        CommandError: nothing is stored of the person, or the file cannot be written.
    """
    if output is None:
        await with_store(settings, lambda store: _to_stream(store, settings, person, None))
        return
    try:
        with _replaced(output) as file:
            done = await with_store(settings, lambda store: _to_stream(store, settings, person, file))
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}") from error
    counted = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in done.rows.items() if number)
    said = "the tombstone alone: this user was erased" if done.erased else counted or "nothing but empty lists"
    screen.err().say(f"{output}: {said}")


@contextmanager
def _replaced(path: Path) -> Generator[IO[str]]:
    """Give a file that takes the place of another one if the block ends well, and is gone otherwise."""
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise


async def _to_stream(store: Store, settings: Settings, person: Subject, file: IO[str] | None) -> Exported:
    """Write the document to a file, which can be begun again, or to standard output."""
    begun = False

    def write(text: str) -> None:
        nonlocal begun
        begun = True
        if file is None:
            screen.hand_on(text)
        else:
            file.write(text)

    for n in range(1, TRIES + 1):
        if file is not None:
            file.seek(0)
            file.truncate()
        try:
            catalogue = Catalogue(await load_deployed(store, settings))
            return await export_person(store, settings, catalogue, person, now=wall_clock(), write=write)
        except UnknownPersonError:
            raise CommandError(
                f"nothing is stored of {person.subject!r} in tenant {person.tenant_id!r}", "is the name right?"
            ) from None
        except RulesChangedError:
            if n == TRIES or (begun and file is None):
                raise CommandError("rules come into force again and again; run it again") from None
        except UnavailableError as error:
            if begun and file is None:
                raise CommandError(
                    f"the export broke off in the middle: {error}", "run it again, with -o FILE"
                ) from error
            raise
    raise AssertionError("unreachable")

"""`ach reapply`: what operators have decided since a backup that was restored, done again from the journal."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from worker.admin.journal import pseudonyms, read_journal
from worker.admin.reapply import Journal, reapply
from worker.admin.stream_people import people_of_stream
from worker.app import wall_clock
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.commands.options import json_object_option
from worker.commands.servers import CommandError, on_servers, with_store
from worker.engine.journal import UnreadableJournalError
from worker.report import screen
from worker.urls import shown

if TYPE_CHECKING:
    from dsl.outcome import Subject
    from worker.admin.reapply import Reapplied
    from worker.settings import Settings


@click.command("reapply")
@click.option("--dry-run", is_flag=True, help="Say what would be done again, and do nothing.")
@click.option("--without-stream", is_flag=True, help="Do not look for users in the input stream, say if it is lost.")
@json_object_option
def command(*, dry_run: bool, without_stream: bool, as_json: bool) -> None:
    """Do again what operators decided since a backup that was restored (erasures, revocations, rules).

    They come from the journal that ACH_JOURNAL names. What the database knows is passed over, so run it as often as you
    like: before workers start, and again when they have caught up (docs/playbooks/backup-restored.md).
    """
    done = on_servers(partial(_reapply, dry_run=dry_run, without_stream=without_stream))
    if as_json:
        screen.say_json(msgspec.structs.asdict(done))
    else:
        _print(done, dry_run=dry_run)


async def _reapply(settings: Settings, *, dry_run: bool, without_stream: bool) -> Reapplied:
    if settings.journal is None:
        raise CommandError("there is no journal", "ACH_JOURNAL names it, and ACH_JOURNAL_KEY_FILE its key")
    names = pseudonyms(settings)
    try:
        journal = Journal(read_journal(Path(settings.journal)), names)
    except UnreadableJournalError as error:
        raise CommandError(f"{settings.journal}: {error}", "is it a journal, and whole?") from error
    seen: set[Subject] = set() if without_stream else await _people(settings)
    return await with_store(
        settings, lambda store: reapply(store, settings, journal, seen, now=wall_clock, dry_run=dry_run)
    )


async def _people(settings: Settings) -> set[Subject]:
    """Return the users that the input stream names.

    Raises:
        CommandError: it cannot be read.
    """
    try:
        return await people_of_stream(settings)
    except BrokerAwayError as error:
        said = str(error)
    except OUT_OF_REACH as error:
        said = in_words(error)
    raise CommandError(
        f"{settings.input_stream} of NATS at {shown(settings.nats_url)} cannot be read: {said}; nothing was done",
        "users who came after the backup are known from there; --without-stream passes them over",
    )


def _print(done: Reapplied, *, dry_run: bool) -> None:
    out = screen.out()
    out.print(f"{screen.plural(done.entries, 'decision')} in the journal" + ("; nothing was done" if dry_run else ""))
    out.print(f"rules: {done.rules}", markup=False)
    what = "to do again" if dry_run else "done again"
    counts = [
        screen.plural(done.erased, "erasure"),
        screen.plural(done.lifted, "lifted tombstone"),
        screen.plural(done.revoked, "revocation"),
        screen.plural(done.granted, "manual grant"),
    ]
    out.print(f"{what}: {', '.join(counts)}")
    if done.waiting:
        out.print(
            f"not found: {done.waiting:,}; run it again when workers have caught up with the stream. "
            "What is not found then is gone, such as unlocks of erased users"
        )

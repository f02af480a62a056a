"""`ach dead replay`: dead letters sent again; a dry run says what would become of them."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import anyio
import click

from dsl.calendar import format_instant
from worker.app import wall_clock
from worker.broker.streams import open_broker
from worker.commands.dead.reason import reason_of, reason_option
from worker.commands.options import EXISTING_FILE, NUMBER, json_object_option, microseconds
from worker.commands.servers import CommandError, on_servers, patiently
from worker.contract.named_users import types_named
from worker.engine.outlook import outcomes
from worker.pipeline.dead_letters import (
    CUT,
    NotSentError,
    block_of,
    headers_of,
    is_cut,
    last_letter,
    replay_letter,
    show_letter,
)
from worker.pipeline.rules_in_force import load_deployed
from worker.report import screen
from worker.retry import PATIENCE_SECONDS
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from typing import Unpack

    from worker.contract.reasons import Reason
    from worker.pipeline.dead_letters import StoredDeadLetter
    from worker.settings import Settings
    from worker.store import Store

PAGE: Final = 1000
"""Ids that are read together; bodies are read one at a time."""
SHOWN: Final = 20
"""Dead letters, and kinds of them, that are listed; the others are counted."""
SHOWN_TYPES: Final = 3
SHOWN_CHARACTERS: Final = 60
"""Of an event type."""
NOT_SENT: Final = "would not be sent"


class _Options(TypedDict):
    reason: str | None
    event_type: str | None
    since: str | None
    dry: bool
    as_json: bool


@click.command("replay")
@click.argument("ids", metavar="[ID...]", nargs=-1, type=NUMBER)
@reason_option
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type.")
@click.option("--since", metavar="INSTANT", help="Only those that died then or later.")
@click.option("--dry-run", "dry", is_flag=True, help="Send nothing; print what would become of each.")
@click.option("--body", metavar="FILE", type=EXISTING_FILE, help="A mended body to send instead.")
@json_object_option
def command(ids: Sequence[int], body: Path | None, **options: Unpack[_Options]) -> None:
    """Send dead letters again, as they are or mended: those with these IDs, or all that match and were not sent yet."""
    reason, since, event_type = options["reason"], options["since"], options["event_type"]
    if not (ids or reason or event_type or since):
        raise click.UsageError("say which: IDs, --reason, --type, or --since")
    if body is not None and len(ids) != 1:
        raise click.UsageError("--body mends one dead letter; name one ID")
    wanted = Wanted(ids, reason_of(reason), event_type, None if since is None else microseconds(since))
    on_servers(partial(send_again, wanted=wanted, body=body, dry=options["dry"], as_json=options["as_json"]))


class Wanted(NamedTuple):
    """Which dead letters: those of some ids, or all that were not sent again and match everything that is given."""

    ids: Sequence[int] = ()
    reason: Reason | None = None
    event_type: str | None = None
    since: int | None = None
    """Died then or later, microseconds."""


async def send_again(
    settings: Settings, wanted: Wanted, body: Path | None, *, dry: bool, as_json: bool = False
) -> None:
    """Send dead letters again, with another body if one is given; a dry run says what would become of them.

    Raises:
        CommandError: a dead letter is not there, or some were not sent.
    """
    mended = None if body is None else await anyio.Path(body).read_bytes()
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        await patiently(settings, store.check_schema)
        # One that dies again meanwhile gets a higher id, and is not sent once more.
        # Only this waits for the database: a second attempt at the rest could send a dead letter twice.
        until = await patiently(settings, partial(last_letter, store))
        if not as_json:
            await _plan(store, wanted, until)
        if dry:
            tried = await _try(store, settings, wanted, until, mended)
            if as_json:
                screen.say_json(_tried_json(tried))
            else:
                _print_tried(tried)
            return
        sent, refused = 0, list[str]()
        async with open_broker(settings, patience=PATIENCE_SECONDS) as broker:
            async for letter in letters(store, wanted, until):
                try:
                    await replay_letter(
                        store, broker, letter, now=wall_clock(), body=mended, prefix=settings.input_prefix
                    )
                except NotSentError as error:
                    refused.append(str(error))
                else:
                    sent += 1
    if as_json:
        screen.say_json({"sent": sent, "not_sent": refused})
    else:
        screen.out().print(f"sent {screen.plural(sent, 'dead letter')} again")
    if refused:
        for line in refused[:SHOWN]:
            screen.fail(line)
        raise CommandError(f"{screen.plural(len(refused), 'dead letter')} not sent", "ach dead show ID")


async def letters(store: Store, wanted: Wanted, until: int) -> AsyncIterator[StoredDeadLetter]:
    """Yield dead letters, each read when its turn comes."""
    if wanted.ids:
        for letter_id in wanted.ids:
            letter = await show_letter(store, letter_id)
            if letter is None:
                raise CommandError(f"there is no dead letter {letter_id}", "ach dead list")
            if _is_wanted(letter, wanted):
                yield letter
        return
    after, full = 0, True
    while full:
        async with store.transaction() as session:
            chosen = {"reason": wanted.reason, "since": wanted.since}
            page = await session.rows(int, "letters_to_send", **chosen, after=after, until=until, limit=PAGE)
        full = len(page) == PAGE
        for letter_id in page:
            letter = await show_letter(store, letter_id)
            if letter is not None and _is_wanted(letter, wanted):
                yield letter
        after = page[-1] if page else after


def _is_wanted(letter: StoredDeadLetter, wanted: Wanted) -> bool:
    return (
        (wanted.reason is None or letter.reason == wanted.reason)
        and (wanted.since is None or letter.died_at >= wanted.since)
        and (wanted.event_type is None or wanted.event_type in types_named(letter.body, headers_of(letter)))
    )


async def _plan(store: Store, wanted: Wanted, until: int) -> None:
    """Print what is about to be sent, by reason and event type."""
    counts: Counter[tuple[str, str]] = Counter()
    first = last = None
    async for letter in letters(store, wanted, until):
        counts[letter.reason, _kind(types_named(letter.body, headers_of(letter)))] += 1
        first = letter.died_at if first is None else min(first, letter.died_at)
        last = letter.died_at if last is None else max(last, letter.died_at)
    total = screen.plural(sum(counts.values()), "dead letter")
    if first is None or last is None:
        screen.out().print(f"{total} to send again")
        return
    title = f"{total} to send again, died {format_instant(first)[:19]} to {format_instant(last)[:19]}"
    rows = [(reason, kind, number) for (reason, kind), number in counts.most_common(SHOWN)]
    if len(counts) > SHOWN:
        rows.append(("others", "", sum(counts.values()) - sum(number for _, _, number in rows)))
    screen.table(title, ["reason", "event type", "letters"], rows, right=(2,))


def _kind(types: AbstractSet[str]) -> str:
    """Return event types as a cell of a table. Producers choose how many there are, and how long, so it is cut."""
    named = sorted(types)
    return ", ".join([name[:SHOWN_CHARACTERS] for name in named[:SHOWN_TYPES]] + ["..."] * (len(named) > SHOWN_TYPES))


# -- a dry run ---------------------------------------------------------------------------------------------------------


class _Tried(NamedTuple):
    """What would become of dead letters: how many have which outcome, and the first of them."""

    epoch: int
    counts: Counter[str]
    rows: list[tuple[int, str, str]]
    """Id, outcome and detail."""


async def _try(store: Store, settings: Settings, wanted: Wanted, until: int, mended: bytes | None) -> _Tried:
    """Return what would become of dead letters under the rules in force; nothing is sent."""
    rules = await load_deployed(store, settings)
    now = wall_clock()
    counts: Counter[str] = Counter()
    rows: list[tuple[int, str, str]] = []
    async for letter in letters(store, wanted, until):
        if mended is None and is_cut(letter):
            found = [(NOT_SENT, CUT)]
        else:
            body = letter.body if mended is None else mended
            found = outcomes(rules, letter.nats_subject, body, now=now, block=block_of(letter))
        for outcome, detail in found:
            counts[outcome] += 1
            if len(rows) < SHOWN:
                rows.append((letter.dead_letter_id, outcome, detail))
    return _Tried(rules.epoch, counts, rows)


def _tried_json(tried: _Tried) -> dict[str, object]:
    first = [{"dead_letter_id": number, "outcome": outcome, "detail": detail} for number, outcome, detail in tried.rows]
    return {"epoch": tried.epoch, "outcomes": dict(sorted(tried.counts.items())), "first": first}


def _print_tried(tried: _Tried) -> None:
    screen.table(f"under the rules of epoch {tried.epoch}", ["id", "outcome", "detail"], tried.rows)
    for outcome, number in sorted(tried.counts.items()):
        screen.out().print(f"{outcome}: {number:,}")

"""`ach emit`: recorded events published to the input stream, as a producer would."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import click

from worker.broker.outgoing import outgoing
from worker.commands.options import json_object_option, quiet_option
from worker.commands.servers import CommandError, on_servers
from worker.local.sandbox import publish
from worker.recording import STDIN, lines
from worker.report import screen
from worker.report.escape import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.broker.publish import Published, Refused
    from worker.settings import Settings

SHOWN: Final = 5
"""Messages that the broker refused and that are listed; the rest is counted."""
SHOWN_BYTES: Final = 100


@click.command("emit")
@click.argument("streams", nargs=-1, required=True, metavar="STREAM...")
@quiet_option
@json_object_option
def command(streams: Sequence[str], *, quiet: bool, as_json: bool) -> None:
    """Publish recorded events (JSON Lines, also .gz and .zst; `-` is standard input) to the input stream."""
    on_servers(partial(_emit, streams=streams, quiet=quiet, as_json=as_json))


async def _emit(settings: Settings, streams: Sequence[str], *, quiet: bool, as_json: bool) -> None:
    began = monotonic()
    total = None if STDIN in streams else sum(1 for _ in lines(streams))
    with screen.progress("publishing", total, quiet=quiet) as move:
        done = 0

        def on_progress(stored: int) -> None:
            nonlocal done
            move(stored - done, "")
            done = stored

        messages = outgoing(lines(streams), settings.input_prefix)
        published = await publish(settings, messages, on_progress)
    if as_json:
        screen.say_json(_as_json(published, monotonic() - began))
    else:
        _print(published, monotonic() - began)
    if published.refused:
        raise CommandError(f"{screen.plural(len(published.refused), 'message')} not published")


def _as_json(published: Published, seconds: float) -> dict[str, object]:
    refused = [{"reason": one.said, "body": _beginning(one)} for one in published.refused]
    return {
        "published": published.stored,
        "duplicates": published.duplicates,
        "refused": refused,
        "seconds": round(seconds, 3),
    }


def _beginning(refused: Refused) -> str:
    return refused.message.body[:SHOWN_BYTES].decode(errors="replace")


def _print(published: Published, seconds: float) -> None:
    """Print what was published, and what the broker would not take."""
    stored, duplicates = published.stored, published.duplicates
    rate = (stored + duplicates) / seconds if seconds else 0
    said = f"published {screen.plural(stored, 'message')}, {duplicates:,} known to the broker already"
    screen.out().print(f"{said} ({rate:,.0f} messages/s)")
    for refused in published.refused[:SHOWN]:
        screen.fail(visible(f"not published: {refused.said}: {_beginning(refused)} ..."))
    if len(published.refused) > SHOWN:
        screen.fail(f"and {len(published.refused) - SHOWN:,} more")

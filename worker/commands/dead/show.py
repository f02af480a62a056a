"""`ach dead show`: one dead letter, with its bytes."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.calendar import format_instant
from worker.commands.dead.list import letter_json
from worker.commands.options import NUMBER, json_object_option
from worker.commands.servers import CommandError, on_servers, with_store
from worker.pipeline.dead_letters import show_letter
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.pipeline.dead_letters import StoredDeadLetter
    from worker.settings import Settings


@click.command("show")
@click.argument("letter_id", metavar="ID", type=NUMBER)
@click.option("--raw", is_flag=True, help="Its bytes alone, as received: to mend them in a file.")
@json_object_option
def command(letter_id: int, *, raw: bool, as_json: bool) -> None:
    """Show one dead letter: why it died, and its bytes."""
    if raw and as_json:
        raise screen.usage("--raw or --json, not both")
    on_servers(partial(_show, letter_id=letter_id, raw=raw, as_json=as_json))


async def _show(settings: Settings, letter_id: int, *, raw: bool, as_json: bool) -> None:
    """Print one dead letter with its bytes; `raw`: those alone, as received."""
    letter = await with_store(settings, lambda store: show_letter(store, letter_id))
    if letter is None:
        raise CommandError(f"there is no dead letter {letter_id}", "ach dead list")
    if raw:
        screen.hand_on(letter.body)
        return
    if as_json:
        screen.say_json({**letter_json(letter), **_body_json(letter.body)})
        return
    console = screen.out()
    for name, value in _described(letter):
        console.say(f"{name:>13}  {value}")
    console.print()
    console.print(letter.body.decode("utf-8", "backslashreplace"))


def _body_json(body: bytes) -> dict[str, str]:
    """Return bytes as text where they are text, else in base64."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}


def _described(letter: StoredDeadLetter) -> Iterator[tuple[str, object]]:
    yield "reason", letter.reason
    yield "detail", letter.detail
    yield "subject", letter.nats_subject
    yield "headers", letter.headers
    yield "stream", f"{letter.stream} sequence {letter.stream_seq}, element {letter.element}"
    yield "deliveries", letter.deliveries
    yield "died at", format_instant(letter.died_at)
    if letter.replayed_at is not None:
        yield "replayed at", format_instant(letter.replayed_at)
    if letter.died_again_as is not None:
        yield "died again as", letter.died_again_as
    if letter.erased_at is not None:
        yield "erased at", format_instant(letter.erased_at)
    yield "bytes", len(letter.body)

"""`ach dead list`: dead letters, newest first."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from dsl.calendar import format_instant
from worker.commands.dead.reason import reason_of, reason_option
from worker.commands.options import json_option, limit_option
from worker.commands.servers import on_servers, with_store
from worker.pipeline.dead_letters import list_letters
from worker.report import screen

if TYPE_CHECKING:
    from worker.contract.reasons import Reason
    from worker.pipeline.dead_letters import StoredDeadLetter
    from worker.settings import Settings


@click.command("list")
@reason_option
@click.option("--all", "replayed", is_flag=True, help="Also those that were sent again.")
@limit_option
@json_option
def command(reason: str | None, *, replayed: bool, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    wanted = Wanted(reason_of(reason), replayed, limit)
    on_servers(partial(list_dead_letters, wanted=wanted, as_json=as_json))


class Wanted(NamedTuple):
    """Which dead letters to list; no reason means any."""

    reason: Reason | None
    replayed: bool
    """Also those that were sent again."""
    limit: int


async def list_dead_letters(settings: Settings, wanted: Wanted, *, as_json: bool) -> None:
    """Print dead letters, newest first; as JSON without their bodies, whose sizes are given."""
    letters = await with_store(
        settings,
        lambda store: list_letters(store, reason=wanted.reason, replayed=wanted.replayed, limit=wanted.limit),
    )
    if as_json:
        screen.say_json([letter_json(letter) for letter in letters])
        return
    rows = [
        (
            letter.dead_letter_id,
            letter.reason,
            format_instant(letter.died_at)[:19],
            letter.nats_subject,
            letter.detail,
            "" if letter.died_again_as is None else letter.died_again_as,
        )
        for letter in letters
    ]
    columns = ["id", "reason", "died at", "subject", "detail", "died again as"]
    screen.table(screen.plural(len(rows), "dead letter"), columns, rows, ids=(0, 3))


def letter_json(letter: StoredDeadLetter) -> dict[str, object]:
    """Return a dead letter as JSON has it: all but its body."""
    fields: dict[str, object] = letter._asdict()
    for name in ("died_at", "replayed_at", "erased_at"):
        at = fields[name]
        fields[name] = format_instant(at) if isinstance(at, int) else None
    del fields["body"]  # `ach dead show --raw` has it as it is
    fields["bytes"] = len(letter.body)
    fields["headers"] = msgspec.Raw(letter.headers.encode())
    return fields

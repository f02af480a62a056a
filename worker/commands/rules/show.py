"""`ach rules show`: the versions of an achievement."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.calendar import format_instant
from worker.admin.rollout import deployed_versions
from worker.commands.options import NAMED, json_option
from worker.commands.renamed import tell_renamed
from worker.commands.servers import CommandError, on_servers, with_store
from worker.pipeline.rules_in_force import read_renames
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.rollout import RuleVersion
    from worker.settings import Settings
    from worker.store import Store


@click.command("show")
@click.argument("name", type=NAMED, metavar="NAME")
@json_option
def command(name: str, *, as_json: bool) -> None:
    """Show the text of each version of an achievement, since which epoch, and by whose hand."""
    on_servers(partial(_show, name=name, as_json=as_json))


async def _show(settings: Settings, *, name: str, as_json: bool) -> None:
    async def work(store: Store) -> tuple[str, list[RuleVersion]]:
        renames = await read_renames(store)
        first = tell_renamed(renames, name)
        found = [one for one in await deployed_versions(store) if one.achievement == first]
        return renames.now(first), renames.shown_in(found)

    called, found = await with_store(settings, work)
    if not found:
        raise CommandError(f"no achievement {name} was ever in force", "`ach rules list` has those in force")
    if as_json:
        screen.say_json([_json_of(one) for one in found])
        return
    for one in found:
        retired = "" if one.retired_at is None else f", retired {format_instant(one.retired_at)[:19]}"
        judges = "" if one.starts_at is None else f", judges from {format_instant(one.starts_at)}"
        screen.out().say(
            f"{called} version {one.version}: since epoch {one.epoch}, applied {format_instant(one.applied_at)[:19]} "
            f"by {one.applied_by}{judges}{retired}"
        )
        screen.out().print(f"\n{one.source.strip()}\n", markup=False)


def _json_of(one: RuleVersion) -> dict[str, object]:
    instants = {"from": one.starts_at, "until": one.ends_at, "applied_at": one.applied_at, "retired_at": one.retired_at}
    return {
        "achievement": one.achievement,
        "version": one.version,
        "epoch": one.epoch,
        "applied_by": one.applied_by,
        "source": one.source,
        **{name: None if at is None else format_instant(at) for name, at in instants.items()},
    }

"""`ach rules list`: the achievements in force."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from dsl.compile import scope_of
from worker.admin.rule_book import holders
from worker.commands.options import json_option
from worker.commands.servers import on_servers, rules_in_force, with_store
from worker.report import screen

if TYPE_CHECKING:
    from dsl.syntax import Title
    from worker.settings import Settings
    from worker.store import Store


@click.command("list")
@json_option
def command(*, as_json: bool) -> None:
    """List the achievements in force: version, scope, title, and how many hold each.

    A holder is a user, team or tenant with a granted unlock that is neither contested nor revoked.
    """
    on_servers(partial(_list, as_json=as_json))


async def _list(settings: Settings, *, as_json: bool) -> None:
    async def work(store: Store) -> list[dict[str, object]]:
        rules, held = await rules_in_force(store, settings), await holders(store)
        return [
            {
                "achievement": name,
                "version": versions[-1].version,
                "scope": scope_of(versions[-1]),
                "title": _text(versions[-1].title),
                "holders": held.get(rules.renames.first(name), 0),
            }
            for name, versions in sorted(rules.written.achievements.items())
        ]

    found = await with_store(settings, work)
    if as_json:
        screen.say_json(found)
        return
    columns = ["achievement", "version", "scope", "title", "holders"]
    rows = [(*list(one.values())[:4], f"{one['holders']:,}") for one in found]
    screen.table(screen.plural(len(found), "achievement"), columns, rows, right=(1, 4))


def _text(title: Title | None) -> str:
    """Return a title in the language that its author has put first."""
    return "" if title is None or not title.texts else title.texts[0][1]

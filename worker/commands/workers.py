"""`ach workers`: the workers of this database, and what each reads of the stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dsl.calendar import format_instant
from worker.app import wall_clock
from worker.broker.group_view import Dealt, groups_of
from worker.broker.once import connected_once
from worker.broker.shares import member_name, ranges
from worker.commands.options import json_option
from worker.commands.servers import on_servers, with_store
from worker.console.pulse import worker_state
from worker.report import screen

if TYPE_CHECKING:
    from uuid import UUID

    from worker.settings import Settings
    from worker.store import Store

CONNECT_SECONDS = 5


@click.command("workers")
@json_option
def command(*, as_json: bool) -> None:
    """List the workers of the last day, their groups and partitions, and what waits for each."""
    on_servers(partial(list_workers, as_json=as_json))


class Known(NamedTuple):
    """A worker as the database knows it; instants in microseconds."""

    worker_id: UUID
    host: str
    release: str
    started_at: int
    seen_at: int
    rules_epoch: int
    messages: int
    retries: int
    stopped: bool


async def list_workers(settings: Settings, *, as_json: bool) -> None:
    """Print workers, those started last first, and the partitions of each group."""

    async def work(store: Store) -> list[Known]:
        async with store.transaction() as session:
            return await session.rows(Known, "listed_workers")

    known = await with_store(settings, work)
    async with connected_once(settings, seconds=CONNECT_SECONDS) as client:
        groups = await groups_of(client, settings)
    now = wall_clock()
    if as_json:
        screen.say_json({"workers": [_as_json(one, groups, now) for one in known], "groups": groups_as_json(groups)})
        return
    rows = [
        (
            str(one.worker_id),
            one.host,
            one.release,
            state(one, now),
            format_instant(one.seen_at)[:19],
            one.messages,
            *_share(one, groups),
        )
        for one in known
    ]
    columns = ["worker", "host", "release", "state", "seen at", "messages", "group", "partitions", "waiting"]
    screen.table(screen.plural(len(rows), "worker"), columns, rows, ids=range(1))


def state(one: Known, now: int) -> str:
    """Return the state of a worker: `at work`, `ended` or `lost`, as `ach status` says."""
    return worker_state(stopped=one.stopped, seen_at=one.seen_at, now=now)


def _share(one: Known, groups: list[Dealt]) -> tuple[str, str, str]:
    name = member_name(one.host, str(one.worker_id))
    for group in groups:
        if name in group.shares:
            share = group.shares[name]
            return group.name, ranges(share), str(sum([group.waiting.get(partition, 0) for partition in share]))
    return "", "", ""


def _as_json(one: Known, groups: list[Dealt], now: int) -> dict[str, Any]:
    group, _, _ = _share(one, groups)
    nothing: dict[str, tuple[int, ...]] = {}
    shares = next((dealt.shares for dealt in groups if group and dealt.name == group), nothing)
    return {
        **one._asdict(),
        "worker_id": str(one.worker_id),
        "started_at": format_instant(one.started_at),
        "seen_at": format_instant(one.seen_at),
        "state": state(one, now),
        "group": group or None,
        "partitions": list(shares.get(member_name(one.host, str(one.worker_id)), ())),
    }


def groups_as_json(groups: list[Dealt]) -> list[dict[str, Any]]:
    """Return groups with what waits in each partition; the key `rest` is of what is not dealt out."""
    return [
        {
            "group": group.name,
            "members": {member: list(share) for member, share in sorted(group.shares.items())},
            "waiting": {str(partition): group.waiting[partition] for partition in sorted(group.waiting)},
            "rest": group.rest,
            "whole": group.whole,
        }
        for group in groups
    ]

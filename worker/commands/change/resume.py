"""`ach change resume`: a build that goes on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from worker.admin.backfill import change_to_build
from worker.admin.changes import NotNowError, change_of
from worker.admin.lease import Limits
from worker.admin.rollout import in_force
from worker.commands.backfill import print_report, report_json, run_backfill
from worker.commands.options import change_argument, json_object_option, lag_option, rate_option
from worker.commands.servers import on_servers, with_store
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.built import Report
    from worker.settings import Settings
    from worker.store import Store


@click.command("resume")
@change_argument
@rate_option
@lag_option
@json_object_option
def command(change_id: int, rate: int | None, max_lag: int | None, *, as_json: bool) -> None:
    """Go on with a change that was paused, cancelled or interrupted.

    It is built here until it is done; interrupted, any worker goes on with it after some seconds.
    """
    on_servers(partial(_resume, change_id=change_id, limits=Limits(rate, max_lag), as_json=as_json))


async def _resume(settings: Settings, *, change_id: int, limits: Limits, as_json: bool) -> None:
    async def work(store: Store) -> Report:
        change, rules = await change_of(store, change_id), await in_force(store)
        wanted = None if rules is None else await change_to_build(store, rules.epoch)
        if wanted is None or wanted.change_id != change_id:
            raise NotNowError(f"change {change_id} is {change.state}: nothing of it is left to build")
        return await run_backfill(store, settings, limits)

    report = await with_store(settings, work)
    if as_json:
        screen.say_json(report_json(report))
    else:
        print_report(report)

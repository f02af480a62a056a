"""What a command does that finds its rules in force: it goes on with their build, where that has not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.admin.backfill import change_to_build, is_building
from worker.admin.changes import shown_builder
from worker.admin.lease import NO_LIMITS
from worker.commands.applied import as_json_of
from worker.commands.backfill import print_report, run_backfill
from worker.report import screen

if TYPE_CHECKING:
    from worker.admin.changes import Change
    from worker.admin.lease import Limits
    from worker.admin.rollout import Applied
    from worker.settings import Settings
    from worker.store import Store

_LIVELY_MS: Final = 3000
"""A process that has said something so lately is alive."""


async def go_on(
    store: Store,
    settings: Settings,
    applied: Applied,
    *,
    limits: Limits = NO_LIMITS,
    as_json: bool = False,
    dry_run: bool = False,
) -> None:
    """Go on with rules that are in force already, where not all subjects are up to date with them; say so.

    Raises:
        SupersededError, BuildEndedError, UnavailableError: as in `backfill`.
    """
    change = await change_to_build(store, applied.epoch)
    rests = change is not None and change.state in {"paused", "cancelled"}
    builds = not rests and (change is not None or await is_building(store))
    if not as_json:
        screen.out().print(_rest(applied.epoch, change, rests=rests, builds=builds), markup=False)
    report = None
    if builds and not dry_run:
        report = await run_backfill(store, settings, limits)
    if as_json:
        screen.say_json(as_json_of(applied, report))
    elif report is not None:
        print_report(report)


def _rest(epoch: int, change: Change | None, *, rests: bool, builds: bool) -> str:
    """Return what is left to be done of rules that are in force."""
    if change is None:
        said = f"in force already (epoch {epoch}); continuing its backfill"
        return said if builds else f"nothing changed: these rules are in force already (epoch {epoch})"
    number = change.change_id
    if rests:
        return f"in force already (epoch {epoch}); change {number} is {change.state}: `ach change resume {number}`"
    said = f"in force already (epoch {epoch}); continuing its backfill: change {number} is still being built"
    return said + (f", until now by {shown_builder(change.builder)}" if change.silent_ms < _LIVELY_MS else "")

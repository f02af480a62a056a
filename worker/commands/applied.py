"""What rules that came into force have changed, in words and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from worker.commands.backfill import report_json
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.admin.built import Report
    from worker.admin.rollout import Applied

MOST_MESSAGE: Final = 1000


def check_message(option: str, message: str) -> None:
    """Check that the message of a change can be kept.

    Raises:
        click.UsageError: it is too long.
    """
    if len(message) > MOST_MESSAGE:
        raise click.UsageError(f"{option}: {len(message):,} characters; at most {MOST_MESSAGE:,} are kept")


def note(text: str) -> None:
    """Print what an apply says while it is under way."""
    screen.err().print(text, markup=False)


def as_json_of(applied: Applied, report: Report | None) -> dict[str, object]:
    """Return as JSON what an apply has done; `report` is that of its build."""

    def versions(some: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
        return [{"achievement": name, "version": number} for name, number in some]

    return {
        "epoch": applied.epoch,
        "changed": applied.changed,
        "new": versions(applied.new),
        "retired": versions(applied.retired),
        "renamed": [{"before": before, "now": now} for before, now in applied.renamed],
        "changed_meaning": [str(one) for one in applied.changed_meaning],
        "withdrawn": applied.withdrawn,
        "backfill": None if report is None else report_json(report),
    }


def print_applied(applied: Applied, remark: str = "", *, dry_run: bool) -> None:
    """Print what an apply has done, or would do; `remark` goes with the epoch."""
    out = screen.out()
    if dry_run:
        out.print(f"would be in force: epoch {applied.epoch}{remark}; nothing was done")
    else:
        out.print(f"in force: epoch {applied.epoch}{remark}")
    for what, versions in (("new", applied.new), ("retired", applied.retired)):
        for name, number in versions:
            out.print(f"  {what}: {name} version {number}")
    for before, now in applied.renamed:
        out.print(f"  renamed: {before} -> {now}; its unlocks keep their ids")
    for one in applied.changed_meaning:
        out.print(f"  changed: {one}", markup=False)
    if applied.withdrawn:
        out.print(f"  withdrawn: {screen.plural(applied.withdrawn, 'unlock')} that had not settled")

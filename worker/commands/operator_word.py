"""What an operator gives along with a decision: a reason, and who decided."""

from __future__ import annotations

import click

from worker.engine.announcement_limits import MAX_REASON

by_option = click.option("--by", metavar="NAME", help="Who decides this; it is recorded (default: your login).")


def check_reason(reason: str) -> None:
    """Check that a reason fits into an announcement.

    Raises:
        click.UsageError: it is too long.
    """
    if len(reason) > MAX_REASON:
        raise click.UsageError(f"--reason has {len(reason):,} characters: it is announced, and may have {MAX_REASON:,}")

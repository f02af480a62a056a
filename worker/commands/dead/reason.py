"""The option by which dead letters are chosen by their reason."""

from __future__ import annotations

import click

from worker.contract.reasons import Reason

reason_option = click.option("--reason", metavar="REASON", help="Only this reason, such as `contract`.")


def reason_of(text: str | None) -> Reason | None:
    """Return the reason of that name.

    Raises:
        click.UsageError: there is none.
    """
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        raise click.UsageError(f"--reason: {text!r} is none of {', '.join(Reason)}") from None

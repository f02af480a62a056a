"""`ach emit`: recorded events published to the input stream, as a producer would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.report import screen

if TYPE_CHECKING:
    from worker.broker.publish import Published

SHOWN: Final = 5
"""Messages that the broker refused and that are listed; the rest is counted."""
SHOWN_BYTES: Final = 100


def tell_published(published: Published, seconds: float) -> None:
    """Print what was published, and what the broker would not take."""
    stored, duplicates = published.stored, published.duplicates
    rate = (stored + duplicates) / seconds if seconds else 0
    told = f"published {stored:,} messages, {duplicates:,} known to the broker already ({rate:,.0f} messages/s)"
    screen.out().print(told)
    for refused in published.refused[:SHOWN]:
        screen.fail(
            screen.visible(
                f"not published: {refused.said}: {refused.message.body[:SHOWN_BYTES].decode(errors='replace')} ..."
            )
        )
    if len(published.refused) > SHOWN:
        screen.fail(f"and {len(published.refused) - SHOWN:,} more")

"""An event as a row of the ledger: one text, made while the event is at hand. Pure.

Fields stand in the order of `insert_new_events` and begin with the key, so that rows sort by it. One that is empty is
null; a source begins with a mark of its own, since it may be empty.

Measured and tried: docs/decisions/0008-hot-path/text-columns.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.calendar import format_instant
from worker.contract.packing import FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.event import Event

WIDTH: Final = 12
"""Fields of a row."""
_ENDS: Final = 3
"""The last ones, which the message says: worker/contract/transport.py makes them."""


def row_of(  # noqa: PLR0913 - a row's fields
    event: Event, written: str, source: str | None, payload: str | None, end: str, *, usual: bool, field: str = FIELD
) -> str:
    """Return the row of an event, its fields joined by `field`.

    `written` is its instant as the producer wrote it, `usual` whether that is the usual form, `end` what its message
    says, joined by FIELD.
    """
    return field.join(
        (
            event.id,
            event.tenant,
            event.user,
            event.type,
            written if usual else format_instant(event.at),
            str(event.offset) if event.offset else "0",
            "" if usual else written,
            "" if source is None else "=" + source,
            payload or "",
            end if field == FIELD else end.replace(FIELD, field),
        )
    )


def rows_of(
    events: Iterable[Event],
    written: Iterable[str],
    usual: Iterable[bool],
    sources: Iterable[str | None],
    payloads: Iterable[str | None],
    ends: Iterable[str],
) -> list[str]:
    """Return the row of each event, as `row_of` does.

    Those with a usual instant are put together here and now, which costs half of a call.
    """
    columns = zip(events, written, usual, sources, payloads, ends, strict=False)
    return [
        (
            f"{event.id}\x1f{event.tenant}\x1f{event.user}\x1f{event.type}\x1f{instant}\x1f0\x1f\x1f"
            f"{'' if source is None else '=' + source}\x1f{payload or ''}\x1f{end}"
        )
        if plain
        else row_of(event, instant, source, payload, end, usual=False)
        for event, instant, plain, source, payload, end in columns
    ]


def end_of(row: str) -> str:
    """Return what the message of an event says, from its row: no other field of a row comes from it."""
    return FIELD.join(row.rsplit(FIELD, _ENDS)[1:])

"""The rows of a batch's events, packed for the statements that insert them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.payload import is_usual
from worker.contract.packing import Rows, pack_rows, unused
from worker.contract.row import WIDTH, end_of, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.engine.batch import Item


def pack_events(rows: Iterable[str], items: Callable[[], Iterable[Item]]) -> dict[str, str]:
    """Return the `events` of `insert_events`: rows sorted by key, as one text.

    `items` gives the events themselves, where a row holds a mark.
    """
    packed = _packed(sorted(rows), items)
    return {"events.text": packed.text, "events.field": packed.field, "events.record": packed.record}


def _packed(ordered: list[str], items: Callable[[], Iterable[Item]]) -> Rows:
    packed = pack_rows(ordered, WIDTH)
    if packed is not None:
        return packed
    field, record = unused(ordered)
    again = [_row(item, field) for item in sorted(items(), key=_usual_row)]
    packed = pack_rows(again, WIDTH, field=field, record=record)
    if packed is None:
        raise AssertionError("a mark that no row holds was found in one")
    return packed


def _usual_row(item: Item) -> str:
    return item.row


def _row(item: Item, field: str) -> str:
    at, source, payload = item.written
    return row_of(item.event, at, source, payload, end_of(item.row), usual=is_usual(at), field=field)

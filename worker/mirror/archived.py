"""Archived events as rows of the layer `event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.calendar import format_instant
from worker.mirror.intake import csv_row
from worker.pipeline.archive import PACKS, events_of_pack

if TYPE_CHECKING:
    from worker.contract.pack import PackedEvent
    from worker.mirror.intake import Sink
    from worker.mirror.window import Window
    from worker.store import Session


class _Row(NamedTuple):
    tenant_id: str
    user_id: str
    body: bytes


async def hand_archived(session: Session, sink: Sink, new: Window, tenant: str | None) -> None:
    """Hand over the events of packs that were written since, as CSV in the order of `mirror_event`."""
    args = {**new._asdict(), "tenant_id": tenant}
    async for page in session.pages_of(PACKS, _Row, "mirror_packs", **args):
        for row in page:
            lines = [csv_row(_cells(row, event)) for event in events_of_pack(row.body)]
            await sink("".join(lines).encode())


def _cells(row: _Row, event: PackedEvent) -> tuple[object, ...]:
    published = None if event.published_at is None else format_instant(event.published_at)
    moments = format_instant(event.received_at), published
    when = event.event_type, format_instant(event.occurred_at), event.utc_offset
    rest = event.region, event.source, event.event_id, event.payload, event.stream_seq
    return row.tenant_id, row.user_id, *when, *moments, *rest

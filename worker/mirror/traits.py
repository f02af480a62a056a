"""Values of traits, read from the events that carry them, as the rules in force declare them."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from anyio import to_thread

from dsl.calendar import format_instant
from dsl.values import value_text
from worker.mirror.duck import quoted, read_parquet
from worker.mirror.intake import csv_row, stage
from worker.mirror.layout import TRAIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from worker.engine.rule_set import Deployed
    from worker.mirror.duck import Duck
    from worker.mirror.files import Place
    from worker.mirror.intake import Sink
    from worker.mirror.manifest import File

_PAGE: Final = 5000


class _Carrier(NamedTuple):
    tenant: Any
    user: Any
    event_type: Any
    at: Any
    taken: Any
    event_id: Any
    payload: Any


def declared(rules: Deployed) -> str:
    """Return a hash of all that says which traits there are, and how they are read."""
    events, traits = rules.rules.trait_events, rules.rules.traits
    said = [(event, sorted(names)) for event, names in sorted(events.items())]
    return sha256(repr((said, sorted((name, str(kind)) for name, kind in traits.items()))).encode()).hexdigest()


async def stage_traits(rules: Deployed, duck: Duck, folder: Path, place: Place, events: Sequence[File]) -> None:
    """Stage below `folder` the traits that some files of events in a place carry.

    Raises:
        DuckError: DuckDB cannot.
        StoreError: the store does not give a file.
    """
    if not events or not rules.rules.trait_events:
        return
    beside = duck.beside()

    async def source(sink: Sink) -> None:
        for batch in place.batches(events):
            paths = await to_thread.run_sync(place.fetch, batch)
            for page in beside.pages(_carriers(rules, paths), _PAGE):
                lines = [csv_row(row) for event in page for row in _rows(rules, _Carrier(*event))]
                await sink("".join(lines).encode())
            place.drop(batch)

    await stage(duck, TRAIT, folder, source)


def _carriers(rules: Deployed, events: Sequence[Path]) -> str:
    types = ", ".join(quoted(name) for name in sorted(rules.rules.trait_events))
    return (
        "SELECT tenant_id, user_id, event_type, epoch_us(event_time), epoch_us(processing_time), deduplication_key, "
        f"payload FROM {read_parquet(events)} WHERE event_type IN ({types}) AND payload IS NOT NULL"
    )


def _rows(rules: Deployed, event: _Carrier) -> Iterator[tuple[object, ...]]:
    tenant, user, event_type, at, taken, event_id, payload = event
    fields = rules.contract.fields(event_type, payload)
    times = format_instant(at), format_instant(taken)
    for name in rules.rules.trait_events[event_type]:
        if (value := fields.get(name)) is not None:
            yield tenant, user, name, value_text(value), event_type, *times, event_id

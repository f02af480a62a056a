"""Which events of a batch are new, and what becomes of the others. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from worker.contract.reasons import Reason
from worker.contract.sameness import digest_of, same_body, stored_body
from worker.contract.transport import region_of
from worker.engine.batch import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.outcome import Subject
    from worker.contract.sameness import StoredBody
    from worker.engine.batch import Batch, Group, Item
    from worker.engine.state_cache import SubjectState


Producer = tuple[str, str]
"""Tenant and region."""


class Screened(NamedTuple):
    """Events of a batch by id and tenant: the first copy of each, and all further ones."""

    firsts: Mapping[tuple[str, str], Item]
    copies: Sequence[Item]
    erased: int
    """Events of erased users, which are left out."""


def screen(items: Sequence[Item], states: Mapping[Subject, SubjectState]) -> Screened:
    """Leave out events of erased users that name no one else, and part the first copy of each from further ones."""
    kept = items
    if any(state.erased for state in states.values()):
        kept = [item for item in items if _concerns_someone(item, states)]
    firsts: dict[tuple[str, str], Item] = {}
    copies = [item for item in kept if firsts.setdefault(item.key, item) is not item]
    return Screened(firsts, copies, len(items) - len(kept))


def _concerns_someone(item: Item, states: Mapping[Subject, SubjectState]) -> bool:
    """Tell whether an event is of a user who was not erased, or names one."""
    audience = item.audience
    return not states[audience.user].erased or any(not states[user].erased for user in audience.named)


class Arrivals(NamedTuple):
    """What has arrived: groups of events, how many of these are new in the ledger, and what the others are."""

    groups: Sequence[Group] = ()
    new: int = 0
    latest: int = 0
    """By the long way: the latest instant of a new event, in microseconds; 0 where none is. Of any event in the ledger
    where versions begin by the clock of the stream."""
    duplicates: int = 0
    erased: int = 0
    letters: Sequence[DeadLetter] = ()
    new_by_producer: Mapping[Producer, int] | None = None
    """How many of each tenant and region are new, by the long way; None where all are."""
    regions: frozenset[str] = frozenset()
    """As in `Batch`."""


def arrivals_of(
    batch: Batch,
    screened: Screened,
    known: Mapping[tuple[str, str], StoredBody],
    renamed: Mapping[tuple[str, str], Item] = MappingProxyType({}),
) -> tuple[list[Item], Arrivals]:
    """Return the new events, in the order of arrival, and the books of a batch; `known` is what the ledger had before.

    An id that stands for another event already is a dead letter. `renamed` are those events in which pseudonyms stand
    for erased users.
    """
    new = [renamed.get(key, item) for key, item in screened.firsts.items() if key not in known]
    duplicates, letters = 0, list(batch.letters)
    # What the ledger had already is compared with the ledger, not with what came before it in the batch.
    for item in chain([screened.firsts[key] for key in known], screened.copies):
        first = screened.firsts[item.key]
        stored = known.get(item.key)
        if stored is not None and stored.digest is not None:
            same = stored.digest == digest_of(item.event, item.written)
        else:
            same = same_body(item.event, item.written, stored or stored_body(first.event, first.written))
        if same:
            duplicates += 1
        else:
            detail = f"event_id: {item.event.id!r} is known with another body"
            letters.append(DeadLetter(item.message, item.element, Reason.ID_CONFLICT, detail, item.body))
    latest = max([item.event.at for item in new], default=0)
    by_producer = None if len(new) == batch.size else Counter([(one.event.tenant, region_of(one.row)) for one in new])
    return new, Arrivals(
        batch.groups, len(new), latest, duplicates, screened.erased, letters, by_producer, batch.regions
    )

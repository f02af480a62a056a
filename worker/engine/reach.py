"""Which ids may be archived: by their length, the greatest one that is. Pure.

Ids of one form have one length, as a rule, and those that grow with time (UUID version 7, ULID, numbers) are all behind
the reach while they are new. So a batch has nothing to look up in the archive. Ids without an order are looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.engine.batch import Group

Reach = dict[int, str]
"""By length in characters, the greatest archived id; texts are compared by code point."""


def read_reach(text: str) -> Reach:
    """Return the reach as the database has it, as JSON."""
    return msgspec.json.decode(text, type=dict[int, str])


def write_reach(reach: Mapping[int, str]) -> str:
    """Return a reach as JSON."""
    return msgspec.json.encode(reach).decode()


def extended(reach: Mapping[int, str], ids: Iterable[str]) -> Reach:
    """Return a reach with more ids in it."""
    found = dict(reach)
    for one in ids:
        if one > found.get(len(one), ""):
            found[len(one)] = one
    return found


def within(reach: Mapping[int, str], event_id: str) -> bool:
    """Tell whether an id may be archived."""
    return event_id <= reach.get(len(event_id), "")


def suspects(reach: Mapping[int, str], groups: Iterable[Group]) -> list[tuple[str, str]]:
    """Return id and tenant of those events that may be archived."""
    if not reach:
        return []
    return [
        (event.id, event.tenant)
        for group in groups
        for event in group.events
        if event.id <= reach.get(len(event.id), "")
    ]

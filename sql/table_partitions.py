"""The SQL that divides the big tables by hash: `table_partitions.sql` with a number and keys put in. Pure."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEAST: Final = 2
MOST: Final = 128
"""Partitions of a table: each costs every statement on it a little."""


class EventsBy(StrEnum):
    """What divides the ledger."""

    TENANT = "tenant"
    """All events of a tenant are in one partition, so that each statement of theirs reads one."""
    EVENT = "event"
    """The events of each tenant are in all partitions: for a tenant that is too large for one of them."""


KEYS: Final[Mapping[EventsBy, Mapping[str, str]]] = {
    EventsBy.TENANT: {
        "event": "tenant_id",
        "event_subject": "tenant_id",
        "progress": "tenant_id, subject",
        "checkpoint": "tenant_id, subject",
    },
    EventsBy.EVENT: {
        "event": "event_id",
        "event_subject": "tenant_id, subject",
        "progress": "tenant_id, subject",
        "checkpoint": "tenant_id, subject",
    },
}
"""The columns of the hash by table: always part of the primary key, as PostgreSQL demands."""


def dividing(number: int, by: EventsBy) -> str:
    """Return a script that divides each of the tables of KEYS into `number` partitions, within a transaction.

    Raises:
        ValueError: the number is not between LEAST and MOST.
    """
    if not LEAST <= number <= MOST:
        raise ValueError(f"expected {LEAST} to {MOST} partitions, not {number}")
    keys = KEYS[by]
    text = (files("sql") / "table_partitions.sql").read_text(encoding="utf-8")
    for place, value in (("tables", _literals(keys)), ("keys", _literals(keys.values())), ("number", str(number))):
        text = text.replace(f"{{{place}}}", value)
    return text


def _literals(texts: Iterable[str]) -> str:
    return ", ".join([f"'{text}'" for text in texts])

"""`just partitions-bench`: what an event costs on tables that are divided by hash, beside whole ones.

The events are those of one tenant: divided by tenant they all lie in one partition of the ledger.
"""

from __future__ import annotations

from typing import Final

from bench.group import Case, Division, measure
from sql.table_partitions import EventsBy

CASES: Final = tuple(
    Case(f"{number} partitions, events by {by}", 1, divided=Division(number, by))
    for by in EventsBy
    for number in (8, 32)
)

if __name__ == "__main__":
    measure(CASES, __doc__)

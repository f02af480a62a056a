"""Divides the big tables of an empty database by hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sql.table_partitions import KEYS, dividing

if TYPE_CHECKING:
    from sql.table_partitions import EventsBy
    from worker.store import Store


class DivisionError(Exception):
    """The tables cannot be divided as asked; the message says why."""


class _Divided(NamedTuple):
    """A table that is divided: `HASH (tenant_id)`, and into how many."""

    name: str
    key: str
    number: int


async def divide_tables(store: Store, number: int, by: EventsBy) -> bool:
    """Divide the big tables into so many partitions each; return False where they are divided so already.

    The schema must be there, and what is divided must be empty. All happens in one transaction, or nothing.

    Raises:
        DivisionError: there are rows already, or the tables are divided in another way.
        ValueError: the number of partitions is out of bounds.
        UnavailableError: the database is away, or the role does not own the tables.
    """
    script, keys = dividing(number, by), KEYS[by]
    async with store.transaction(patient=True) as session:
        await session.run("lock_migrations")
        await session.run("lock_big_tables")
        found = await session.rows(_Divided, "table_partitions", names=[*keys])
        if found == [_Divided(name, f"HASH ({key})", number) for name, key in sorted(keys.items())]:
            return False
        if found:
            said = ", ".join(f"{one.name}: {one.number} by {one.key}" for one in found)
            raise DivisionError(f"the tables are divided in another way: {said}")
        filled = await session.rows(str, "filled_tables")
        if filled:
            raise DivisionError(f"only an empty database can be divided, and there are rows in {', '.join(filled)}")
        await session.script(script)
        return True

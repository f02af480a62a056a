"""The schema of a database, held to the migrations of this release. Pure.

A database says which migrations it has, and each of them how old a release may be that runs beside it
(`compatible_from`): the number of a migration, which is the newest that such a release must know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sql
from sql.record import compared
from worker.store.errors import NotMigratedError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sql.record import Applied


class Books(NamedTuple):
    """What a database says of its record of migrations, and of the role that asks."""

    made: bool
    may_migrate: bool
    """Whether the role may make tables, and owns the record where there is one."""
    role: str


def missing(applied: Sequence[Applied]) -> list[sql.Migration]:
    """Return the migrations that a database does not have yet, in order.

    Raises:
        SchemaMismatchError: an applied migration was edited since, or is unknown and no release like this one may run
            beside it.
    """
    wanted = {one.number: one for one in sql.migrations()}
    found = compared(applied, {number: one.checksum for number, one in wanted.items()})
    for one in sorted([*found.edited, *found.barring]):
        if one in found.edited:
            raise SchemaMismatchError(f"migration {one.number:04d}_{one.name} was edited after it was applied")
        raise SchemaMismatchError(
            f"migration {one.number:04d}_{one.name} is unknown here: this worker is older than the schema, "
            "and cannot run beside it; run a newer release"
        )
    return [wanted[number] for number in found.lacking]


def to_be_migrated(books: Books, lacking: Sequence[sql.Migration]) -> NotMigratedError:
    """Return the error that tells an operator to migrate."""
    first = lacking[0]
    what = f"lacks migration {first.number:04d}_{first.name}" if books.made else "has no schema yet"
    if books.may_migrate:
        return NotMigratedError(f"the database {what}: run `ach migrate`")
    return NotMigratedError(
        f"the database {what}, and role {books.role} may not change it: run `ach migrate` as the owner of the tables, "
        "then the SQL that `ach grants` prints"
    )

"""The schema of a database, held to the migrations of this release. Pure.

A database says which migrations it has, and each of them how old a release may be that runs beside it
(`compatible_from`): the number of a migration, which is the newest that such a release must know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sql
from worker.store.errors import SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Books(NamedTuple):
    """What a database says of its record of migrations, and of the role that asks."""

    made: bool
    may_migrate: bool
    """Whether the role may make tables, and owns the record where there is one."""
    role: str


class Applied(NamedTuple):
    """A migration in the record of a database."""

    number: int
    name: str
    checksum: str
    compatible_from: int | None
    """None where a release wrote it that knew nothing of this: it is compatible with no older one."""


def missing(applied: Sequence[Applied]) -> list[sql.Migration]:
    """Return the migrations that a database does not have yet, in order.

    Raises:
        SchemaMismatchError: an applied migration was edited since, or is unknown and no release like this one may run
            beside it.
    """
    wanted = {migration.number: migration for migration in sql.migrations()}
    newest = max(wanted)
    for one in applied:
        migration = wanted.get(one.number)
        if migration is None:
            if one.compatible_from is None or one.compatible_from > newest:
                raise SchemaMismatchError(
                    f"migration {one.number:04d}_{one.name} is unknown here: this worker is older than the schema, "
                    "and cannot run beside it; run a newer release"
                )
        elif migration.checksum != one.checksum:
            raise SchemaMismatchError(f"migration {one.number:04d}_{one.name} was edited after it was applied")
    known = {one.number for one in applied}
    return [migration for number, migration in sorted(wanted.items()) if number not in known]


def to_be_migrated(books: Books, lacking: Sequence[sql.Migration]) -> SchemaMismatchError:
    """Return the error that tells an operator to migrate."""
    first = lacking[0]
    what = f"lacks migration {first.number:04d}_{first.name}" if books.made else "has no schema yet"
    if books.may_migrate:
        return SchemaMismatchError(f"the database {what}: run `ach migrate`")
    return SchemaMismatchError(
        f"the database {what}, and role {books.role} may not change it: run `ach migrate` as the owner of the tables, "
        "then the SQL that `ach grants` prints"
    )

"""The schema of a database, held to the migrations of this release."""

from __future__ import annotations

from typing import NamedTuple

import sql
from worker.store.errors import SchemaMismatchError


class Applied(NamedTuple):
    """A migration in the books of a database."""

    number: int
    name: str
    checksum: str


def missing(known: dict[int, Applied]) -> list[sql.Migration]:
    """Return the migrations that are not applied yet, in order; `known` are those that are, by number.

    Raises:
        SchemaMismatchError: an applied migration is unknown here, or was edited since.
    """
    wanted = {migration.number: migration for migration in sql.migrations()}
    for number, applied in known.items():
        migration = wanted.get(number)
        if migration is None:
            raise SchemaMismatchError(f"migration {number:04d}_{applied.name} is unknown here: this worker is older")
        if migration.checksum != applied.checksum:
            raise SchemaMismatchError(f"migration {number:04d}_{applied.name} was edited after it was applied")
    return [migration for number, migration in sorted(wanted.items()) if number not in known]

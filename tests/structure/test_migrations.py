"""Each migration says how old a release may be that runs beside it (docs/operating.md, "Upgrade")."""

from __future__ import annotations

import re

import pytest

import sql

FIRST = 16
"""Earlier ones were written before a migration could say it, and an applied one is never edited."""


@pytest.mark.parametrize(
    "migration", [one for one in sql.migrations() if one.number >= FIRST], ids=lambda one: one.name
)
def test_a_migration_says_which_releases_run_beside_it(migration: sql.Migration) -> None:
    first = migration.text.partition("\n")[0]
    said = re.fullmatch(r"-- compatible_from: (\d+)", first)
    assert said is not None, f"{migration.name}: the first line is {first!r}, expected `-- compatible_from: N`"
    assert int(said[1]) == migration.compatible_from <= migration.number


def test_earlier_ones_are_compatible_with_no_older_release() -> None:
    assert all(one.compatible_from == one.number for one in sql.migrations() if one.number < FIRST)

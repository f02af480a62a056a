"""The record that a database keeps of its migrations, beside those of a release. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Applied(NamedTuple):
    """A migration in the record of a database."""

    number: int
    name: str
    checksum: str
    compatible_from: int | None = None
    """The newest migration that a release must know to run beside it. None where a release wrote it that knew nothing
    of this: it is compatible with no older one."""


class Compared(NamedTuple):
    """The migrations of a database beside those of a release, each list in the order of the database."""

    lacking: list[int]
    """Numbers of those that the release has and the database has not, in order."""
    edited: list[Applied]
    """Those that say something else than in this release."""
    newer: list[Applied]
    """Those that the release does not know."""
    barring: list[Applied]
    """Those of them that this release may not run beside."""


def compared(applied: Sequence[Applied], checksums: Mapping[int, str]) -> Compared:
    """Compare what a database has with a release: the checksum of each of its migrations, by number."""
    newer = [one for one in applied if one.number not in checksums]
    return Compared(
        sorted(checksums.keys() - {one.number for one in applied}),
        [one for one in applied if checksums.get(one.number, one.checksum) != one.checksum],
        newer,
        [one for one in newer if one.compatible_from is None or one.compatible_from > max(checksums)],
    )

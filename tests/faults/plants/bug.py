"""What a planted bug is."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple


class Edit(NamedTuple):
    """`old`, which occurs once in the definition that `at` names, becomes `new`.

    How `at` is read, and what counts as an occurrence: tests/faults/plants/anchors.py.
    """

    at: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """A wrong change of the source, and the tests that should notice it."""

    name: str
    breaks: str
    """The promise that no longer holds."""
    _: KW_ONLY
    at: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Paths below tests/, the most likely to fail first."""
    also: tuple[Edit, ...] = ()
    """Further edits, for a bug that changes more than one definition."""

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Return all edits, the first one included."""
        return (Edit(self.at, self.old, self.new), *self.also)

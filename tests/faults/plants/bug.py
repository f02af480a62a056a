"""What a planted bug is."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """A wrong change: `old`, which occurs once in the file at `path`, becomes `new`."""

    name: str
    breaks: str
    """What is no longer so."""
    path: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Below tests/, those first that should find it."""

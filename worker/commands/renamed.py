"""A word to a person who names an achievement by an old name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.report import screen

if TYPE_CHECKING:
    from worker.engine.renames import Renames


def tell_renamed(renames: Renames, name: str) -> str:
    """Say what an achievement is called now that was named by an old name; return its first name."""
    said = renames.correction(name)
    if said is not None:
        screen.err().say(said)
    return renames.first(name)

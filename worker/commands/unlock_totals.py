"""A table of unlocks: how many of each achievement and tier, and how many subjects have them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker.report import screen

if TYPE_CHECKING:
    from dsl.outcome import Unlock


def print_unlock_totals(unlocks: list[Unlock]) -> None:
    """Print the table."""
    totals = Counter((unlock.achievement, unlock.tier or "") for unlock in unlocks)
    subjects = {key: len({u.subject for u in unlocks if (u.achievement, u.tier or "") == key}) for key in totals}
    rows = [(name, tier, f"{totals[name, tier]:,}", f"{subjects[name, tier]:,}") for name, tier in sorted(totals)]
    title = f"{screen.plural(len(unlocks), 'unlock')}"
    screen.table(title, ["achievement", "tier", "unlocks", "subjects"], rows, right=(2, 3))

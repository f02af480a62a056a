"""Which achievements a subject may see. Pure.

`reveal` hides an achievement until something has happened, and from then on it stays visible. What an unlock has shown
stays so by itself: a granted one is never deleted. That the progress was once at N % is in no state, so it is written
down by the reader who shows it first (`Sight.fresh`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from worker.engine.standing import FULL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from dsl.syntax import Reveal
    from worker.engine.entries import Catalogue, Key
    from worker.engine.reconcile import Stored
    from worker.engine.standing import Item


class Sight(NamedTuple):
    """What may be seen, and what of that is to be written down because nothing else remembers it."""

    visible: frozenset[Key]
    fresh: tuple[Key, ...]
    """In order."""


def sight(catalogue: Catalogue, items: Iterable[Item], rows: Iterable[Stored], shown: AbstractSet[Key]) -> Sight:
    """Return what a subject may see of its items.

    `rows` are all its unlocks, `shown` what has been written down as shown.
    """
    granted = {(row.achievement, row.tier or None) for row in rows if row.granted_at is not None}
    visible: set[Key] = set()
    fresh: set[Key] = set()
    for item in items:
        key = item.achievement, item.tier
        entry = catalogue.entry(*key, item.version)
        if entry is None:
            continue
        if key in granted or _is_revealed(entry.reveal, key, granted, shown):
            visible.add(key)
        elif _has_come_to(entry.reveal, item):
            visible.add(key)
            fresh.add(key)
    return Sight(frozenset(visible), tuple(sorted(fresh, key=_order)))


def _is_revealed(reveal: Reveal, key: Key, granted: AbstractSet[Key], shown: AbstractSet[Key]) -> bool:
    match reveal.kind:
        case "always":
            return True
        case "after" if reveal.after is not None:
            name, tier = reveal.after.achievement.text, reveal.after.tier
            return any(one[0] == name and (tier is None or one[1] == tier.text) for one in granted)
        case "at":
            return key in shown
        case _:
            return False


def _has_come_to(reveal: Reveal, item: Item) -> bool:
    if reveal.percent is None:
        return False
    full = item.status in FULL or item.reached.held_back
    return full or item.reached.percent >= reveal.percent


def _order(key: Key) -> tuple[str, str]:
    return key[0], key[1] or ""

"""What an achievement is made of, and what it names: its conditions, other achievements, traits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.expressions import refs
from dsl.unlocks import asked_for, named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dsl.syntax import Achievement, Condition, Predicate


def tier_conditions(achievement: Achievement) -> Iterator[tuple[str | None, Condition]]:
    """Yield (tier, condition): the one `when` under None, or every tier."""
    if achievement.when is not None:
        yield None, achievement.when
    for tier in achievement.tiers:
        yield tier.name.text, tier.when


def references(achievement: Achievement) -> frozenset[str]:
    """Return the achievements that one names in `after` and `unlocked`."""
    return named(achievement)


def traits_of(predicate: Predicate) -> set[str]:
    """Return the traits that a `for` reads."""
    return {ref.name for ref in refs(predicate)}


def in_order(achievements: Mapping[str, tuple[Achievement, ...]]) -> list[str]:
    """Return names so that each follows those it names; alphabetical where free."""
    done: dict[str, None] = {}
    stack: list[tuple[str, Iterator[str]]] = []
    for root in sorted(achievements):
        if root in done:
            continue
        stack.append((root, iter(sorted(_known(achievements, root)))))
        while stack:
            name, others = stack[-1]
            other = next((other for other in others if other not in done), None)
            if other is None:
                done[name] = None
                stack.pop()
            else:
                stack.append((other, iter(sorted(_known(achievements, other)))))
    return list(done)


def _known(achievements: Mapping[str, tuple[Achievement, ...]], name: str) -> Iterable[str]:
    asked = frozenset[str]().union(*map(asked_for, achievements[name]))
    return asked & achievements.keys()

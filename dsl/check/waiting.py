"""Achievements that wait for another one that cannot be earned before their own end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.syntax import Combine, Unlocked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dsl.check.names import Declared
    from dsl.check.problems import Problems
    from dsl.syntax import Achievement, Condition, Instant, Name

_EVER: Final = -(2**63)
_FOR_EVER: Final = 2**63


def check_waiting(achievements: Mapping[str, Sequence[Declared]], problems: Problems) -> None:
    """Report every achievement that waits for one that comes too late. No achievement may wait for itself."""
    if not any(_begins(each.node) for versions in achievements.values() for each in versions):
        return
    earliest = _Earliest(achievements)
    for versions in achievements.values():
        for each, until in zip(versions, _ends([other.node for other in versions]), strict=True):
            for name, tier in _required(each.node):
                begin = earliest.of(name.text, None if tier is None else tier.text)
                if begin >= until and begin > _EVER:
                    wanted = name.text if tier is None else f"{name.text}.{tier.text}"
                    message = f"`{wanted}` cannot be earned before this has ended, so this is never earned"
                    problems.of(each.source).warn("ACH421", name.span, message)


def _begins(node: Achievement) -> bool:
    return node.since is not None or (node.active is not None and node.active.start is not None)


def _low(node: Achievement) -> int:
    return max((each.us for each in (node.since, node.active and node.active.start) if each), default=_EVER)


def _ends(versions: Sequence[Achievement]) -> Iterator[int]:
    """Yield for each version the instant from which it grants no more."""
    for node, after in zip(versions, [*versions[1:], None], strict=True):
        ends: list[Instant | None] = [after and after.since, node.active and node.active.end]
        yield min((each.us for each in ends if each is not None), default=_FOR_EVER)


def _required(node: Achievement) -> Iterator[tuple[Name, Name | None]]:
    """Yield what must be earned before: all of `after`, and every `unlocked` that the condition cannot do without."""
    for target in node.after:
        yield target.achievement, target.tier
    if node.when is not None:
        yield from _unlocked(node.when)


def _unlocked(node: Condition) -> Iterator[tuple[Name, Name | None]]:
    if isinstance(node, Unlocked):
        yield node.achievement, node.tier
    elif isinstance(node, Combine) and node.k == len(node.parts):
        for part in node.parts:
            yield from _unlocked(part)


class _Earliest:
    """The first instant at which each achievement and tier could be earned at all."""

    def __init__(self, achievements: Mapping[str, Sequence[Declared]]) -> None:
        self._achievements = achievements
        self._known: dict[tuple[str, str | None], int] = {}

    def of(self, name: str, tier: str | None) -> int:
        """Return that instant; what it waits for is found first, without recursion: chains may be long."""
        waiting = [(name, tier)]
        while waiting:
            key = waiting[-1]
            open_ones = [other for other in self._waits_for(*key) if other not in self._known]
            if open_ones and key not in self._known:
                waiting.extend(open_ones)
                continue
            self._known.setdefault(key, self._begin(*key))
            waiting.pop()
        return self._known[name, tier]

    def _versions(self, name: str, tier: str | None) -> Iterator[Achievement]:
        for each in self._achievements.get(name, ()):
            if tier is None or any(one.name.text == tier for one in each.node.tiers):
                yield each.node

    def _waits_for(self, name: str, tier: str | None) -> list[tuple[str, str | None]]:
        return [
            (other.text, None if rank is None else rank.text)
            for node in self._versions(name, tier)
            for other, rank in _required(node)
        ]

    def _begin(self, name: str, tier: str | None) -> int:
        """Return the earliest begin over the versions; each begins when all that it waits for can be there."""
        begins: list[int] = []
        for node in self._versions(name, tier):
            others = ((other.text, None if rank is None else rank.text) for other, rank in _required(node))
            begins.append(max([_low(node), *(self._known.get(other, _EVER) for other in others)]))
        return min(begins, default=_EVER)

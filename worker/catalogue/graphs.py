"""The achievements of a family as pictures: what they count, and the achievements that they ask for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.graph import Arrow, Box, Picture, named
from worker.catalogue.anchors import anchor_of, event_anchor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dsl.schema import Rules

MOST: Final = 40
"""Achievements of one picture, besides those that they ask for: a larger family has several."""


class Graph(NamedTuple):
    """One picture and its title. The id of a box is the anchor of what it stands for."""

    picture: Picture
    title: str

    @property
    def asks(self) -> bool:
        """Whether an achievement of it asks for another one."""
        return any(arrow.label for arrow in self.picture.arrows)


def graphs(rules: Rules, counts: Mapping[str, Sequence[str]], names: Sequence[str], heading: str) -> Iterator[Graph]:
    """Yield the pictures of some achievements; `counts` has the events that each counts.

    Achievements that neither count an event nor ask for another one have none.
    """
    for begin in range(0, len(names), MOST):
        part = names[begin : begin + MOST]
        picture = _picture(rules, counts, part)
        where = f", {begin + 1} to {begin + len(part)}" if len(names) > MOST else ""
        if picture.arrows:
            yield Graph(picture, f"{heading}{where}: what counts towards what")


def _picture(rules: Rules, counts: Mapping[str, Sequence[str]], names: Iterable[str]) -> Picture:
    own = dict.fromkeys(names)
    asked = {name: dict.fromkeys(named(rules.achievements[name][-1])) for name in own}
    beside = [other for pairs in asked.values() for other, _ in pairs]
    events = dict.fromkeys(event for name in own for event in counts.get(name, ()))
    boxes = [
        *(Box(event_anchor(event), "event", event) for event in events),
        *(Box(anchor_of(name), "achievement", name) for name in dict.fromkeys([*own, *beside])),
    ]
    arrows = [Arrow(event_anchor(event), anchor_of(name)) for name in own for event in counts.get(name, ())]
    arrows.extend(
        Arrow(anchor_of(other), anchor_of(name), how) for name, pairs in asked.items() for other, how in pairs
    )
    return Picture(tuple(boxes), tuple(arrows))

"""Where the boxes of a graph stand: in layers from left to right, each behind all that lead to it. Pure.

A longest path gives the layer, the mean place of the neighbours the order within it. Arrows that pass a layer get a
place there, so that they run between the boxes. Nothing here depends on hashes or chance, and everything is bounded:
the same graph always gets the same picture, and thousands of boxes take a moment.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

HEIGHT: Final = 28
"""Pixels of a box."""
GAP: Final = 10
"""Pixels between two boxes of a layer."""
BETWEEN: Final = 48
"""Pixels between two layers."""
_LANE: Final = 4
"""Pixels of an arrow that passes a layer."""
MOST_LANES: Final = 3000
"""Places for arrows that pass layers; further ones run straight, behind the boxes."""
_SWEEPS: Final = 6

Edge = tuple[str, str]


class Place(NamedTuple):
    """A box: its left upper corner and its width, in pixels."""

    x: int
    y: int
    width: int


class Point(NamedTuple):
    """A point of an arrow, in pixels."""

    x: int
    y: int


class Layout(NamedTuple):
    """Where everything stands: the boxes, the points of each arrow in the order given, and the size of all."""

    boxes: dict[str, Place]
    arrows: tuple[tuple[Point, ...], ...]
    width: int
    height: int


def laid_out(widths: Mapping[str, int], edges: Sequence[Edge]) -> Layout:
    """Return where boxes stand that need these widths at least; an edge leads from its first to its second."""
    known = [edge for edge in edges if edge[0] != edge[1]]
    depth = _depths(widths, known)
    grid = _Grid(widths, depth, edges)
    grid.sort()
    return grid.layout()


def _depths(nodes: Iterable[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Return the layer of each node; those in a circle stand where what leads into it puts them."""
    after, waits = _neighbours(edges), defaultdict[str, int](int)
    for _, end in edges:
        waits[end] += 1
    depth = dict.fromkeys(nodes, 0)
    ready = [node for node in depth if not waits[node]]
    sources = list(ready)
    for node in ready:  # grows
        for end in after[node]:
            depth[end] = max(depth[end], depth[node] + 1)
            waits[end] -= 1
            if not waits[end]:
                ready.append(end)
    for node in sources:  # close to what they lead to
        if after[node]:
            depth[node] = max(0, min(depth[end] for end in after[node]) - 1)
    return depth


def _neighbours(edges: Iterable[Edge]) -> defaultdict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for start, end in edges:
        found[start].append(end)
    return found


class _Grid:
    """The layers, each a list of nodes from top to bottom; lanes are nodes too."""

    def __init__(self, widths: Mapping[str, int], depth: dict[str, int], edges: Sequence[Edge]) -> None:
        self.widths = widths
        self.depth = depth
        self.layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
        for node in widths:
            self.layers[depth[node]].append(node)
        self.ways = [self._way(edge) for edge in edges]
        links = dict.fromkeys(pair for way in self.ways for pair in pairwise(way) if pair[0] != pair[1])
        self.after = _neighbours(links)
        self.before = _neighbours((end, start) for start, end in links)
        self.top: dict[str, int] = {}

    def _way(self, edge: Edge) -> tuple[str, ...]:
        """Return the nodes on the way of an arrow, with new lanes between."""
        start, end = edge
        passed = range(self.depth[start] + 1, self.depth[end])
        if len(self.depth) - len(self.widths) + len(passed) > MOST_LANES:
            return edge
        lanes = [f"{start}\0{end}\0{layer}" for layer in passed]
        for lane, layer in zip(lanes, passed, strict=True):
            if lane not in self.depth:
                self.depth[lane] = layer
                self.layers[layer].append(lane)
        return (start, *lanes, end)

    def sort(self) -> None:
        """Order the layers, so that few arrows cross, and give each node its height."""
        for layer in self.layers:
            self._stack(layer, dict.fromkeys(layer, 0))
        for sweep in range(_SWEEPS):
            # The last sweeps keep the order and only move what stands far from its neighbours.
            self._sweep(reorder=sweep < _SWEEPS - 2, forward=sweep % 2 == 0)
        least = min(self.top.values(), default=0)
        self.top = {node: top - least for node, top in self.top.items()}

    def _sweep(self, *, reorder: bool, forward: bool) -> None:
        sides = self.before if forward else self.after
        for layer in self.layers if forward else reversed(self.layers):
            wanted = {node: self._mean(sides[node], self.top[node]) for node in layer}
            if reorder:
                layer.sort(key=lambda node: wanted[node])
            self._stack(layer, wanted)

    def _mean(self, nodes: Sequence[str], instead: int) -> int:
        return sum(self.top[node] for node in nodes) // len(nodes) if nodes else instead

    def _stack(self, layer: Sequence[str], wanted: Mapping[str, int]) -> None:
        """Place a layer as wanted, as far as its order and the heights allow: halfway between pushed down and up."""
        down = self._pushed(layer, lambda node: wanted[node])
        up = self._pushed(list(reversed(layer)), lambda node: -(wanted[node] + self._height(node)))
        for node in layer:
            self.top[node] = (down[node] - up[node] - self._height(node)) // 2

    def _pushed(self, layer: Sequence[str], wanted: Callable[[str], int]) -> dict[str, int]:
        found: dict[str, int] = {}
        free: int | None = None
        for node in layer:
            found[node] = wanted(node) if free is None else max(free, wanted(node))
            free = found[node] + self._height(node) + GAP
        return found

    def _height(self, node: str) -> int:
        return HEIGHT if node in self.widths else _LANE

    def layout(self) -> Layout:
        """Return where everything stands."""
        columns = [max((self.widths.get(node, 0) for node in layer), default=0) for layer in self.layers]
        lefts = [sum(columns[:at]) + at * BETWEEN for at in range(len(columns))]
        boxes = {
            # All of a layer are as wide as the widest: no arrow runs behind a box beside its own.
            node: Place(lefts[self.depth[node]], self.top[node], columns[self.depth[node]])
            for node in self.widths
        }
        arrows = tuple(tuple(self._points(way, lefts, columns, boxes)) for way in self.ways)
        height = max((top + self._height(node) for node, top in self.top.items()), default=0)
        return Layout(boxes, arrows, lefts[-1] + columns[-1], height)

    def _points(
        self, way: Sequence[str], lefts: Sequence[int], columns: Sequence[int], boxes: Mapping[str, Place]
    ) -> Iterable[Point]:
        first, last = boxes[way[0]], boxes[way[-1]]
        yield Point(first.x + first.width, first.y + HEIGHT // 2)
        for lane in way[1:-1]:
            at, y = self.depth[lane], self.top[lane] + _LANE // 2
            yield Point(lefts[at], y)
            yield Point(lefts[at] + columns[at], y)
        yield Point(last.x, last.y + HEIGHT // 2)

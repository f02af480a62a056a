"""Where the boxes of a graph stand."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.report.layers import GAP, HEIGHT, MOST_LANES, Layout, laid_out

NODES = [f"n{number}" for number in range(9)]
EDGES = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=25)


def drawn(edges: list[tuple[str, str]], nodes: list[str] = NODES) -> Layout:
    return laid_out(dict.fromkeys(nodes, 50), edges)


@given(EDGES)
def test_boxes_never_overlap_and_stay_inside(edges: list[tuple[str, str]]) -> None:
    """Circles and loops too: rules have none, and a picture must not hang on one."""
    found = drawn(edges)
    for one, other in combinations(found.boxes.values(), 2):
        apart = one.x + one.width < other.x or other.x + other.width < one.x
        assert apart or abs(one.y - other.y) >= HEIGHT + GAP
    for box in found.boxes.values():
        assert 0 <= box.x <= box.x + box.width <= found.width
        assert 0 <= box.y <= box.y + HEIGHT <= found.height
    for (start, end), points in zip(edges, found.arrows, strict=True):
        assert points[0].x == found.boxes[start].x + found.boxes[start].width
        assert points[-1].x == found.boxes[end].x
    assert found == drawn(edges)


@given(EDGES.map(lambda edges: [edge for edge in edges if edge[0] < edge[1]]))
def test_arrows_lead_to_the_right(edges: list[tuple[str, str]]) -> None:
    for points in drawn(edges).arrows:
        assert all(one.x <= other.x for one, other in pairwise(points))
        assert points[0].x < points[-1].x


def test_an_arrow_passes_between_the_boxes() -> None:
    found = drawn([("n0", "n1"), ("n1", "n2"), ("n0", "n2")], NODES[:3])
    passed, middle = found.boxes["n1"], found.arrows[2][1]
    assert middle.x == passed.x
    assert not passed.y <= middle.y <= passed.y + HEIGHT


def test_the_work_is_bounded() -> None:
    names = [f"n{number}" for number in range(60)]
    edges = [(one, other) for one, other in combinations(names, 2) if (int(one[1:]) + int(other[1:])) % 3]
    found = drawn(edges, names)
    assert sum(len(points) - 2 for points in found.arrows) <= 2 * MOST_LANES
    assert len(found.boxes) == 60


def test_nothing_is_drawn_of_nothing() -> None:
    assert drawn([], []) == Layout({}, (), 0, 0)

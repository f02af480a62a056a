"""Lines come out in order, whether they fit in memory or wait in files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.sorted_lines import SortedLines

LINES = st.lists(st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"-")), max_size=8), max_size=12)


@given(LINES, st.integers(0, 60))
def test_lines_come_out_in_order(added: list[list[bytes]], in_memory: int) -> None:
    with SortedLines(in_memory) as lines:
        for some in added:
            lines.add(some)
        found = [*lines]
    assert found == sorted(line for some in added for line in some)

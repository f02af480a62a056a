"""Values by size, as bars of text. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LONGEST: Final = 40
"""Characters of the longest bar."""


def histogram(values: Sequence[float], bounds: Sequence[float], name: Callable[[float], str]) -> Iterator[str]:
    """Yield a line for each bucket from the first to the last that has values.

    `bounds` are the inclusive upper bounds of the buckets, ascending; `name` writes one. What lies above the last one
    has a line of its own. Every bucket with a value has a bar.
    """
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    filled = [at for at, count in enumerate(counts) if count]
    if not filled:
        return
    rows = range(filled[0], filled[-1] + 1)
    labels = [f"<= {name(bounds[at])}" if at < len(bounds) else f"> {name(bounds[-1])}" for at in rows]
    widths = max(map(len, labels)), max(len(f"{counts[at]:,}") for at in rows)
    most = max(counts)
    for at, label in zip(rows, labels, strict=True):
        bar = "#" * -(-counts[at] * LONGEST // most)
        yield f"{label:>{widths[0]}}  {counts[at]:>{widths[1]},}  {bar}".rstrip()

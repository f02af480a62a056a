"""A histogram as text."""

from __future__ import annotations

from worker.report.bars import LONGEST, histogram

BOUNDS = (1.0, 2.0, 5.0, 10.0)


def lines(*values: float) -> list[str]:
    return list(histogram(values, BOUNDS, lambda value: f"{value:g} s"))


def test_bars() -> None:
    assert lines(2.0, 1.5, 7, 30, *[1.1] * 8) == [
        f" <= 2 s  10  {'#' * LONGEST}",
        " <= 5 s   0",
        "<= 10 s   1  ####",
        " > 10 s   1  ####",
    ]


def test_the_smallest_number_is_seen() -> None:
    assert lines(*[0.5] * 9_999, 1.5)[1] == "<= 2 s      1  #"


def test_nothing() -> None:
    assert not lines()

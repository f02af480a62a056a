"""Figures as people read them."""

from __future__ import annotations

import pytest

from worker.analysis.questions import Kind
from worker.analysis.shown import figure


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Kind.COUNT, 1234567, "1,234,567"),
        (Kind.SECONDS, 59, "59 s"),
        (Kind.SECONDS, 90, "1.5 min"),
        (Kind.SECONDS, 5400, "1.5 h"),
        (Kind.SECONDS, 86_400 * 12, "12.0 d"),
        (Kind.SECONDS, -90, "-1.5 min"),
        (Kind.MILLIS, 999, "999 ms"),
        (Kind.MILLIS, -5, "-5 ms"),
        (Kind.MILLIS, 1250, "1.3 s"),
        (Kind.MILLIS, 86_400_000, "1.0 d"),
    ],
)
def test_a_figure_is_in_the_largest_unit_that_it_fills(kind: Kind, value: int, text: str) -> None:
    assert figure(kind, value) == text

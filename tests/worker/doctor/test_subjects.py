"""How patterns of NATS subjects relate."""

from __future__ import annotations

import pytest

from worker.doctor.subjects import covers, overlap


@pytest.mark.parametrize(
    ("pattern", "other", "covered", "touched"),
    [
        ("events.>", "events.>", True, True),
        (">", "events.>", True, True),
        ("events.*.>", "events.>", False, True),
        ("events.*", "events.>", False, True),
        ("events.*", "events.raw", True, True),
        ("events.>", "events", False, False),
        ("events", "events", True, True),
        ("events.a.>", "events.*.b", False, True),
        ("*.>", "events.>", True, True),
        ("lane.>", "events.>", False, False),
        ("events.a", "events.a.b", False, False),
        ("events.a.b", "events.a", False, False),
        ("*.b", "a.*", False, True),
    ],
)
def test_patterns(pattern: str, other: str, covered: bool, touched: bool) -> None:
    assert covers(pattern, other) is covered
    assert overlap(pattern, other) is touched
    assert overlap(other, pattern) is touched

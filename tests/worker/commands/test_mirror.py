"""When the next run of a mirror comes."""

from __future__ import annotations

import pytest

from worker.commands.mirror import pause


@pytest.mark.parametrize(
    ("every", "took", "share", "seconds"),
    [
        (60, 1, 5, 59),
        (60, 3, 5, 57),
        (60, 4, 5, 76),  # 4 s are 5 % of 80 s
        (1, 10, 50, 10),
        (60, 50, 100, 10),
        (60, 70, 100, 0),
    ],
)
def test_runs_take_no_more_than_their_share_of_the_time(every: int, took: int, share: int, seconds: int) -> None:
    assert pause(every, took, share) == seconds

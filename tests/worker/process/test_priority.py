"""A process in the background steps back before others, and never forward."""

from __future__ import annotations

import subprocess
import sys

import pytest

from worker.process.priority import LOWEST


@pytest.mark.parametrize(
    ("before", "asked", "after"), [(0, 0, 0), (0, 10, 10), (5, 10, 10), (15, 10, 15), (0, LOWEST, LOWEST)]
)
def test_a_process_has_the_niceness_it_asked_for_unless_it_had_more(before: int, asked: int, after: int) -> None:
    program = f"import os; from worker.process.priority import step_back; first = os.nice({before}); step_back({asked})"
    said = subprocess.run(
        [sys.executable, "-c", f"{program}; print(first, os.nice(0))"], capture_output=True, text=True, check=True
    )
    begun, ended = map(int, said.stdout.split())
    assert ended == max(begun, after)

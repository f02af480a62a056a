"""What is announced of what a change grants."""

from __future__ import annotations

import pytest

from worker.engine.change import Announced, Policy


@pytest.mark.parametrize(
    ("policy", "silent"),
    [
        (Policy(), [False, False, False]),
        (Policy(Announced.SINCE, 5), [True, False, False]),
        (Policy(Announced.NONE), [True, True, True]),
    ],
)
def test_a_policy_silences(policy: Policy, silent: list[bool]) -> None:
    assert [policy.silences(at) for at in (4, 5, 6)] == silent

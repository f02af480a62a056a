from __future__ import annotations

from math import inf
from uuid import UUID

import pytest

from worker.engine import refusals
from worker.engine.refusals import FIRST_SECONDS, LONGEST_SECONDS, FullError, Refusals
from worker.retry import delays

ONE, TWO = UUID(int=1), UUID(int=2)


def test_what_is_refused_rests_and_is_due_again() -> None:
    refused = Refusals(delays)
    assert refused.next_at == inf
    seconds = refused.put_off(ONE, 100.0)
    assert 0 < seconds <= FIRST_SECONDS
    assert (refused.resting(100.0), refused.due(100.0)) == ([ONE], set())
    assert refused.next_at == 100.0 + seconds
    assert (refused.resting(100.0 + seconds), refused.due(100.0 + seconds)) == ([], {ONE})
    assert refused.all() == [ONE]


def test_each_attempt_is_longer_in_coming_and_none_is_put_off_for_ever() -> None:
    refused = Refusals(delays)
    waits = [refused.put_off(ONE, 0.0) for _ in range(20)]
    assert waits[3] > waits[0]
    assert LONGEST_SECONDS / 2 <= waits[-1] <= LONGEST_SECONDS
    # Another one begins from the beginning.
    assert refused.put_off(TWO, 0.0) <= FIRST_SECONDS


def test_what_is_announced_is_forgotten() -> None:
    refused = Refusals(delays)
    for unlock_id in (TWO, ONE):
        refused.put_off(unlock_id, 0.0)
    assert refused.resting(0.0) == [ONE, TWO]
    refused.forget([ONE, UUID(int=3)])
    assert (len(refused), ONE in refused, TWO in refused) == (1, False, True)


def test_no_more_than_so_many_wait_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST", 1)
    refused = Refusals(delays)
    refused.put_off(ONE, 0.0)
    with pytest.raises(FullError):
        refused.put_off(TWO, 0.0)
    refused.put_off(ONE, 1.0)

"""`ach workers` names states as `ach status`, the console and the metrics do."""

from __future__ import annotations

from uuid import UUID

import pytest

from worker.commands.workers import Known, state
from worker.console.pulse import WorkerSeen


@pytest.mark.parametrize(
    ("stopped", "seconds", "said"),
    [(False, 29, "at work"), (False, 31, "lost"), (True, 1, "ended"), (True, 31, "ended")],
)
def test_states_have_one_name(said: str, seconds: int, *, stopped: bool) -> None:
    now = 10**15
    seen_at = now - seconds * 1_000_000
    known = Known(UUID(int=1), "app-1", "0.1.0", 0, seen_at, 1, 0, 0, stopped)
    assert state(known, now) == WorkerSeen("app-1", "0.1.0", 0, seen_at, 1, 0, 0, stopped).state(now) == said

"""The engines of the integration tests, for those that hurt them."""

from __future__ import annotations

import pytest

from tests.faults import tally
from tests.integration.conftest import engine, own_engine

__all__ = ["engine", "own_engine"]


@pytest.fixture(autouse=True)
def _timed() -> None:
    """Let tallies tell how long their test took."""
    tally.begin()

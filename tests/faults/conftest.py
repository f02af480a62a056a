"""The engines of the integration tests, for those that hurt them."""

from __future__ import annotations

from tests.integration.conftest import engine, own_engine

__all__ = ["engine", "own_engine"]

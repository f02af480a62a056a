from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run here in the process of the tests: what the shell around it has set is not meant for them."""
    for name in os.environ:
        if name.startswith("ACH_"):
            monkeypatch.delenv(name)

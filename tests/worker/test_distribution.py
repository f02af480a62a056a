"""The hint that names an extra installs it from where this came from: `ach-engine` is not on every index."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING

import pytest

from worker.distribution import install

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'ach-engine[console]'"),
        ({"url": "file:///home/ann/my%20ach", "dir_info": {}}, "pip install '/home/ann/my ach[console]'"),
        ({"url": "file:///home/ann/ach", "dir_info": {"editable": True}}, "pip install -e '/home/ann/ach[console]'"),
        ({"url": "file:///tmp/ach.whl", "archive_info": {}}, "pip install '/tmp/ach.whl[console]'"),
        ({"url": "https://git.example/ach", "vcs_info": {"vcs": "git"}}, "pip install 'ach-engine[console]'"),
    ],
)
def test_an_extra_comes_from_where_this_came(
    origin: object, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if origin is not None:
        (tmp_path / "direct_url.json").write_text(json.dumps(origin))

    def distribution(_name: str) -> importlib.metadata.Distribution:
        return importlib.metadata.PathDistribution(tmp_path)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    assert install("console") == command


def test_one_file_without_metadata_names_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    assert install("lsp") == "pip install 'ach-engine[lsp]'"

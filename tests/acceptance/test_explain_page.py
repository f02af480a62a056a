"""Every command of docs/explain.md prints what the page says it prints."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from tests.acceptance.conftest import ROOT
from worker.cli import main

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = re.findall(r"```console\n\$ ach (.*?)\n(.*?)```", (ROOT / "docs" / "explain.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize(("command", "printed"), BLOCKS)
def test_the_page_shows_real_output(
    command: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fixtures").symlink_to(ROOT / "fixtures")
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(main, shlex.split(command), catch_exceptions=False)
    assert [line.rstrip() for line in ran.stdout.rstrip().split("\n")] == printed.rstrip().split("\n")


def test_the_page_shows_something() -> None:
    assert len(BLOCKS) >= 5

"""What `ach dev` and `ach demo --keep` print for another shell."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from worker.commands.pages import exports, path_lines
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SETTINGS = msgspec.structs.replace(
    Settings(), nats_url="nats://127.0.0.1:1", database_url="postgresql://a@/b?host=/c&port=2"
)
SERVERS = '  export NATS_URL=nats://127.0.0.1:1\n  export DATABASE_URL="postgresql://a@/b?host=/c&port=2"\n'


def test_another_shell_finds_ach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "an environment" / "ach"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    lines = exports(SETTINGS)
    assert lines.startswith(SERVERS)
    ran = subprocess.run(["/bin/sh", "-c", f"{lines}\nach"], capture_output=True, text=True, check=True)
    assert ran.stdout == "found\n"
    assert [f"  {line}\n" for line in path_lines()] == [lines.removeprefix(SERVERS)]


def test_a_shell_that_finds_ach_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ach"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert exports(SETTINGS) == SERVERS
    assert path_lines() == []

"""The command line as a person uses it: a process, its output, its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from tests.acceptance.herd import Herd, Ran

ACH = Path(sys.executable).with_name("ach")
ROOT = Path(__file__).parent.parent.parent


class Shell:
    """Runs `ach` in a folder, with an environment of its own."""

    def __init__(self, folder: Path, commands: Herd) -> None:
        self.folder = folder
        self._commands = commands
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("ACH_", "NATS_", "DATABASE_"))
        }
        self.environment = {**kept, "NO_COLOR": "1", "COLUMNS": "160"}

    def ach(self, *args: str | Path, stdin: bytes = b"") -> Ran:
        """Run a command to its end."""
        return self._commands.run(tuple(map(str, args)), self.environment, self.folder, stdin=stdin)

    def ach_all(self, jobs: Iterable[tuple[tuple[str, ...], Mapping[str, str]]]) -> list[Ran]:
        """Run commands many at a time, each with further variables; return what they did, in the order given."""
        return self._commands.run_all(((args, {**self.environment, **more}) for args, more in jobs), self.folder)

    def ach_on(self, terminal: str, *args: str) -> int:
        """Run a command on a terminal; return its exit code."""
        return self._commands.run(args, self.environment, self.folder, terminal=terminal).code

    @contextmanager
    def running(self, *args: str | Path, without: str | None = None) -> Generator[subprocess.Popen[str]]:
        """Run a command beside a block; its standard error comes with its output. It does not outlive the block.

        `without` is a package that the command cannot import.
        """
        program: list[str | Path] = [ACH]
        if without is not None:
            hidden = f"import sys; sys.modules[{without!r}] = None; from worker.cli import main; main()"
            program = [sys.executable, "-c", hidden]
        process = subprocess.Popen(
            [*program, *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.wait()

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """Return output up to the line that holds a text; fails where the process ends before."""
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if wanted in line:
            return "".join(seen)
    raise AssertionError(f"{wanted!r} never came:\n{''.join(seen)}")


def said(ran: Ran, code: int, *words: str) -> str:
    """Return what a command printed, which ended with this code and says these words."""
    text = ran.out + ran.err
    assert ran.code == code, text
    assert "Traceback" not in text
    for word in words:
        assert word in text, (word, text)
    return text


@pytest.fixture
def shell(tmp_path: Path, commands: Herd) -> Shell:
    return Shell(tmp_path, commands)


@pytest.fixture
def on_servers(shell: Shell, nats_url: str, database_url: str) -> Shell:
    """A shell whose environment names servers without streams and tables."""
    shell.environment.update(NATS_URL=nats_url, DATABASE_URL=database_url)
    return shell

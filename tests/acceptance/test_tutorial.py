"""The tutorial, command by command: what it prints is what the page says."""

from __future__ import annotations

import os
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.acceptance.conftest import ACH, read_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Shell

PAGE: Final = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK: Final = re.compile(r"^```(sh|text|text dev)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEV: Final = "ach dev rules/\n"


class Step(NamedTuple):
    """A block of commands, or of what they print."""

    kind: str
    text: str


def steps() -> Iterator[Step]:
    for kind, text in BLOCK.findall(PAGE.read_text("utf-8")):
        yield Step(kind, text)


def agrees(said: str, page: str) -> bool:
    """Tell whether an output is that of the page, where `...` stands for anything."""
    pattern = page.strip().replace("[", "[[]").replace("...", "*")
    return fnmatchcase("\n".join(line.rstrip() for line in said.strip().splitlines()), pattern)


def expect(said: str, page: str) -> None:
    assert agrees(said, page), f"printed:\n{said}\nthe page has:\n{page}"


def test_the_page_holds(shell: Shell) -> None:
    shell.environment["PATH"] = f"{ACH.parent}{os.pathsep}{shell.environment['PATH']}"
    page = list(steps())
    first = [one.text for one in page].index(DEV)
    run_all(shell, page[:first])
    with shell.running("dev", "rules/") as dev:
        expect(read_until(dev, "console: "), page[first + 1].text)
        run_all(shell, page[first + 2 :], dev)
        dev.terminate()
        assert dev.wait() == 0


def run_all(shell: Shell, page: list[Step], dev: subprocess.Popen[str] | None = None) -> None:
    said = ""
    for step in page:
        match step.kind:
            case "sh":
                said = run(shell, step.text)
            case "text":
                expect(said, step.text)
            case _:
                assert dev is not None
                read_all(dev, step.text.splitlines())


def read_all(process: subprocess.Popen[str], lines: list[str]) -> None:
    """Read output until each of these lines has come, in any order."""
    missing = set(lines)
    assert process.stdout is not None
    for line in process.stdout:
        missing.discard(line.rstrip("\n"))
        if not missing:
            return
    raise AssertionError(missing)


def run(shell: Shell, commands: str) -> str:
    """Run commands; `ach plan` ends with 2 where it finds a change, as its page says."""
    ran = subprocess.run(
        ["/bin/bash", "-c", commands],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode in {0, 2}, ran.stderr
    for folder in re.findall(r"^cd (\w+)$", commands, re.MULTILINE):
        shell.folder /= folder
    return ran.stdout

"""Every mitigation in docs/threats.md names tests that exist."""

import ast
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SECTION: Final = "## What is defended, and by which test"
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows_of(page: str) -> list[list[str]]:
    """Return the cells of each row of the table of threats, without its two lines of heading."""
    section = page.partition(SECTION)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names_in(path: Path) -> set[str]:
    """Return the names of the tests of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {one.name for one in ast.parse(path.read_text()).body if isinstance(one, kinds)}


def test_every_mitigation_has_its_tests() -> None:
    rows = rows_of((ROOT / "docs" / "threats.md").read_text())
    assert len(rows) > 20
    wrong: list[str] = []
    for threat, mitigation, tests in rows:
        named = NAMED.findall(tests)
        if not mitigation or not named or NAMED.sub("", tests).strip(" ,"):
            wrong.append(f"{threat}: it names no test, or something else beside")
        wrong += [
            f"{threat}: there is no {path}::{name}"
            for path, name in named
            if not (ROOT / path).is_file() or name not in names_in(ROOT / path)
        ]
    assert not wrong, "\n".join(wrong)


def test_a_test_that_is_gone_is_noticed() -> None:
    row = "| x | y | `tests/structure/test_threats.py::test_gone` |"
    page = f"{SECTION}\n\n| a | b | c |\n|---|---|---|\n{row}\n\n## Z\n| 1 |\n"
    assert rows_of(page) == [["x", "y", "`tests/structure/test_threats.py::test_gone`"]]
    assert "test_gone" not in names_in(Path(__file__))

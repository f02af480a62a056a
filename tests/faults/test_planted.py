"""Every planted bug is found by the tests: planted in a copy of the source, they fail there.

`ACH_PLANTED_LOG` names a file to which each find is written, for docs/planted-bugs.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.planted import BUGS, QUICK, Bug

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
PARTS = ("dsl", "sql", "worker", "tests", "fixtures")
SECONDS = 300
"""For one run of some tests in a copy."""
HURRIED = {
    # A bug that leaves a test waiting for ever is found when the test loses its patience.
    "PATIENCE = 60.0": "PATIENCE = 25.0",
    # That there is a failure is enough; nobody is going to read it.
    "phases=[Phase.generate, Phase.shrink]": "phases=[Phase.generate]",
}
"""Of the tests in a copy, what is other there."""

planted = pytest.mark.planted
FOUND = re.compile(r"^FAILED tests/([^\s\[]+)", re.MULTILINE)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of the source tree."""
    root = tmp_path / "source"
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for file in (root / "tests").rglob("*.py"):
        text = hurried = file.read_text("utf-8")
        for patient, hasty in HURRIED.items():
            hurried = hurried.replace(patient, hasty)
        if hurried != text and file.name != Path(__file__).name:
            file.write_text(hurried, "utf-8")
    return root


def plant(root: Path, bug: Bug) -> None:
    file = root / bug.path
    text = file.read_text("utf-8")
    assert text.count(bug.old) == 1, f"{bug.path} has changed: {bug.name} does not apply any more"
    file.write_text(text.replace(bug.old, bug.new), "utf-8")


def run_tests(root: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy, up to the first that fails."""
    command = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "-x",
        "-q",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        "-m",
        "not planted",
    ]
    # The copy comes before the installed project.
    environment = {**os.environ, "PYTHONPATH": str(root), "ACH_EXAMPLES": "60", "ACH_FAULTS_SHRINKS": "0"}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def bugs(names: Sequence[str]) -> list[object]:
    """Return the bugs of the quick run, or all others behind the mark."""
    return [pytest.param(bug, id=bug.name, marks=() if bug.name in names else planted) for bug in BUGS]


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("bug", bugs(QUICK))
def test_a_planted_bug_is_found(source: Path, bug: Bug) -> None:
    plant(source, bug)
    done = run_tests(source, bug.tests)
    found = FOUND.search(done.stdout)
    # Another code than 1 says that nothing was tested: the bug broke the import, and would not live to be merged.
    assert done.returncode == 1, done.stdout + done.stderr
    assert found is not None, done.stdout + done.stderr
    note(bug, found[1])


def note(bug: Bug, test: str) -> None:
    log = os.environ.get("ACH_PLANTED_LOG")
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{bug.name}\t{test}\n")


@planted
@pytest.mark.timeout(2 * SECONDS)
def test_without_a_bug_the_same_tests_pass(source: Path) -> None:
    done = run_tests(source, sorted({test for bug in BUGS for test in bug.tests}))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_bug_still_applies() -> None:
    for bug in BUGS:
        assert (ROOT / bug.path).read_text("utf-8").count(bug.old) == 1, bug.name
        assert bug.old != bug.new


def test_bugs_have_names_of_their_own_and_are_in_the_book() -> None:
    names = [bug.name for bug in BUGS]
    assert len(set(names)) == len(names) >= 25
    assert set(QUICK) <= set(names)
    book = (ROOT / "docs" / "planted-bugs.md").read_text("utf-8")
    assert [name for name in names if f"| `{name}` " not in book] == []

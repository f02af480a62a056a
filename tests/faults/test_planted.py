"""The tests find every planted bug: planted in a copy of the source, it makes them fail there.

`ACH_PLANTED_LOG` names a file that gets a line for each bug that was found, for docs/planted-bugs.md.
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

from tests.faults.planted import BUGS, PAGE, QUICK, ROOT, broken, finders, renewed
from tests.faults.plants.anchors import plant, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.plants.bug import Bug

LEAST = 960
"""No fewer bugs than this: raise it with the tables, and replace a bug that can no longer exist."""
PARTS = ("ach", "deploy", "dsl", "sql", "worker", "tests", "fixtures")
SECONDS = 300
"""The limit of one run of some tests in a copy."""
HURRIED = {
    # A bug that leaves a test waiting for ever is found when the wait times out.
    "PATIENCE = 60.0": "PATIENCE = 25.0",
    # A failure is enough; a small example is of no use here.
    "phases=[Phase.generate, Phase.shrink]": "phases=[Phase.generate]",
}
"""What the tests in a copy do differently: text to replacement."""

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


def run_tests(root: Path, tests: Sequence[str], *, seconds: int = SECONDS) -> subprocess.CompletedProcess[str]:
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
        timeout=seconds,
        check=False,
    )


def bugs(names: Sequence[str]) -> list[object]:
    """Return all bugs as parameters, those that are not named behind the mark `planted`."""
    return [pytest.param(bug, id=bug.name, marks=() if bug.name in names else planted) for bug in BUGS]


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("bug", bugs(QUICK))
def test_a_planted_bug_is_found(source: Path, bug: Bug) -> None:
    plant(source, bug.edits)
    done = run_tests(source, bug.tests)
    found = FOUND.search(done.stdout)
    # Any code but 1 means that no test ran: a bug that breaks the import proves nothing.
    assert done.returncode == 1, done.stdout + done.stderr
    assert found is not None, done.stdout + done.stderr
    note(bug, found[1])


def note(bug: Bug, test: str) -> None:
    log = os.environ.get("ACH_PLANTED_LOG")
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{bug.name}\t{test}\n")


@planted
@pytest.mark.timeout(7 * SECONDS)
def test_without_a_bug_the_same_tests_pass(source: Path) -> None:
    done = run_tests(source, sorted({test for bug in BUGS for test in bug.tests}), seconds=6 * SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_bug_still_applies() -> None:
    lost = broken(BUGS, read(ROOT))
    assert not lost, "\n\n".join(f"{name}: {message}" for name, message in lost.items())


def test_no_bug_is_dropped() -> None:
    names = [bug.name for bug in BUGS]
    assert len(set(names)) == len(names) >= LEAST
    assert set(QUICK) <= set(names)


def test_the_tests_that_find_bugs_are_there() -> None:
    texts = {path: (ROOT / "tests" / path).read_text("utf-8") for path in {test.split("::")[0] for test in wanted()}}
    missing = [test for test in wanted() if "::" in test and not defines(texts[test.split("::")[0]], test)]
    assert missing == []


def wanted() -> list[str]:
    return sorted({test for bug in BUGS for test in bug.tests})


def defines(text: str, test: str) -> bool:
    name = test.rpartition("::")[2].partition("[")[0]
    return re.search(rf"^\s*(?:async )?def {name}\(", text, re.MULTILINE) is not None


def test_the_page_has_a_row_for_every_bug() -> None:
    page = PAGE.read_text("utf-8")
    assert [*finders(page)] == [bug.name for bug in BUGS]
    assert renewed(page, "") == page, "run `python -m tests.faults.planted --page`"


def test_a_run_of_some_bugs_leaves_the_other_rows() -> None:
    page = PAGE.read_text("utf-8")
    first, second = BUGS[0].name, BUGS[1].name
    after = finders(renewed(page, f"{first}\tfaults/test_new.py::test_it\n"))
    assert after[first] == "faults/test_new.py::test_it"
    assert after[second] == finders(page)[second]

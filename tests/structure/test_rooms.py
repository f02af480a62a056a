"""The import contracts of pyproject.toml find what they forbid: imports are planted in a copy of the source."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parents[2]
CONTRACTS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

PURE: Final = (
    "dsl, worker.engine and worker.contract are pure: no I/O, process, thread, event loop, clock, chance or log"
)
TOP: Final = "The worker knows the language and the SQL; neither knows the worker, nor the other"
ROOMS: Final = "Within worker, an import goes down the list of rooms"
PUBLIC: Final = "Within ach, an import goes down the list"
LIBRARY: Final = "The library form needs no server: of the worker it knows pure rooms, and how rule files are found"
LANGUAGE: Final = "Within dsl, an import goes down the list"

_LISTED: Final = [floor.split(" | ") for one in CONTRACTS if one["name"] == ROOMS for floor in one["layers"]]
FLOORS: Final = [floor for listed in _LISTED if (floor := [room for room in listed if not room.startswith("(")])]
"""The rooms of `worker`, from the highest floor to the lowest; without those in parentheses, which may be missing."""


class Plant(NamedTuple):
    """A line that is added to a module, and a contract that it breaks."""

    module: str
    line: str
    breaks: str


def impure() -> Iterator[Plant]:
    for module in ("dsl.fold", "worker.engine.reconcile", "worker.contract.row"):
        yield Plant(module, "import socket", PURE)
    for line in ("import gc", "from secrets import randbits", "from time import monotonic", "import structlog"):
        yield Plant("worker.engine.reconcile", line, PURE)
    # Through our own modules, which may do what the pure rooms may not.
    yield Plant("worker.engine.reconcile", "from worker.retry import delays", PURE)
    yield Plant("worker.engine.reconcile", "from worker.rulefiles import load", PURE)
    yield Plant("worker.contract.row", "from worker.settings import Settings", PURE)


def upward() -> Iterator[Plant]:
    yield Plant("dsl", "import worker.settings", TOP)
    yield Plant("sql", "import dsl.fold", TOP)
    yield Plant("worker.settings", "import ach", TOP)
    yield Plant("ach.event", "import ach.session", PUBLIC)
    yield Plant("ach.session", "import worker.store", LIBRARY)
    yield Plant("dsl.source", "import dsl.fold", LANGUAGE)
    for above, below in pairwise(FLOORS):
        yield Plant(f"worker.{below[0]}", f"import worker.{above[0]}", ROOMS)


def sideways() -> Iterator[Plant]:
    for floor in FLOORS:
        for one, other in pairwise(floor):
            yield Plant(f"worker.{other}", f"import worker.{one}", ROOMS)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("ach", "dsl", "sql", "worker"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def file_of(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    return str((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).relative_to(ROOT))


def broken(tree: Path, changes: list[tuple[str, str]]) -> list[set[str]]:
    """Return the names of the contracts that the linter finds broken, for each change (file, line)."""
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("linter.py")],
        cwd=tree,
        env={**os.environ, "COLUMNS": "500"},
        input=json.dumps(changes),
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(run.stdout)
    assert all(" KEPT" in one for one in printed), printed
    return [set(re.findall(r"^(.+) BROKEN", one, re.MULTILINE)) for one in printed]


def test_the_source_keeps_every_contract(tree: Path) -> None:
    assert broken(tree, [("dsl/fold.py", "")]) == [set()]


@pytest.mark.parametrize("plants", [impure, upward, sideways])
def test_a_planted_import_is_found(tree: Path, plants: Callable[[], Iterator[Plant]]) -> None:
    planted = [*plants()]
    found = broken(tree, [(file_of(plant.module), plant.line) for plant in planted])
    missed = [plant for plant, names in zip(planted, found, strict=True) if plant.breaks not in names]
    assert missed == []


def test_a_room_that_has_no_floor_is_found(tree: Path) -> None:
    assert broken(tree, [("worker/attic.py", ""), ("dsl/attic.py", "")]) == [{ROOMS}, {LANGUAGE}]

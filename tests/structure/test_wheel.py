"""The wheel has everything below the one name `ach`, with every line in its place, and runs beside any application."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import ach
from dsl.codes import CODES
from release.binary import distribution
from release.package import application, check_wheel
from release.wheel import MOVED, UnmovableError, files, moved, names

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
EVERY: Final = 7
"""Of the modules, one in so many is compared here; `just operate` compares all."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distribution("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(installed: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder: what stands there comes first, then the wheel, then the packages it needs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACH_", "NATS_", "DATABASE_"))}
    path = os.pathsep.join((".", str(installed)))
    environment = {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, *args], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_an_index_would_take_it(wheel: Path) -> None:
    check_wheel(wheel)


def test_it_has_the_pages_and_what_the_demo_plays(installed: Path) -> None:
    inside = installed / "ach" / "_worker"
    assert {path.stem for path in (inside / "diagnostics").glob("ACH*.md")} == set(CODES)
    assert [path.name for path in (inside / "deploy").iterdir()] == ["alerts.yml"]
    assert (inside / "fixtures" / "rules" / "commits.ach").is_file()
    assert len(list((inside / "fixtures" / "streams").iterdir())) == 4
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"ach"}


def test_an_application_with_packages_of_these_names_keeps_them(installed: Path, tmp_path: Path) -> None:
    folder = application(tmp_path / "application")
    version = python(installed, folder, "-m", "ach", "--version")
    assert (version.returncode, version.stdout) == (0, "ach, version 0.1.0\n"), version.stderr
    rules = str(ROOT / "fixtures" / "rules")
    checked = python(installed, folder, "-m", "ach", "check", rules)
    assert (checked.returncode, checked.stdout) == (0, "1 file, 14 achievements: no problems\n"), checked.stderr
    program = (
        f"import ach, sys; print(len(ach.load({rules!r}).achievements));"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'dsl', 'sql', 'worker'}));"
        "print(ach.Unlock.__module__)"
    )
    library = python(installed, folder, "-c", program)
    assert (library.returncode, library.stdout) == (0, "14\n[]\nach._dsl.outcome\n"), library.stderr


# -- the rewriting ----------------------------------------------------------------------------------------------------


def modules() -> list[tuple[Path, str]]:
    return sorted((path, place) for path, place in files(ROOT) if path.suffix == ".py")


def shape(tree: ast.Module) -> Iterator[tuple[object, ...]]:
    """Yield what a module says: each node with its line. Imports of what moves are as they should be in the wheel."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if module.partition(".")[0] in MOVED:
                yield node.lineno, "from", f"ach._{module}", [(one.name, one.asname) for one in node.names]
            case ast.Import(names=[ast.alias(name=name, asname=asname)]) if name in MOVED:
                yield node.lineno, "from", "ach", [(f"_{name}", asname or name)]
            case ast.ImportFrom():
                yield node.lineno, "from", node.module, [(one.name, one.asname) for one in node.names]
            case ast.alias():
                pass
            case _:
                fields = [value for _, value in ast.iter_fields(node) if not isinstance(value, ast.AST | list)]
                yield getattr(node, "lineno", 0), type(node).__name__, fields


def compare(installed: Path, some: list[tuple[Path, str]]) -> None:
    for path, place in some:
        before, after = path.read_bytes(), (installed / place).read_bytes()
        assert before.count(b"\n") == after.count(b"\n"), place
        assert list(shape(ast.parse(before))) == list(shape(ast.parse(after))), place


def test_modules_say_the_same_in_the_same_lines(installed: Path) -> None:
    some = modules()[::EVERY]
    assert len(some) > 60
    compare(installed, some)


@pytest.mark.operate
def test_every_module_says_the_same_in_the_same_lines(installed: Path) -> None:
    compare(installed, modules())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from dsl.fold import step", "from ach._dsl.fold import step"),
        ("from worker import retry  # why", "from ach._worker import retry  # why"),
        ("import sql", "from ach import _sql as sql"),
        ("import sql as queries; x = 1", "from ach import _sql as queries; x = 1"),
        ("if x:\n    import sql\n    from sql import y",
         "if x:\n    from ach import _sql as sql\n    from ach._sql import y"),
        ("from dsl.x import (\n    a,\n    b,\n)", "from ach._dsl.x import (\n    a,\n    b,\n)"),
        ('"ünïcode"; from dsl import words', '"ünïcode"; from ach._dsl import words'),
        ("from dslx import y\nimport worker_pool\nfrom .sql import z\nfrom . import dsl", None),
        ('"""from dsl import words"""\ntext = "import sql"', None),
    ],
)  # fmt: skip
def test_an_import_of_what_moves_is_written_anew(before: str, after: str | None) -> None:
    assert moved(before.encode(), "x.py").decode() == (before if after is None else after)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\nimport worker.retry", r"^x\.py:2: this form of an import"),
        ("import os, sql", "this form of an import"),
        ("from \\\n  dsl import words", "this form of an import"),
        ('import_module("worker.retry")', r"^x\.py:1: 'worker\.retry' is another module once installed"),
    ],
)
def test_what_cannot_move_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnmovableError, match=why):
        moved(text.encode(), "x.py", frozenset(names(ROOT)))


def test_a_file_that_belongs_to_no_package_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "ach").mkdir()
    (tmp_path / "ach" / "notes.orig").touch()
    with pytest.raises(UnmovableError, match=r"notes\.orig: what is this\?"):
        list(files(tmp_path))


# -- the public names -------------------------------------------------------------------------------------------------


def test_every_public_name_is_found_where_the_package_says() -> None:
    for name in ach.__all__:
        assert getattr(ach, name) is not None
        assert name in dir(ach)
    exports = vars(ach)["_EXPORTS"]
    assert sorted(name for some in exports.values() for name in some) == sorted(ach.__all__)
    for module, some in exports.items():
        for name in some:
            assert getattr(importlib.import_module(f"ach.{module}"), name) is getattr(ach, name)


def test_a_misspelt_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'ach' has no attribute 'lode'"):
        getattr(ach, "lode")  # noqa: B009 - a type checker would find it

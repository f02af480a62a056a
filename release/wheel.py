"""The build hook of the wheel: installed, everything is below the one name `ach`.

In the repository `dsl`, `sql` and `worker` stand beside `ach`, and import each other by these names. Installed so, they
would shadow, or be shadowed by, the folder `worker` of any application. So the wheel has them as `ach._dsl`, `ach._sql`
and `ach._worker`, with their imports written anew: a line stays the line that it was, so tracebacks tell the truth of
both. What cannot be moved so (a module that is named in a string) is refused. An editable installation is a path to
the repository and knows nothing of this. docs/decisions/0041-distribution.md has the reasons.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = "ach"
MOVED: Final = ("dsl", "sql", "worker")
"""Packages of the repository that are below `HOME` in the wheel, with an underscore before their names."""
TREES: Final = {
    "ach": "ach",
    **{name: f"{HOME}/_{name}" for name in MOVED},
    "docs/diagnostics": f"{HOME}/_worker/diagnostics",
}
"""Folders of the repository, and what they are in the wheel."""
SINGLE: Final = (
    "deploy/alerts.yml",
    "fixtures/rules/commits.ach",
    *(f"fixtures/streams/{name}.{end}" for name in ("flask", "lark") for end in ("expected.json", "jsonl.gz")),
)
"""Files beside those: what `ach alerts` prints, and what `ach demo` plays."""
KINDS: Final = frozenset(
    {".ach", ".css", ".j2", ".js", ".json", ".jsonl", ".lark", ".md", ".py", ".sql", ".svg", ".txt", ".typed", ".yml"}
)
"""How names of files end that belong to the packages; another one stops the build."""
_FROM: Final = re.compile(rb"from[ \t]+(dsl|sql|worker)\b")
_IMPORT: Final = re.compile(rb"import[ \t]+(dsl|sql|worker)(?:[ \t]+as[ \t]+(\w+))?[ \t]*(?=[\r\n#;]|$)")
_NAMED: Final = re.compile(r"(?:dsl|sql|worker)(?:\.[a-z_][a-z0-9_]*)+")


class UnmovableError(ValueError):
    """A file that cannot be below another name; the message says where and why."""


class Edit(NamedTuple):
    """Bytes of one line that are replaced."""

    line: int
    start: int
    end: int
    new: bytes


class WheelHook(BuildHookInterface[BuilderConfig]):
    """Gives the packages as they are installed to hatchling, which selects no files of its own."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the packages into a folder of their own, and name that."""
        if version == "standard":
            self._scratch = TemporaryDirectory(prefix="ach-wheel-")
            write(Path(self.root), Path(self._scratch.name))
            build_data["force_include"][str(Path(self._scratch.name, HOME))] = HOME

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove the folder."""
        if version == "standard":
            self._scratch.cleanup()


def write(root: Path, target: Path) -> None:
    """Write the packages as they are installed: those of the repository at `root`, into the folder `target`.

    Raises:
        UnmovableError: a file cannot be moved, or is of a kind that no package has.
    """
    modules = frozenset(names(root))
    for source, place in sorted(files(root)):
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        path.write_bytes(
            moved(content, source.relative_to(root).as_posix(), modules) if source.suffix == ".py" else content
        )


def files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of the packages, and its place in the wheel.

    Raises:
        UnmovableError: it is of a kind that no package has.
    """
    for folder, place in TREES.items():
        for path in (root / folder).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            if path.suffix not in KINDS:
                raise UnmovableError(f"{path}: what is this? remove it, or add {path.suffix!r} to KINDS in {__file__}")
            yield path, f"{place}/{path.relative_to(root / folder).as_posix()}"
    for name in SINGLE:
        yield root / name, f"{HOME}/_worker/{name}"


def names(root: Path) -> Iterator[str]:
    """Yield the dotted name of each module that moves."""
    for package in MOVED:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def moved(content: bytes, name: str, modules: frozenset[str] = frozenset()) -> bytes:
    """Return a module with its imports of what moves written anew, every line in its place.

    `name` is that of its file, for messages; `modules` are the dotted names that no string may be.

    Raises:
        UnmovableError: an import is of a form that is not known here, or a module is named in a string.
    """
    lines = content.splitlines(keepends=True)
    for edit in sorted(_edits(ast.parse(content, name), lines, name, modules), reverse=True):
        line = lines[edit.line]
        lines[edit.line] = line[: edit.start] + edit.new + line[edit.end :]
    return b"".join(lines)


def _edits(tree: ast.Module, lines: list[bytes], name: str, modules: frozenset[str]) -> Iterator[Edit]:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if _moves(module):
                yield _edit(node, lines, name, _FROM)
            case ast.Import(names=aliases) if any(_moves(one.name) for one in aliases):
                yield _edit(node, lines, name, _IMPORT)
            case ast.Constant(value=str(text)) if _NAMED.fullmatch(text) and text in modules:
                hint = "derive it from `__name__`, or import it"
                raise UnmovableError(f"{name}:{node.lineno}: {text!r} is another module once installed: {hint}")
            case _:
                pass


def _edit(node: ast.Import | ast.ImportFrom, lines: list[bytes], name: str, form: re.Pattern[bytes]) -> Edit:
    found = form.match(lines[node.lineno - 1], node.col_offset)
    if found is None:
        hint = "write `from worker.x import y`, or `import sql` alone"
        raise UnmovableError(f"{name}:{node.lineno}: this form of an import is not known: {hint}")
    package, new = found[1], b"from " + HOME.encode()
    if form is _FROM:
        new += b"._" + package
    else:
        new += b" import _" + package + b" as " + (found[2] or package)
    return Edit(node.lineno - 1, found.start(), found.end(), new)


def _moves(module: str) -> bool:
    return module.partition(".")[0] in MOVED

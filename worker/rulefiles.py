"""Rule files on disk: found, read and made into a rule set (dsl/ruleset.py)."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from dsl.ruleset import RuleSet, build

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path


SUFFIX: Final = ".ach"


class NoRulesError(ValueError):
    """No rule file was found at a path that was named; the message says where."""


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the rule files that paths name: files as they are, folders with everything below them.

    Raises:
        NoRulesError: a path does not exist, or a folder holds no rule file.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            below = sorted(one for one in path.rglob(f"*{SUFFIX}") if _is_rule_file(one, path))
            if not below:
                raise NoRulesError(f"{path}: no {SUFFIX} file in this folder")
            found.update(dict.fromkeys(below))
        elif path.exists():
            found[path] = None
        else:
            raise NoRulesError(f"{path}: no such file or folder")
    return list(found)


def _is_rule_file(path: Path, folder: Path) -> bool:
    """Tell files from the folder `.ach`, where `ach dev` has its data, and from what is in it."""
    return SUFFIX not in path.relative_to(folder).parts[:-1] and not path.is_dir()


def load(paths: Iterable[Path]) -> RuleSet:
    """Read, parse, check and compile rule files; problems are values, not exceptions.

    Raises:
        NoRulesError: see `find`.
        OSError: a file cannot be read.
    """
    texts = [(str(path), path.read_bytes()) for path in find(paths)]
    with without_collector():
        return build(texts)


def yesterday() -> str:
    """Return the day before today by UTC, for advice on dates: what has ended by then has ended by every clock."""
    return (datetime.now(UTC) - timedelta(days=1)).date().isoformat()


@contextmanager
def without_collector() -> Generator[None]:
    """Pause the garbage collector while rules are read: trees hold no cycles, and tracing them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

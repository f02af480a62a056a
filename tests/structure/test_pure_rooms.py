"""What the pure rooms may not do and no import shows: open files, print, or ask for the time or for a random id."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = ("dsl", "worker/engine", "worker/contract")
BUILT_IN: Final = frozenset({"__import__", "breakpoint", "eval", "exec", "input", "open", "print"})
ASKED: Final = frozenset({"now", "today", "utcnow", "uuid1", "uuid4"})
"""Of `datetime`, `date` and `uuid`."""
CLASSES: Final = frozenset({"date", "datetime", "uuid"})


def impure(tree: ast.AST) -> Iterator[str]:
    """Yield place and name of what a module calls or imports and should not."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in BUILT_IN:
                yield f"{node.lineno}: {name}"
            case ast.Attribute(value=ast.Name(id=of) | ast.Attribute(attr=of), attr=name):
                if of in CLASSES and name in ASKED:
                    yield f"{node.lineno}: {of}.{name}"
            case ast.ImportFrom(names=names):
                yield from (f"{node.lineno}: {one.name}" for one in names if one.name in {"uuid1", "uuid4"})
            case _:
                pass


@pytest.mark.parametrize("room", ROOMS)
def test_a_pure_room_asks_for_nothing(room: str) -> None:
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules
    found = {path.name: [*impure(ast.parse(path.read_bytes()))] for path in modules}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "print(1)",
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "date.today()",
        "from uuid import UUID, uuid4",
        "uuid.uuid4()",
    ],
)
def test_each_is_found(line: str) -> None:
    assert len([*impure(ast.parse(line))]) == 1

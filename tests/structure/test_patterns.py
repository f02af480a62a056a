"""Patterns that check a value end with `\\Z`: `$` also fits before a line end, so the value may end with one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = frozenset({"worker/ingest/operations.py"})
"""Their patterns are read by other languages alone, which do not know `\\Z`."""


def checks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the pattern of each check of a module: `Meta(pattern=...)`, and regular expressions' match."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "Meta":
            found = [one.value for one in node.keywords if one.arg == "pattern"]
        elif name == "match":
            found = node.args[:1]
        else:
            continue
        for part in [leaf for one in found for leaf in ast.walk(one)]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield node.lineno, part.value


@pytest.mark.parametrize("top", ["worker", "dsl", "ach", "sql"])
def test_no_check_lets_a_line_end_through(top: str) -> None:
    loose = [
        f"{path.relative_to(ROOT)}:{line} {pattern}"
        for path in sorted((ROOT / top).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in DOCUMENTS
        for line, pattern in checks(path.read_text("utf-8"))
        if pattern.endswith("$") and pattern != "$"
    ]
    assert not loose


def test_one_would_be_found() -> None:
    assert [*checks('A = Annotated[str, Meta(pattern=r"^a$")]')] == [(1, "^a$")]
    assert [*checks('re.match(r"a$", text)')] == [(1, "a$")]

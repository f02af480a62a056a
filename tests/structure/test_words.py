"""Plain English: words that a native engineer would not write do not appear in documents, code and SQL.

To widen the check, delete a line of `EXEMPT`. To keep a word in one place, add the place to `ALLOWED`.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).parents[2]
SUFFIXES: Final = ("*.md", "*.py", "*.sql", "*.ach", "*.lark", "*.yml", "*.lua")

BANNED: Final = (
    "anybody",
    "everybody",
    "heard of",
    "naught",
    "nobody",
    "nought",
    "of which",
    "of whom",
    "somebody",
    "thereby",
    "told",
    "whatsoever",
    "whoever",
    "whom",
    "whosever",
)

EXEMPT: Final = (
    "bench/",  # its words are those of docs/performance.md, which a run of an hour writes
    "CHANGELOG.md",  # history
    "docs/decisions/0008-hot-path/",
    "docs/performance.md",
    "docs/planted-bugs.md",
    "sql/migrations/",  # applied migrations never change
    "tests/structure/test_words.py",  # lists the words
)
"""Files and folders that are not clean yet."""

ALLOWED: Final = {
    "fixtures/streams/filters/rules.ach": "told",  # a recorded event type
    "worker/local/postgres.py": "nobody",  # an account of the system
    "sql/schema.sql": "whoever",  # the comment is part of an applied migration
}
"""Words that stay in one file, joined by `|`."""


def pattern_of(words: Iterable[str]) -> re.Pattern[str]:
    spaced = (word.replace(" ", r"\s+") for word in words)
    return re.compile(rf"(?<![a-z])(?:{'|'.join(spaced)})(?![a-z])", re.IGNORECASE)


def _files() -> list[str]:
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", *SUFFIXES)
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if not name.startswith(EXEMPT) and (ROOT / name).exists()]


@pytest.mark.parametrize("name", _files())
def test_a_file_uses_plain_words(name: str) -> None:
    allowed = ALLOWED.get(name, "").split("|")
    pattern = pattern_of([word for word in BANNED if word not in allowed])
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}" for match in pattern.finditer(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", EXEMPT)
def test_an_exemption_names_something(path: str) -> None:
    assert (ROOT / path).exists()

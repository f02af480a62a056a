"""All SQL of the engine: named queries, numbered migrations, and the schema that they add up to.

A query lies in `queries/*.sql` under a line `-- name: its_name`, followed by comments that say why it is written so.
Names are unique over all files. A line `-- use other_name from $N` stands for the text of another query whose first
argument is the N-th here, so that a statement of several parts shares them with those who carry them out one by one.
What is under `-- part: its_name` cannot be carried out by itself.

A migration is a file `NNNN_name.sql`, numbered from 1 without gaps; an applied one is never edited, its checksum would
no longer agree with the books.
"""

from __future__ import annotations

import re
from functools import cache, partial
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
_USE: Final = re.compile(r"^[ \t]*-- use (\w+) from \$(\d+)$", re.MULTILINE)
_ARGUMENT: Final = re.compile(r"\$(\d+)")
_COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)
_MIGRATION: Final = re.compile(r"(\d{4})_(\w+)\.sql")


class Migration(NamedTuple):
    """One numbered step of the schema; `checksum` is the SHA-256 of its text, in hexadecimal."""

    number: int
    name: str
    text: str
    checksum: str


@cache
def queries() -> dict[str, str]:
    """Return every named query: name to text, comments included.

    Raises:
        ValueError: two queries share a name.
        KeyError: a query that another one uses is missing.
    """
    found: dict[str, str] = {}
    parts: set[str] = set()
    for file in _sql_files("queries"):
        pieces = _NAME.split(file.read_text(encoding="utf-8"))
        for kind, name, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            if name in found:
                msg = f"{file.name}: the query {name} is defined twice"
                raise ValueError(msg)
            found[name] = text.strip()
            if kind == "part":
                parts.add(name)
    return {name: _USE.sub(partial(_used, found), text) for name, text in found.items() if name not in parts}


def _used(known: dict[str, str], use: re.Match[str]) -> str:
    text, shift = _COMMENT.sub("", known[use[1]]).removesuffix(";"), int(use[2]) - 1
    return _ARGUMENT.sub(lambda argument: f"${int(argument[1]) + shift}", text)


def query(name: str) -> str:
    """Return the text of one named query.

    Raises:
        KeyError: no query has that name.
    """
    return queries()[name]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order.

    Raises:
        ValueError: a file is misnamed, or the numbers have a gap.
    """
    found: list[Migration] = []
    for expected, file in enumerate(_sql_files("migrations"), start=1):
        match = _MIGRATION.fullmatch(file.name)
        if match is None or int(match[1]) != expected:
            msg = f"migrations/{file.name}: expected a name like {expected:04d}_what.sql"
            raise ValueError(msg)
        text = file.read_text(encoding="utf-8")
        found.append(Migration(expected, match[2], text, sha256(text.encode()).hexdigest()))
    return tuple(found)


def schema() -> str:
    """Return the whole schema as one script: what the migrations add up to."""
    return (files(__name__) / "schema.sql").read_text(encoding="utf-8")


def _sql_files(folder: str) -> list[Traversable]:
    entries = (files(__name__) / folder).iterdir()
    return sorted((entry for entry in entries if entry.name.endswith(".sql")), key=lambda entry: entry.name)

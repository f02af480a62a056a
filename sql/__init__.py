"""All SQL of the engine: named queries, numbered migrations, and the schema that they add up to.

A query lies in `queries/*.sql` under a line `-- name: its_name`, followed by comments that say why it is written so.
Query names are unique over all files. What is under `-- part: its_name` cannot be carried out by itself. A line
`-- use other_name` stands for the text of another query or part, with the same arguments.

Arguments have names: `:now`, `:owner`, `:unlocks.tenant_id`. A dotted name is one column of a list of rows. A name is
lower-case letters, digits and underscores behind one colon, so that a cast is none (`:now::timestamptz`); a slice of an
array needs a space before its second bound. The loader numbers the names `$1`, `$2` in the order of their first
appearance outside comments. All places of one name are one argument, which has one type: they are cast alike, or not.

What `analytics/` holds is asked of DuckDB, or of a warehouse that has loaded a mirror: one query a file, no arguments.

A migration is a file `NNNN_name.sql`, numbered from 1 without gaps; an applied one is never edited, its checksum would
no longer agree with the books. Its first line may say how old a release may be that runs beside it,
`-- compatible_from: N`: the newest migration that such a release must know. Without that line, no older one may.
"""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

_NAME: Final = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
_USE: Final = re.compile(r"^[ \t]*-- use (\w+)$", re.MULTILINE)
_ARGUMENT: Final = re.compile(r"--.*|(?<!:):([a-z]\w*(?:\.\w+)?)")
"""A comment, which is passed over, or the name of an argument."""
_COMMENT: Final = re.compile(r"^--.*\n", re.MULTILINE)
_MIGRATION: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_COMPATIBLE: Final = re.compile(r"-- compatible_from: ([1-9]\d{0,3})\n")


class Migration(NamedTuple):
    """One numbered step of the schema; `checksum` is the SHA-256 of its text, in hexadecimal."""

    number: int
    name: str
    text: str
    checksum: str
    compatible_from: int
    """The newest migration that an older release must know to run beside this one; at most `number`."""


class Query(NamedTuple):
    """A query as the server takes it: `names` are those of the arguments `$1`, `$2` and so on of `text`."""

    name: str
    text: str
    names: tuple[str, ...]

    def arguments(self, given: Mapping[str, object]) -> list[object]:
        """Return the values of named arguments in the order of their numbers.

        Raises:
            TypeError: one is missing, or the query has none of that name.
        """
        try:
            values = [given[name] for name in self.names]
        except KeyError:
            values = []
        if len(values) != len(given) or len(values) != len(self.names):
            missing, unknown = sorted({*self.names} - given.keys()), sorted(given.keys() - {*self.names})
            raise TypeError(f"query {self.name}: missing arguments {missing}, unknown arguments {unknown}")
        return values


@cache
def queries() -> dict[str, Query]:
    """Return every named query, comments included.

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
    return {name: _numbered(name, _composed(found, text)) for name, text in found.items() if name not in parts}


def _composed(known: Mapping[str, str], text: str) -> str:
    return _USE.sub(lambda use: _COMMENT.sub("", _composed(known, known[use[1]])).removesuffix(";"), text)


def _numbered(name: str, text: str) -> Query:
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        argument = found[1]
        return found[0] if argument is None else f"${numbers.setdefault(argument, len(numbers) + 1)}"

    return Query(name, _ARGUMENT.sub(number, text), tuple(numbers))


def query(name: str) -> Query:
    """Return one named query.

    Raises:
        KeyError: no query has that name.
    """
    return queries()[name]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations in order.

    Raises:
        ValueError: a file is misnamed, the numbers have a gap, or `compatible_from` is none.
    """
    found: list[Migration] = []
    for expected, file in enumerate(_sql_files("migrations"), start=1):
        match = _MIGRATION.fullmatch(file.name)
        if match is None or int(match[1]) != expected:
            msg = f"migrations/{file.name}: expected a name like {expected:04d}_what.sql"
            raise ValueError(msg)
        text = file.read_text(encoding="utf-8")
        said = _COMPATIBLE.match(text)
        compatible_from = expected if said is None else int(said[1])
        if compatible_from > expected:
            msg = f"migrations/{file.name}: compatible_from is {compatible_from}, expected at most {expected}"
            raise ValueError(msg)
        checksum = sha256(text.encode()).hexdigest()
        found.append(Migration(expected, match[2], text, checksum, compatible_from))
    return tuple(found)


def schema() -> str:
    """Return the whole schema as one script: what the migrations add up to."""
    return (files(__name__) / "schema.sql").read_text(encoding="utf-8")


@cache
def analysis(name: str) -> str:
    """Return one query of `analytics/`, or `views`, the statements that these share. They are of DuckDB.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    return (files(__name__) / "analytics" / f"{name}.sql").read_text(encoding="utf-8").strip()


def _sql_files(folder: str) -> list[Traversable]:
    entries = (files(__name__) / folder).iterdir()
    return sorted((entry for entry in entries if entry.name.endswith(".sql")), key=lambda entry: entry.name)

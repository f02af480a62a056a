"""Columns of a statement, each packed into one text, or all rows packed into one. Pure.

A driver encodes an array value by value; joining them is one call, and the server splits as fast as it reads an array.
In SQL, columns are read by `string_to_array(:column, <separator>, <null>)` without the last value, and by
`:column::text::bigint[]`; rows by `string_to_table(:text, <record>)`, and each of them by
`string_to_array(row, <field>, '')`.

Measured and tried: docs/decisions/0008-hot-path/text-columns.md.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FIELD: Final = "\x1f"
RECORD: Final = "\x1e"
"""Unit and record separator: characters that were made for this, and that texts hardly ever hold."""


class Packed(NamedTuple):
    """Columns of texts. Neither mark occurs in any value."""

    separator: str
    null: str
    columns: list[str]


def pack(*columns: Sequence[str | None]) -> Packed:
    """Pack columns of texts; None is packed too. Each text ends with a separator, so that no value is lost."""
    marks = FIELD, RECORD
    packed = _join(columns, *marks)
    if packed is None:
        marks = unused(value for column in columns for value in column if value is not None)
        packed = _join(columns, *marks)
    if packed is None:
        raise AssertionError("a mark that no value holds was found in one")
    return Packed(*marks, packed)


def _join(columns: Iterable[Sequence[str | None]], separator: str, null: str) -> list[str] | None:
    """Return the columns as texts, or None where a mark occurs in a value."""
    packed: list[str] = []
    for column in columns:
        nulls = column.count(None)
        texts = [null if value is None else value for value in column] if nulls else cast("Sequence[str]", column)
        text = separator.join(texts) + separator if texts else ""
        if text.count(separator) != len(column) or text.count(null) != nulls:
            return None
        packed.append(text)
    return packed


def unused(texts: Iterable[str]) -> tuple[str, str]:
    """Return two characters that no text holds."""
    used = set(chain.from_iterable(texts))
    free = (mark for mark in _characters() if mark not in used)
    return next(free), next(free)


def _characters() -> Iterator[str]:
    """Yield every character that a text of the database may hold, rare ones first."""
    for first, end in ((0x10_0000, 0x11_0000), (0xE000, 0xF900), (1, 0xD800), (0xF900, 0x10_0000)):
        yield from map(chr, range(first, end))


def pack_ints(column: Iterable[int]) -> str:
    """Pack a column of integers: the text of an array."""
    return "{%s}" % ",".join(map(str, column))  # noqa: UP031 - the braces are the array's


class Rows(NamedTuple):
    """Rows with the same number of fields, as one text. Neither mark occurs in any value."""

    text: str
    field: str
    record: str


def pack_rows(rows: Sequence[str], width: int, *, field: str = FIELD, record: str = RECORD) -> Rows | None:
    """Pack rows whose fields are joined by `field`; None where a mark occurs in a value."""
    text = record.join(rows)
    plain = text.count(field) == len(rows) * (width - 1) and text.count(record) == max(0, len(rows) - 1)
    return Rows(text, field, record) if plain else None

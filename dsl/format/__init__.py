"""The canonical layout of a file: the same tokens, other white space.

Two spaces of indentation; a clause, field or line of a story a line, their first words aligned; a body that was written
on one line stays there while it fits; at most one blank line, and one around a declaration of several lines. What
does not fit is broken at its brackets. Trailing commas go; comments stay over, behind or below what they are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from dsl.format.printer import Printer
from dsl.parse import parse
from dsl.source import Source

if TYPE_CHECKING:
    from dsl.syntax import File

__all__ = ["MeaningChangedError", "format_file", "format_source", "strip_spans"]

T = TypeVar("T")


class MeaningChangedError(Exception):
    """The formatted text would have another meaning: a bug of the formatter, which refuses to write it."""


def format_source(source: Source) -> str | None:
    """Return the text in canonical layout, or None where it cannot be read without an error."""
    file, problems = parse(source)
    if problems:
        return None
    text = format_file(file)
    again, problems = parse(Source(source.name, text))
    if problems or strip_spans(again.declarations) != strip_spans(file.declarations):
        raise MeaningChangedError(source.name)
    return text


def strip_spans(value: T) -> T:
    """Return a tree without places; trees that are equal without them mean the same."""
    return cast("T", _strip(value))


def _strip(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        fields = {name: _strip(getattr(value, name)) for name in value.__struct_fields__ if name != "span"}
        return type(value)(**fields)
    if isinstance(value, tuple):
        return tuple(_strip(item) for item in cast("tuple[object, ...]", value))
    return value


def format_file(file: File) -> str:
    """Return a file that was read without an error in canonical layout."""
    return "".join(line + "\n" for line in Printer(file).lines())

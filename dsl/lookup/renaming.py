"""Renaming: every place that the new name must be written to, or the reason why it is impossible.

A field that two events share by `distinct=`, a filter or a scope is renamed in both; otherwise the meaning of the
rule would change.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.lookup.index import Kind, Occurrence, Symbol
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.lookup.index import Index
    from dsl.source import Source

TIMEZONE: Final = "timezone"
"""The trait that `tz=user` reads without naming it."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_SCOPES: Final = ("user", "tenant")


class Edit(NamedTuple):
    """A span of a file and its replacement."""

    source: Source
    span: Span
    text: str


class Refused(NamedTuple):
    """The reason why a name is refused, in words."""

    why: str


def renameable(index: Index, place: Occurrence) -> Refused | None:
    """Return the reason why the name at a place cannot be renamed; None if it can."""
    linked = index.linked(place.symbols)
    if not index.declarations(linked):
        return Refused(f"`{place.text}` is declared nowhere")
    if Symbol(Kind.TRAIT, TIMEZONE) in linked:
        return Refused(f"`tz=user` reads the trait `{TIMEZONE}` by this name")
    return None


def rename(index: Index, place: Occurrence, new: str) -> list[Edit] | Refused:
    """Return the edits that give what stands at a place a new name, in all files."""
    linked = index.linked(place.symbols)
    refused = renameable(index, place) or _invalid(linked, new) or _taken(index, linked, new)
    if refused is not None:
        return refused
    own = [Edit(each.source, each.span, new) for each in index.places(linked) if each.text != new]
    families = [symbol.name for symbol in linked if symbol.kind is Kind.FAMILY]
    return own + [edit for name in families for edit in _members(index, name, new)]


def _members(index: Index, family: str, new: str) -> Iterator[Edit]:
    """Yield the edits where members of a family are named: `pets_desert`, `pets_$color`."""
    begin = f"{family}_"
    for symbol in list(index.symbols()):
        if symbol.kind is not Kind.ACHIEVEMENT or not symbol.name.startswith(begin) or index.declarations((symbol,)):
            continue
        for each in index.places((symbol,)):
            start = each.span.start
            yield Edit(each.source, Span(start, start + len(family)), new)


def _invalid(symbols: Iterable[Symbol], new: str) -> Refused | None:
    kinds = {symbol.kind for symbol in symbols}
    if "not" in new.split("."):
        return Refused("`not` cannot be a name or part of one")
    if Kind.EVENT in kinds:
        form, words = _EVENT, "names joined by dots: small letters, digits and underscores, as in lesson.completed"
    else:
        form, words = _NAME, "small letters, digits and underscores, from a letter on, as in ten_lessons"
    if not form.fullmatch(new):
        return Refused(f"`{new}` is no name: it takes {words}")
    if Kind.SCOPE in kinds and new in _SCOPES:
        return Refused(f"`scope {new}` has a meaning of its own")
    return None


def _taken(index: Index, symbols: Iterable[Symbol], new: str) -> Refused | None:
    """Refuse a name that something of the same kind and owner has already."""
    old = set(symbols)
    wanted = {symbol._replace(name=new) for symbol in old} - old
    return Refused(f"`{new}` is declared already") if index.declarations(wanted) else None

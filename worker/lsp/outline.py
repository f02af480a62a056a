"""The outline of a file, and the search for a declaration in all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lsprotocol.types import DocumentSymbol, SymbolKind, WorkspaceSymbol

from dsl.lookup.index import Kind
from dsl.syntax import Achievement, EventDecl, Example, TraitsDecl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lsprotocol.types import DocumentSymbolParams, WorkspaceSymbolParams

    from dsl.source import Span
    from dsl.syntax import Declaration, FieldDecl
    from worker.lsp.desk import Desk, View

_KINDS: Final = {
    Kind.EVENT: SymbolKind.Event,
    Kind.FIELD: SymbolKind.Field,
    Kind.TRAIT: SymbolKind.Property,
    Kind.ACHIEVEMENT: SymbolKind.Class,
    Kind.TIER: SymbolKind.EnumMember,
}
MAX_FOUND: Final = 500
"""Symbols that a search returns; an editor asks again as more is typed."""


def document_symbols(desk: Desk, params: DocumentSymbolParams) -> list[DocumentSymbol] | None:
    """Return the outline of a file."""
    view = desk.view(params.text_document.uri)
    return None if view is None else [_declared(view, node) for node in view.page.file.declarations]


def _declared(view: View, node: Declaration) -> DocumentSymbol:
    match node:
        case EventDecl():
            fields = _fields(view, node.fields, SymbolKind.Field)
            return _symbol(view, node.name.text, SymbolKind.Event, node.span, node.name.span, children=fields)
        case TraitsDecl():
            fields = _fields(view, node.fields, SymbolKind.Property)
            name = f"traits from {node.event.text}"
            return _symbol(view, name, SymbolKind.Struct, node.span, node.event.span, children=fields)
        case Achievement():
            detail = f"version {node.version}" if node.version > 1 else ""
            tiers = [
                _symbol(view, tier.name.text, SymbolKind.EnumMember, tier.span, tier.name.span) for tier in node.tiers
            ]
            symbol = _symbol(view, node.name.text, SymbolKind.Class, node.span, node.name.span, children=tiers)
            symbol.detail = detail
            return symbol
        case Example():
            return _symbol(view, f'example "{node.title}"', SymbolKind.Method, node.span, node.span)


def _fields(view: View, fields: Sequence[FieldDecl], kind: SymbolKind) -> list[DocumentSymbol]:
    return [_symbol(view, field.name.text, kind, field.span, field.name.span) for field in fields]


def _symbol(
    view: View, name: str, kind: SymbolKind, whole: Span, place: Span, *, children: list[DocumentSymbol] | None = None
) -> DocumentSymbol:
    return DocumentSymbol(
        name=name,
        kind=kind,
        range=view.range(whole),
        selection_range=view.range(place),
        children=children or None,
    )


def workspace_symbols(desk: Desk, params: WorkspaceSymbolParams) -> list[WorkspaceSymbol]:
    """Return what is declared under a name in which the letters of the query occur in this order."""
    wanted = params.query.lower()
    return [symbol for symbol, _ in zip(_search(desk, wanted), range(MAX_FOUND), strict=False)]


def _search(desk: Desk, wanted: str) -> Iterator[WorkspaceSymbol]:
    for book in desk.books():
        edition = book.edition()
        for page in edition.pages.values():
            for place in page.names:
                symbol = place.symbols[0]
                if place.whole is not None and symbol.kind in _KINDS and _matches(wanted, symbol.name):
                    location = desk.location(page.source, place.span)
                    yield WorkspaceSymbol(
                        location=location,
                        name=symbol.name,
                        kind=_KINDS[symbol.kind],
                        container_name=symbol.owner or None,
                    )


def _matches(wanted: str, name: str) -> bool:
    letters = iter(name)
    return all(letter in letters for letter in wanted)

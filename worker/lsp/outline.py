"""The outline of a file, and the search for a declaration in all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lsprotocol.types import DocumentSymbol, SymbolKind, WorkspaceSymbol

from dsl.lookup.index import Kind
from dsl.syntax import Achievement, EventDecl, Example, ListDecl, TraitsDecl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lsprotocol.types import DocumentSymbolParams, WorkspaceSymbolParams

    from dsl.source import Source
    from dsl.syntax import Declaration, Node
    from worker.lsp.desk import Desk, View

_KINDS: Final = {
    Kind.EVENT: SymbolKind.Event,
    Kind.FIELD: SymbolKind.Field,
    Kind.TRAIT: SymbolKind.Property,
    Kind.ACHIEVEMENT: SymbolKind.Class,
    Kind.TIER: SymbolKind.EnumMember,
    Kind.LIST: SymbolKind.Enum,
}
MAX_FOUND: Final = 500
"""Symbols that a search returns; an editor asks again as more is typed."""


def document_symbols(desk: Desk, params: DocumentSymbolParams) -> list[DocumentSymbol] | None:
    """Return the outline of a file."""
    view = desk.view(params.text_document.uri)
    return (
        None if view is None else [_Outline(view, source).declared(node) for source, node in view.page.declarations()]
    )


class _Outline:
    """Makes the symbols of one declaration."""

    def __init__(self, view: View, source: Source) -> None:
        self._view = view
        self._source = source

    def declared(self, node: Declaration) -> DocumentSymbol:
        match node:
            case EventDecl():
                return self._symbol(node.name.text, SymbolKind.Event, node, node.name, self._fields(node))
            case TraitsDecl():
                name = f"traits from {node.event.text}"
                return self._symbol(name, SymbolKind.Struct, node, node.event, self._fields(node))
            case Achievement():
                tiers = [
                    self._symbol(tier.name.text, SymbolKind.EnumMember, tier, tier.name)
                    for tier in (*node.tiers, *node.rungs)
                ]
                symbol = self._symbol(node.name.text, SymbolKind.Class, node, node.name, tiers)
                symbol.detail = f"version {node.version}" if node.version > 1 else None
                return symbol
            case ListDecl():
                return self._symbol(f"list {node.name.text}", SymbolKind.Enum, node, node.name)
            case Example():
                return self._symbol(f'example "{node.title}"', SymbolKind.Method, node, node)

    def _fields(self, node: EventDecl | TraitsDecl) -> list[DocumentSymbol]:
        return [self._symbol(field.name.text, SymbolKind.Field, field, field.name) for field in node.fields]

    def _symbol(
        self, name: str, kind: SymbolKind, whole: Node, place: Node, children: list[DocumentSymbol] | None = None
    ) -> DocumentSymbol:
        return DocumentSymbol(
            name=name,
            kind=kind,
            range=self._view.range(self._source, whole.span),
            selection_range=self._view.range(self._source, place.span),
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
            for place in (name for _, piece in page.placed for name in piece.names):
                symbol = place.symbols[0]
                if place.whole is not None and symbol.kind in _KINDS and _matches(wanted, symbol.name):
                    location = desk.location(edition, place.source, place.span)
                    yield WorkspaceSymbol(
                        location=location,
                        name=symbol.name,
                        kind=_KINDS[symbol.kind],
                        container_name=symbol.owner or None,
                    )


def _matches(wanted: str, name: str) -> bool:
    letters = iter(name)
    return all(letter in letters for letter in wanted)

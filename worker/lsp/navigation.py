"""Going to where a name is declared, and finding who else says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol.types import DocumentHighlight, DocumentHighlightKind

if TYPE_CHECKING:
    from lsprotocol.types import DefinitionParams, DocumentHighlightParams, Location, ReferenceParams

    from worker.lsp.desk import Desk


def definition(desk: Desk, params: DefinitionParams) -> list[Location] | None:
    """Return where the name under the cursor is declared; a name may be declared several times, in versions."""
    view = desk.view(params.text_document.uri)
    place = None if view is None else view.name_at(params.position)
    if view is None or place is None:
        return None
    return [view.location(each.source, each.span) for each in view.edition.index.declarations(place.symbols)]


def references(desk: Desk, params: ReferenceParams) -> list[Location] | None:
    """Return every place where the name under the cursor stands, in all files."""
    view = desk.view(params.text_document.uri)
    place = None if view is None else view.name_at(params.position)
    if view is None or place is None:
        return None
    places = view.edition.index.places(place.symbols)
    declared = params.context.include_declaration
    return [view.location(each.source, each.span) for each in places if declared or each.whole is None]


def highlights(desk: Desk, params: DocumentHighlightParams) -> list[DocumentHighlight] | None:
    """Return every place of the file where the name under the cursor stands."""
    view = desk.view(params.text_document.uri)
    place = None if view is None else view.name_at(params.position)
    if view is None or place is None:
        return None
    return [
        DocumentHighlight(
            view.range(each.source, each.span),
            DocumentHighlightKind.Read if each.whole is None else DocumentHighlightKind.Write,
        )
        for each in view.edition.index.places(place.symbols)
        if each.source.name == view.page.uri
    ]

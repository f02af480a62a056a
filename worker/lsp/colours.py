"""Semantic tokens: what each name is, which no grammar of an editor can know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lsprotocol.types import SemanticTokenModifiers, SemanticTokens, SemanticTokensLegend, SemanticTokenTypes

from dsl.lookup.index import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lsprotocol.types import SemanticTokensParams

    from dsl.lookup.index import Occurrence
    from worker.lsp.desk import Desk, View

_TYPES: Final = {
    Kind.EVENT: SemanticTokenTypes.Event,
    Kind.FIELD: SemanticTokenTypes.Property,
    Kind.TRAIT: SemanticTokenTypes.Variable,
    Kind.ACHIEVEMENT: SemanticTokenTypes.Class,
    Kind.TIER: SemanticTokenTypes.EnumMember,
    Kind.SCOPE: SemanticTokenTypes.Property,
    Kind.LIST: SemanticTokenTypes.Enum,
}
_NUMBERS: Final = {kind: number for number, kind in enumerate(_TYPES)}
LEGEND: Final = SemanticTokensLegend(
    token_types=[kind.value for kind in _TYPES.values()],
    token_modifiers=[SemanticTokenModifiers.Declaration.value],
)


def semantic_tokens(desk: Desk, params: SemanticTokensParams) -> SemanticTokens | None:
    """Return what each name of a file is."""
    view = desk.view(params.text_document.uri)
    return None if view is None else SemanticTokens([number for token in _tokens(view) for number in token])


def _tokens(view: View) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield each name: lines and columns from the one before, length, type, modifiers."""
    line = column = 0
    named = (name for _, piece in view.page.placed for name in piece.names)
    for place in (each for each in named if each.symbols[0].kind in _NUMBERS):
        where = view.range(place.source, place.span)
        start, length = where.start, where.end.character - where.start.character
        across = start.character - (column if start.line == line else 0)
        yield start.line - line, across, length, _NUMBERS[_kind(view, place)], int(place.whole is not None)
        line, column = start.line, start.character


def _kind(view: View, place: Occurrence) -> Kind:
    """Return what a name is; behind `in`, a list where one of that name is declared, and otherwise a field."""
    first = place.symbols[0]
    if first.kind is Kind.LIST and len(place.symbols) > 1 and not view.edition.index.declarations((first,)):
        return place.symbols[1].kind
    return first.kind

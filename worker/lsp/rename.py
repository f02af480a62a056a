"""Renaming events, fields, traits, achievements and tiers in all files of a rule set."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lsprotocol.types import PrepareRenamePlaceholder, TextEdit, WorkspaceEdit

from dsl.lookup.renaming import Refused, renameable
from dsl.lookup.renaming import rename as edits_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lsprotocol.types import Position, PrepareRenameParams, RenameParams

    from dsl.lookup.index import Occurrence
    from dsl.lookup.renaming import Edit
    from worker.lsp.desk import Desk, View


class RefusedError(ValueError):
    """A name that cannot be given; the message is for the person who asked."""


def prepare(desk: Desk, params: PrepareRenameParams) -> PrepareRenamePlaceholder | None:
    """Return the name under the cursor, where it can be renamed.

    Raises:
        RefusedError: it cannot be.
    """
    view = desk.view(params.text_document.uri)
    place = None if view is None else _place(view, params.position)
    if view is None or place is None:
        return None
    refused = renameable(view.edition.index, place)
    if refused is not None:
        raise RefusedError(refused.why)
    return PrepareRenamePlaceholder(view.range(place.source, place.span), place.text)


def rename(desk: Desk, params: RenameParams) -> WorkspaceEdit | None:
    """Return the edits that rename what is under the cursor.

    Raises:
        RefusedError: the new name is none, or taken, or a file cannot be read whole.
    """
    view = desk.view(params.text_document.uri)
    place = None if view is None else _place(view, params.position)
    if view is None or place is None:
        return None
    edits = edits_of(view.edition.index, place, params.new_name)
    if isinstance(edits, Refused):
        raise RefusedError(edits.why)
    return as_workspace_edit(view, edits)


def _place(view: View, position: Position) -> Occurrence | None:
    if not view.edition.readable:
        raise RefusedError("a rule file has syntax errors, and names in what cannot be read would be missed")
    return view.name_at(position)


def as_workspace_edit(view: View, edits: Iterable[Edit]) -> WorkspaceEdit:
    """Return edits as the protocol has them, by file."""
    changes: defaultdict[str, list[TextEdit]] = defaultdict(list)
    for edit in edits:
        place = view.location(edit.source, edit.span)
        changes[place.uri].append(TextEdit(place.range, edit.text))
    return WorkspaceEdit(changes=dict(changes))

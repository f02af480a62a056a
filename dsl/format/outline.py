"""The start of declarations, clauses, fields and lines, from the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.syntax import Achievement, EventDecl, Example, Tier, TraitsDecl
from dsl.trees import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.syntax import Condition, Declaration

Block = EventDecl | TraitsDecl | Achievement | Tier | Example
"""What has a body in braces."""


class Entry(NamedTuple):
    """An entry of a body: it begins at an offset, or with the word before it; `block` where it has a body itself."""

    start: int
    before: bool = False
    block: Block | None = None


def entries(node: Block) -> list[Entry]:
    """Return where the entries of a body begin, in the order of the text."""
    match node:
        case EventDecl():
            found = [Entry(field.span.start) for field in node.fields]
            found.extend(Entry(once.span.start) for once in (node.once,) if once is not None)
        case TraitsDecl():
            found = [Entry(field.span.start) for field in node.fields]
        case Example():
            found = [Entry(line.span.start) for line in node.lines]
        case Achievement():
            found = list(_clauses(node))
        case Tier():
            found = list(_tier_clauses(node))
    return sorted(found, key=lambda entry: entry.start)


def _tier_clauses(node: Tier) -> Iterator[Entry]:
    yield Entry(node.when.span.start, before=True)
    for clause in (node.title, node.reward, node.reveal):
        if clause is not None:
            yield Entry(clause.span.start)


def _clauses(node: Achievement) -> Iterator[Entry]:
    for clause in (node.title, node.active, node.reveal, node.reward, node.repeat):
        if clause is not None:
            yield Entry(clause.span.start)
    first = node.after[0] if node.after else None
    for value in (node.about, node.when, node.where, first, node.scope, node.family, node.settle):
        if value is not None:
            yield Entry(value.span.start, before=True)
    for tier in node.tiers:
        yield Entry(tier.span.start, block=tier)


def calls(declarations: tuple[Declaration, ...]) -> set[int]:
    """Return where the names of operators begin."""
    found: set[int] = set()
    for node in declarations:
        if isinstance(node, Achievement):
            for when in (node.when, *(tier.when for tier in node.tiers)):
                found.update(() if when is None else _starts(when))
    return found


def _starts(node: Condition) -> Iterator[int]:
    for part in walk(node):
        yield part.span.start

"""The start of declarations, clauses, fields and lines, from the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from dsl.syntax import Achievement, Call, Condition, EventDecl, Example, Rung, Tier, TraitsDecl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.syntax import Declaration

Block = EventDecl | TraitsDecl | Achievement | Tier | Rung | Example
"""What has a body in braces."""


class Entry(NamedTuple):
    """An entry of a body: it begins `before` words in front of an offset; `block` where it has a body itself."""

    start: int
    before: int = 0
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
            found = [Entry(node.when.span.start, before=1), *_tier_clauses(node)]
        case Rung():
            found = list(_tier_clauses(node))
    return sorted(found, key=lambda entry: entry.start)


def _tier_clauses(node: Tier | Rung) -> Iterator[Entry]:
    for clause in (node.title, node.reward, node.reveal):
        if clause is not None:
            yield Entry(clause.span.start)


def _clauses(node: Achievement) -> Iterator[Entry]:
    for clause in (node.title, node.active, node.reveal, node.reward, node.repeat):
        if clause is not None:
            yield Entry(clause.span.start)
    first = node.after[0] if node.after else None
    if node.renamed:
        yield Entry(node.renamed[0].span.start, before=2)
    for value in (node.about, node.when, node.where, first, node.scope, node.family, node.settle):
        if value is not None:
            yield Entry(value.span.start, before=1)
    for tier in (*node.tiers, *node.rungs):
        yield Entry(tier.span.start, block=tier)


def calls(declarations: tuple[Declaration, ...]) -> set[int]:
    """Return where the names of operators, and of functions in filters, begin."""
    return {start for node in declarations if isinstance(node, Achievement) for start in _starts(node)}


def _starts(value: object) -> Iterator[int]:
    if isinstance(value, Condition | Call):
        yield value.span.start
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _starts(getattr(value, name))
    elif type(value) is tuple:
        for part in cast("tuple[object, ...]", value):
            yield from _starts(part)

"""The clauses of achievements and tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.lookup.place.filters import in_filter
from dsl.lookup.place.frames import is_word, text_of
from dsl.lookup.place.want import Place, Want, want

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.lookup.place.frames import Frame, Node

CLAUSES: Final = (
    *("title", "about", "when", "for", "after", "active", "reveal", "reward", "repeat", "scope", "family", "settle"),
    "renamed",
    "tier",
)


def in_clauses(frame: Frame, clause: Want) -> Place | None:
    """Return what may stand in the body of an achievement or tier; `clause` is what begins a clause there."""
    nodes = frame.nodes
    starts = [at for at, node in enumerate(nodes) if _begins_clause(nodes, at, node)]
    given = frozenset(text_of(nodes[at]) for at in starts) - {"tier"}
    found = want(clause)
    if starts:
        keyword, behind = text_of(nodes[starts[-1]]), nodes[starts[-1] + 1 :]
        found = _in_clause(keyword, behind, clause)
    elif nodes:
        return None
    return None if found is None else found._replace(given=given) if clause in found.wants else found


def _begins_clause(nodes: Sequence[Node], at: int, node: Node) -> bool:
    before = text_of(nodes[at - 1]) if at else ""
    return is_word(node) and text_of(node) in CLAUSES and not (text_of(node) == "after" and before == "reveal")


def _in_clause(keyword: str, behind: Sequence[Node], clause: Want) -> Place | None:
    """Return what may follow the words of a clause; the next clause where this one is complete."""
    if keyword == "for":
        return in_filter(behind, Want.TRAIT, (clause,))
    words = [text_of(node) for node in behind]
    if not words:
        first = _FIRST.get(keyword)
        return None if first is None else want(first)
    match keyword, words:
        case "renamed", [*_, "from" | ","]:
            return None
        case "after", [*_, ","]:
            return want(Want.ACHIEVEMENT)
        case (("when" | "tier"), [_]):
            return None
        case "active", [_] if words != [".."]:
            return None
        case "reveal", ["at" | "after" as how]:
            return want(Want.ACHIEVEMENT) if how == "after" else None
        case "repeat", ["every", *more]:
            return _in_repeat(more, clause)
        case "repeat", ["by"]:
            return want(Want.GROUP)
        case _:
            return want(clause)


def _in_repeat(behind: Sequence[str], clause: Want) -> Place | None:
    match behind:
        case []:
            return want(Want.UNIT)
        case [_]:
            return want(clause, Want.TZ)
        case [_, "tz", "="]:
            return want(Want.ZONE)
        case [_, "tz"]:
            return None
        case _:
            return want(clause)


_FIRST: Final = {
    "after": Want.ACHIEVEMENT,
    "title": Want.TEXT,
    "about": Want.TEXT,
    "when": Want.OPERATOR,
    "reveal": Want.REVEAL,
    "repeat": Want.REPEAT,
    "scope": Want.SCOPE,
    "family": Want.FAMILY,
    "settle": Want.DURATION,
    "renamed": Want.FROM,
}

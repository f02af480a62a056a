"""Filters and the `for` of an achievement: a field, a comparison, a value, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.lookup.place.frames import events_of_item, is_word, last, operator_of, text_of
from dsl.lookup.place.want import Place, Want, want

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.lookup.place.frames import Frame, Node

_COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")
_OPERATIONS: Final = ("+", "-", "*")


def in_filter(nodes: Sequence[Node], field: Want, after: tuple[Want, ...]) -> Place | None:
    """Return what may follow in a filter; `after` is what may follow once it is complete."""
    final, before = text_of(last(nodes)), text_of(last(nodes, 2))
    if not nodes or final in ("and", "or"):
        return want(field, Want.NOT)
    if final in _OPERATIONS:
        return want(field)
    if final in _COMPARISONS:
        return want(Want.VALUE)._replace(field=before)
    match before, final:
        case "is", "not":
            return want(Want.PRESENT)
        case (("" | "and" | "or" | "not"), "not"):
            return want(field)
        case _, "not":
            return None
        case _, "is":
            return want(Want.NOT, Want.PRESENT)
        case _, "in":
            return want(Want.LIST)
        case (("" | "and" | "or" | "not"), _) if is_word(last(nodes)) and final != "present":
            return want(Want.COMPARISON, Want.CONNECTIVE, *after)._replace(field=final)
        case _:
            return want(Want.CONNECTIVE, *after)


def in_group(frame: Frame) -> Place | None:
    """Return what may stand in parentheses of a filter: what may stand where they opened."""
    outer, field = frame.outer, Want.FIELD
    while outer is not None and outer.opening == "(" and not operator_of(outer):
        outer = outer.outer
    if outer is None:
        return None
    if outer.opening == "{":
        field, events = Want.TRAIT, ()
    else:
        events = events_of_item(outer.item())
    found = in_filter(frame.nodes, field, ())
    return None if found is None else found._replace(events=events)


def value_in_list(outer: Frame) -> Place:
    """Return a place for a value in `field in [`."""
    nodes = outer.nodes
    back = 3 if text_of(last(nodes, 2)) == "not" else 2
    return want(Want.VALUE)._replace(field=text_of(last(nodes, back)), events=events_of_item(outer.item()))

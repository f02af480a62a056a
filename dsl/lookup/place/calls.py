"""Conditions: operators, their arguments, events and lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.lookup.place.filters import in_filter, value_in_list
from dsl.lookup.place.frames import CLOSING, OPENING, events_of_item, last, operator_of, text_of
from dsl.lookup.place.want import Place, Want, want
from dsl.lookup.scan import Kind, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.lookup.place.frames import Frame, Node


def in_call(frame: Frame, operator: str, text: str) -> Place | None:
    """Return what may stand among the arguments of an operator."""
    item = frame.item()
    named = len(item) > 1 and text_of(item[1]) == "="
    if not item:
        given = frozenset(text_of(each[0]) for each in frame.items() if len(each) > 1 and text_of(each[1]) == "=")
        return want(*_ARGUMENTS.get(operator, (Want.ARGUMENT,)))._replace(operator=operator, given=given)
    if not named:
        return None
    name, value = text_of(item[0]), item[2:]
    if name in ("event", "unless"):
        return _in_pattern(value)
    if value:
        return None
    return _of_call(name, frame, text)


def _of_call(name: str, frame: Frame, text: str) -> Place | None:
    """Return what an argument of a call may name, one of several in brackets too."""
    if name not in _VALUES:
        return None
    return want(_VALUES[name])._replace(events=_events_of_call(text, frame.start), operator=operator_of(frame))


_ARGUMENTS: Final = {
    "sequence": (Want.STEPS, Want.ARGUMENT),
    "all": (Want.OPERATOR, Want.ARGUMENT),
    "any": (Want.OPERATOR, Want.ARGUMENT),
    "at_least": (Want.OPERATOR, Want.ARGUMENT),
    "unlocked": (Want.ACHIEVEMENT, Want.ARGUMENT),
}
_SEVERAL: Final = ("by", "distinct")
"""Arguments that name one field, or several in brackets."""
_VALUES: Final = {
    "distinct": Want.FIELD,
    "by": Want.GROUP,
    "of": Want.NUMBER_FIELD,
    "per": Want.UNIT,
    "tz": Want.ZONE,
    "within": Want.DURATION,
}


def in_list(frame: Frame, text: str) -> Place | None:
    """Return what may stand in square brackets: events, steps, fields of `by=` and `distinct=`, or values of `in`."""
    before = last(frame.outer.nodes) if frame.outer is not None else None
    if frame.outer is not None and text_of(before) == "=":
        name = text_of(last(frame.outer.nodes, 2))
        if name in _SEVERAL:
            given = frozenset(text_of(each[0]) for each in frame.items() if each)
            found = None if frame.item() else _of_call(name, frame.outer, text)
            return None if found is None else found._replace(given=given)
    if text_of(before) == "in" and frame.outer is not None:
        return None if frame.item() else value_in_list(frame.outer)
    return _in_pattern(frame.item())


def _in_pattern(item: Sequence[Node]) -> Place | None:
    """Return what may stand in an E: an event, then a filter of its fields."""
    if not item:
        return want(Want.COUNTED)
    words = [text_of(node) for node in item]
    if "where" not in words[1:]:
        found = _behind_event(words[1:])
        return None if found is None else found._replace(events=events_of_item(item))
    found = in_filter(item[words.index("where", 1) + 1 :], Want.FIELD, ())
    return None if found is None else found._replace(events=events_of_item(item))


def _behind_event(words: Sequence[str]) -> Place | None:
    """Return what may stand between an event and its filter: a role."""
    match words:
        case []:
            return want(Want.WHERE, Want.AS)
        case ["as"]:
            return want(Want.ROLE)
        case ["as", _]:
            return want(Want.WHERE)
        case _:
            return None


def _events_of_call(text: str, start: int) -> tuple[str, ...]:
    """Return the events of a call that opens at an offset, those behind the place being written too."""
    events: list[str] = []
    depth, name, before, last = 0, "", "", ""
    for token in scan(text, start, declaration_end(text, start)):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if not depth:
            break
        name = before if last == "=" else name
        named = before == "event" and last == "="
        if token.kind is Kind.WORD and (named or (depth > 1 and last in ("[", ",") and name not in _SEVERAL)):
            events.append(token.text)
        before, last = last, token.text
    return tuple(dict.fromkeys(events))


def declaration_end(text: str, offset: int) -> int:
    """Return where the declaration ends that an offset lies in: at the next one, or with the text."""
    end = text.find("\n}", offset)
    return len(text) if end < 0 else end + 2

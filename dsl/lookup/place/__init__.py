"""The valid text at a place: the clause, argument, field or example line that is being written there.

The module splits the text before the place into tokens, from the start of its declaration, and finds the position by
the open brackets. It does not parse, because the current declaration is usually unfinished.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from dsl.lookup.place.calls import in_call, in_list
from dsl.lookup.place.clauses import in_clauses
from dsl.lookup.place.filters import in_group
from dsl.lookup.place.frames import Group, frames, is_word, last, operator_of, text_of
from dsl.lookup.place.stories import in_example, in_payload
from dsl.lookup.place.want import Place, Want, want
from dsl.lookup.scan import Kind, Token, declaration_start, scan
from dsl.source import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.lookup.place.frames import Frame, Node

__all__ = ["Place", "Want", "place_at"]


def place_at(text: str, offset: int) -> Place | None:
    """Return what may stand at an offset; None where nothing can be offered, as in comments and texts."""
    tokens = scan(text, declaration_start(text, offset), offset)
    last = tokens[-1] if tokens else None
    if last is not None and last.kind is Kind.COMMENT and "\n" not in text[last.end : offset]:
        return None
    if last is not None and last.kind is Kind.STRING and last.end == offset and not _closed(last.text):
        return _in_string(tokens, offset)
    start = _typed_from(tokens, offset)
    frame = frames([token for token in tokens if token.end <= start and token.kind is not Kind.COMMENT])
    found = _in_frame(frame, text)
    return None if found is None else found._replace(typed=Span(start, offset))


def _closed(string: str) -> bool:
    return len(string) > 1 and string.endswith('"') and not string.endswith('\\"')


def _in_string(tokens: Sequence[Token], offset: int) -> Place | None:
    """Return a place for the name of a zone; other texts are the author's."""
    before = [token.text for token in tokens[-3:-1]]
    return Place((Want.ZONE_NAME,), Span(tokens[-1].start, offset)) if before == ["tz", "="] else None


def _typed_from(tokens: Sequence[Token], offset: int) -> int:
    """Return where the word begins that is being written, dots and all."""
    start = offset
    for token in reversed(tokens):
        wordy = token.kind in (Kind.WORD, Kind.NUMBER, Kind.INSTANT) or token.text == "."
        if token.end != start or not wordy:
            break
        start = token.start
    return start


# -- by bracket -------------------------------------------------------------------------------------------------------


def _in_frame(frame: Frame, text: str) -> Place | None:
    match frame.opening:
        case "":
            return _at_top(frame.nodes)
        case "{":
            return _in_braces(frame)
        case "[":
            return in_list(frame, text)
        case _:
            return _in_parentheses(frame, text)


def _at_top(nodes: Sequence[Node]) -> Place | None:
    if nodes and isinstance(nodes[-1], Group):
        return want(Want.DECLARATION)
    match [text_of(node) for node in nodes]:
        case []:
            return want(Want.DECLARATION)
        case ["traits"] | ["achievement", _, "version", _]:
            return want(Want.FROM)
        case ["traits", "from"]:
            return want(Want.EVENT)
        case ["traits", "from", _]:
            return want(Want.AS)
        case ["traits", "from", event, "as"]:
            return want(Want.ROLE)._replace(events=(event,))
        case ["achievement", _]:
            return want(Want.VERSION)
        case ["example", _]:
            return want(Want.EACH)
        case [*_, "for", "each", _, "in"]:
            return want(Want.LIST)
        case _:
            return None


def _in_braces(frame: Frame) -> Place | None:
    outer = frame.outer.nodes if frame.outer is not None else []
    if frame.outer is not None and frame.outer.opening == "":
        return _in_declaration(frame, text_of(outer[0]) if outer else "")
    if len(outer) > 1 and text_of(outer[-2]) == "tier":
        return in_clauses(frame, Want.TIER_CLAUSE)
    if outer and text_of(outer[-1]) == "reward":
        given = frozenset(text_of(item[0]).strip('"') for item in frame.items() if item)
        return None if frame.item() else want(Want.REWARD)._replace(given=given)
    if _kind_of(frame.outer) == "example" and is_word(outer[-1] if outer else None):
        return in_payload(frame, text_of(outer[-1]))
    return None


def _kind_of(frame: Frame | None) -> str:
    """Return the word that begins the declaration whose body a frame is."""
    outer = None if frame is None else frame.outer
    return text_of(outer.nodes[0]) if outer is not None and outer.opening == "" and outer.nodes else ""


def _in_declaration(frame: Frame, word: str) -> Place | None:
    match word:
        case "event":
            return _in_event(frame)
        case "traits":
            return want(Want.TYPE) if text_of(last(frame.nodes)) == ":" else None
        case "achievement":
            return in_clauses(frame, Want.CLAUSE)
        case "example":
            return in_example(frame.nodes)
        case _:
            return None


def _in_event(frame: Frame) -> Place | None:
    words = [text_of(node) for node in frame.nodes]
    if words and words[-1] == ":":
        return want(Want.TYPE)
    once = next((at for at in range(len(words) - 1) if words[at : at + 2] == ["once", "per"]), None)
    if once is not None:
        behind = words[once + 2 :]
        if not behind or behind[-1] == ",":
            declared = tuple(word for word, follower in pairwise(words) if follower == ":")
            return want(Want.ONCE_FIELD)._replace(given=frozenset(behind), declared=declared)
        if "within" in behind:
            return want(Want.DURATION) if behind[-1] == "within" else None
        return want(Want.WITHIN)
    if words and words[-1] == "once":
        return want(Want.PER)
    complete = not words or words[-1] == "?" or (len(words) > 1 and words[-2] in (":", ">="))
    return want(Want.ONCE) if complete else None


def _in_parentheses(frame: Frame, text: str) -> Place | None:
    operator = operator_of(frame)
    if operator:
        return in_call(frame, operator, text)
    return in_group(frame)

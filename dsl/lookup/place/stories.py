"""The lines of examples, and the payloads in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.lookup.place.frames import Group, text_of
from dsl.lookup.place.want import Place, Want, want

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.lookup.place.frames import Frame, Node


def in_example(nodes: Sequence[Node]) -> Place | None:
    """Return what may stand in an example: a line, or what goes on with the one at hand."""
    starts = [at for at, node in enumerate(nodes) if text_of(node) in _LINES and _begins_line(nodes, at)]
    users = frozenset(
        text_of(nodes[at + 1 + (text_of(nodes[at]) == "at")])
        for at in starts
        if at + 2 < len(nodes) and text_of(nodes[at]) != "until"
    )
    if not starts:
        return want(Want.LINE) if not nodes else None
    behind = nodes[starts[-1] + 1 :]
    found = _LINES[text_of(nodes[starts[-1]])](behind)
    return None if found is None else found._replace(given=users)


def _begins_line(nodes: Sequence[Node], at: int) -> bool:
    """Return whether `at` begins a line: it does not where it closes an `expect` that has no instant yet."""
    if text_of(nodes[at]) != "at":
        return True
    # `expect USER NAME at INSTANT`, with no payload behind it
    expecting = at > 2 and text_of(nodes[at - 3]) == "expect" and text_of(nodes[at - 2]) != "not"  # noqa: PLR2004
    return not expecting or any(isinstance(node, Group) for node in nodes[at : at + 5])


def _in_given(behind: Sequence[Node]) -> Place | None:
    words = [text_of(node) for node in behind]
    if len(words) <= len(_GIVEN):
        wants = _GIVEN[len(words) - 1] if words else None
        return None if wants is None else want(wants)
    if words[-1] == "every":
        return want(Want.DURATION)
    if words[-2] == "times":
        return want(Want.EVERY)
    if words[-1] in ("times", "tenant", "id"):
        return None
    return want(Want.LINE, Want.SUFFIX)


_GIVEN: Final = (Want.USER, Want.EVENT, None)
"""What follows `at INSTANT`, then a user, then an event."""


def _in_expect(behind: Sequence[Node]) -> Place | None:
    match [text_of(node) for node in behind]:
        case []:
            return want(Want.USER)
        case [_]:
            return want(Want.ACHIEVEMENT, Want.NOT)
        case [_, "not"]:
            return want(Want.ACHIEVEMENT)
        case [_, "not", _] | [*_, "at", _]:
            return want(Want.LINE)
        case [_, _] | [*_, "occurrence", _]:
            return want(Want.LINE, Want.EXPECTATION)
        case [*_, "/", _]:
            return want(Want.LINE)
        case _:
            return None


def in_payload(frame: Frame, event: str) -> Place | None:
    """Return what may stand in a payload: a field of its event, or a value of the field."""
    item = frame.item()
    if not item:
        given = frozenset(text_of(each[0]).strip('"') for each in frame.items() if each)
        return want(Want.KEY)._replace(events=(event,), given=given)
    if len(item) == 2 and text_of(item[1]) == ":":  # noqa: PLR2004 - a key and its colon
        return want(Want.VALUE)._replace(events=(event,), field=text_of(item[0]).strip('"'))
    return None


def _in_until(behind: Sequence[Node]) -> Place | None:
    return want(Want.LINE) if behind else None


_LINES: Final[dict[str, Callable[[Sequence[Node]], Place | None]]] = {
    "at": _in_given,
    "expect": _in_expect,
    "until": _in_until,
}
"""What goes on with a line, by the word that begins it."""

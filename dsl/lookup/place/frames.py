"""The open brackets at a place, and the content of each so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.lookup.scan import Kind, Token

if TYPE_CHECKING:
    from collections.abc import Sequence

OPENING: Final = {"(": ")", "[": "]", "{": "}"}
CLOSING: Final = frozenset(OPENING.values())
OPERATORS: Final = ("count", "sum", "max", "min", "streak", "sequence", "all", "any", "at_least", "unlocked")


class Frame:
    """An open bracket at the place: its content so far, with each closed group as one node."""

    def __init__(self, opening: str, start: int, outer: Frame | None) -> None:
        self.opening = opening
        self.start = start
        self.outer = outer
        self.nodes: list[Token | Group] = []

    def item(self) -> list[Token | Group]:
        """Return what stands behind the last comma."""
        commas = [at for at, node in enumerate(self.nodes) if text_of(node) == ","]
        return self.nodes[commas[-1] + 1 :] if commas else list(self.nodes)

    def items(self) -> list[list[Token | Group]]:
        """Return what stands between the commas."""
        found: list[list[Token | Group]] = [[]]
        for node in self.nodes:
            if text_of(node) == ",":
                found.append([])
            else:
                found[-1].append(node)
        return found


class Group(NamedTuple):
    """Closed brackets and their content."""

    opening: str
    nodes: list[Token | Group]


Node = Token | Group


def text_of(node: Node | None) -> str:
    """Return a token as it stands, a group by its opening bracket, nothing as nothing."""
    return node.text if isinstance(node, Token) else "" if node is None else node.opening


def is_word(node: Node | None) -> bool:
    """Return whether a node is a word."""
    return isinstance(node, Token) and node.kind is Kind.WORD


def frames(tokens: Sequence[Token]) -> Frame:
    """Return the innermost bracket that is open behind some tokens."""
    frame = Frame("", tokens[0].start if tokens else 0, None)
    for token in tokens:
        if token.text in OPENING:
            frame = Frame(token.text, token.start, frame)
        elif token.text in CLOSING and frame.outer is not None:
            frame.outer.nodes.append(Group(frame.opening, frame.nodes))
            frame = frame.outer
        else:
            frame.nodes.append(token)
    return frame


def last(nodes: Sequence[Node], back: int = 1) -> Node | None:
    """Return the last node, or the one so many back; None where there are not so many."""
    return nodes[-back] if len(nodes) >= back else None


def operator_of(frame: Frame | None) -> str:
    """Return the operator whose arguments a frame holds, empty where it holds something else."""
    before = None if frame is None or frame.outer is None else last(frame.outer.nodes)
    return text_of(before) if frame is not None and frame.opening == "(" and text_of(before) in OPERATORS else ""


def events_of_item(item: Sequence[Node]) -> tuple[str, ...]:
    """Return the events of an E, or of an argument `event=E`."""
    nodes = item[2:] if len(item) > 1 and text_of(item[1]) == "=" else item
    first = nodes[0] if nodes else None
    if isinstance(first, Group):
        return tuple(text_of(node) for at, node in enumerate(first.nodes) if is_word(node) and _begins(first.nodes, at))
    return (text_of(first),) if is_word(first) else ()


def _begins(nodes: Sequence[Node], at: int) -> bool:
    return at == 0 or text_of(nodes[at - 1]) == ","

"""A file as tokens, comments among them, and the brackets that they form.

The formatter moves tokens, it does not print the tree: numbers keep their underscores, strings their escapes, arguments
their order, and no comment can get lost. It is given only text that the parser has read without an error, so that
tokens are simpler to distinguish than there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_TOKEN: Final = re.compile(
    r"""
      \#[^\n]*                                                                 # a comment
    | "(?:[^"\\\n]|\\.)*"                                                      # a string
    | \d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)        # an instant
    | \.\.
    | [-$]?\w(?:[\w%]|\$(?=[a-z])|\.(?!\.)|(?<=\d[eE])[+-](?=\d))*            # a name, number, duration, percentage
    | >=|<=|!=|\S
    """,
    re.VERBOSE,
)
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class Token(NamedTuple):
    """A word, sign, string or comment; `breaks` counts the line breaks before it, `tight` marks the `=` of `a=b`."""

    text: str
    start: int
    breaks: int
    tight: bool = False

    @property
    def comment(self) -> bool:
        """Return whether it is a comment."""
        return self.text.startswith("#")


class Item:
    """The content between two commas, or one clause: comments before it, its nodes, and a comment after it."""

    def __init__(self) -> None:
        self.lead: list[str] = []
        self.nodes: list[Token | Group] = []
        self.trail: list[str] = []

    def has_comments(self) -> bool:
        """Return whether a comment stands at it or in it."""
        return bool(self.lead or self.trail) or any(isinstance(n, Group) and n.has_comments() for n in self.nodes)


class Group:
    """Brackets and the items in them; `call` if they hold the arguments of an operator."""

    def __init__(self, opening: str, *, call: bool) -> None:
        self.opening = opening
        self.closing = _CLOSING[opening]
        self.call = call
        self.items: list[Item] = []

    def has_comments(self) -> bool:
        """Return whether a comment stands in it."""
        return any(item.has_comments() for item in self.items)


Node = Token | Group


def tokens(text: str) -> list[Token]:
    """Cut a text into tokens."""
    found: list[Token] = []
    end = 1 if text.startswith("\ufeff") else 0
    for match in _TOKEN.finditer(text, end):
        breaks = text.count("\n", end, match.start())
        value = match[0].rstrip() if match[0].startswith("#") else match[0]
        found.append(Token(value, match.start(), breaks))
        end = match.end()
    return found


class Reader:
    """Reads items and groups from a run of tokens; `calls` holds the offsets of operator names."""

    def __init__(self, run: Sequence[Token], calls: Collection[int]) -> None:
        self._run = run
        self._calls = calls
        self._at = 0

    def clause(self) -> Item:
        """Read the whole run as one item, in which commas are words like others."""
        item = Item()
        while self._at < len(self._run):
            self._step(item)
        if item.nodes and isinstance(item.nodes[0], Token) and item.nodes[0].text == "repeat":
            _tighten(item, len(item.nodes) - 2)
        return item

    def _step(self, item: Item) -> None:
        token = self._run[self._at]
        self._at += 1
        if token.comment:
            item.lead.append(token.text)
        elif token.text in _CLOSING:
            item.nodes.append(self._group(token.text, call=_is_call(item, self._calls)))
        else:
            item.nodes.append(token)

    def _group(self, opening: str, *, call: bool) -> Group:
        group = Group(opening, call=call)
        item = Item()
        while (token := self._run[self._at]).text != group.closing:
            if token.comment:
                self._at += 1
                self._comment(token, item, group)
            elif token.text == ",":
                self._at += 1
                group.items.append(item)
                item = Item()
            else:
                self._step(item)
        self._at += 1
        if item.nodes or item.lead:
            group.items.append(item)
        if call:
            for each in group.items:
                _tighten(each, 1)
        return group

    def _comment(self, token: Token, item: Item, group: Group) -> None:
        """Put a comment to the item that it stands behind, or before the one that it stands over or in."""
        behind = item if item.nodes else group.items[-1] if group.items and not item.lead else None
        if token.breaks == 0 and behind is not None and not behind.trail and self._ends(item):
            behind.trail.append(token.text)
        elif item.nodes and self._ends(item) and self._run[self._at].text != ",":
            # Below the last item: it stays there.
            group.items.append(_copy(item))
            item.nodes, item.trail, item.lead = [], [], [token.text]
        else:
            item.lead.append(token.text)

    def _ends(self, item: Item) -> bool:
        """Return whether an item ends here: after its comma, or before a comma or the closing bracket."""
        following = next(token for token in self._run[self._at :] if not token.comment)
        return not item.nodes or following.text in {",", *_CLOSING.values()}


def _copy(item: Item) -> Item:
    other = Item()
    other.lead, other.nodes, other.trail = item.lead, item.nodes, item.trail
    return other


def _is_call(item: Item, calls: Collection[int]) -> bool:
    last = item.nodes[-1] if item.nodes else None
    return isinstance(last, Token) and last.start in calls


def _tighten(item: Item, place: int) -> None:
    """Mark the `=` at that place of an item: no spaces around it."""
    node = item.nodes[place] if 0 <= place < len(item.nodes) else None
    if isinstance(node, Token) and node.text == "=":
        item.nodes[place] = node._replace(tight=True)


def walk(nodes: Sequence[Node]) -> Iterator[tuple[Node | None, Node]]:
    """Yield each node with the one before it."""
    before: Node | None = None
    for node in nodes:
        yield before, node
        before = node

"""Items to lines: one line if it fits, otherwise one argument, clause, field or example line per line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.format.tokens import Group, Token, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.format.tokens import Item, Node

WIDTH: Final = 110
"""Columns that a line has, where it can be broken."""
STEP: Final = 2
"""Spaces that a body is indented by."""


def flat(nodes: Sequence[Node]) -> str:
    """Return nodes on one line."""
    return "".join(_gap(before, node) + _text(node) for before, node in walk(nodes))


def _text(node: Node) -> str:
    if isinstance(node, Token):
        return node.text
    inner = ", ".join(flat(item.nodes) for item in node.items if item.nodes)
    if node.opening == "{" and inner:
        inner = f" {inner} "
    return f"{node.opening}{inner}{node.closing}"


def _gap(before: Node | None, node: Node) -> str:
    """Return what stands between two neighbours: a space or nothing."""
    if before is None:
        return ""
    if isinstance(node, Group):
        tight = node.call or (isinstance(before, Token) and before.tight)
    else:
        tight = node.tight or node.text in (",", ":", "?", "/")
        tight |= isinstance(before, Token) and (before.tight or before.text == "/")
    return "" if tight else " "


def lay(nodes: Sequence[Node], indent: int, first: str) -> list[str]:
    """Return nodes as lines behind `first`; brackets are broken where comments or the width ask for it."""
    line = first + flat(nodes)
    groups = [node for node in nodes if isinstance(node, Group) and node.items]
    broken = [group for group in groups if group.has_comments()]
    if not broken:
        if len(line) <= WIDTH or not groups:
            return [line]
        broken = [max(groups, key=lambda group: len(_text(group)))]
    lines: list[str] = []
    current = first
    for before, node in walk(nodes):
        current += _gap(before, node)
        if isinstance(node, Group) and node in broken:
            *above, current = _broken(node, indent, current)
            lines.extend(above)
        else:
            current += _text(node)
    return [*lines, current]


def _broken(group: Group, indent: int, current: str) -> list[str]:
    lines = [current + group.opening]
    inside = indent + STEP
    last = max((i for i, item in enumerate(group.items) if item.nodes), default=-1)
    for i, item in enumerate(group.items):
        lines.extend(" " * inside + comment for comment in item.lead)
        if item.nodes:
            lines.extend(lay(item.nodes, inside, " " * inside))
            lines[-1] += "" if i == last else ","
            lines[-1] += "".join(f"  {comment}" for comment in item.trail)
    ending = group.items[-1]
    if group.opening == "{" or ending.trail or not ending.nodes:
        lines.append(" " * indent + group.closing)
    else:
        lines[-1] += group.closing
    return lines


def clause(item: Item, indent: int, align: int) -> list[str]:
    """Return a clause, field or line, with its comments; its first word is padded to `align` columns."""
    lines = [" " * indent + comment for comment in item.lead]
    head, rest = head_of(item)
    start = " " * indent + head
    if rest:
        start = start.ljust(indent + align) + " "
    lines.extend(lay(rest, indent, start) if rest else [start])
    lines[-1] += "".join(f"  {comment}" for comment in item.trail)
    return lines


def head_of(item: Item) -> tuple[str, list[Node]]:
    """Split the first word off a clause, with the colon behind it where there is one."""
    colon = len(item.nodes) > 1 and isinstance(item.nodes[1], Token) and item.nodes[1].text == ":"
    split = 2 if colon else 1
    return flat(item.nodes[:split]), item.nodes[split:]

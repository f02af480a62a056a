"""A rule set as a graph: events, the state kept for them, and the achievements that read it.

The text is in Mermaid or Graphviz format; both draw the flow from left to right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from dsl.remembers import inventory
from dsl.syntax import Unlocked
from dsl.trees import walk, whens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.schema import Rules
    from dsl.syntax import Achievement, Condition

    Shape = Literal["event", "aggregate", "achievement"]


class Box(NamedTuple):
    """A node of the graph: `id` is unique in it."""

    id: str
    shape: Shape
    label: str


class Arrow(NamedTuple):
    """An edge; it has a label if one achievement names another."""

    start: str
    end: str
    label: str = ""


class Picture(NamedTuple):
    """The nodes and edges."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def picture(rules: Rules) -> Picture:
    """Return the picture of rules without errors."""
    aggregates = inventory(rules).aggregates
    heard = dict.fromkeys(name for each in aggregates for name in each.types)
    events = {name: f"e{number}" for number, name in enumerate(heard)}
    known = {name: f"r{number}" for number, name in enumerate(rules.achievements)}
    boxes = [Box(box, "event", name) for name, box in events.items()]
    arrows: list[Arrow] = []
    for number, each in enumerate(aggregates):
        box = f"a{number}"
        scope = "" if each.scope == "user" else f"{each.scope}: "
        boxes.append(Box(box, "aggregate", scope + each.label))
        arrows.extend(Arrow(events[name], box) for name in each.types)
        arrows.extend(Arrow(box, known[name]) for name in dict.fromkeys(user.achievement for user in each.users))
    boxes.extend(Box(box, "achievement", name) for name, box in known.items())
    for name, versions in rules.achievements.items():
        others = dict.fromkeys(pair for version in versions for pair in named(version))
        arrows.extend(Arrow(known[other], known[name], how) for other, how in others)
    return Picture(tuple(boxes), tuple(arrows))


def named(version: Achievement) -> Iterator[tuple[str, str]]:
    """Yield the achievements that a version asks for, and how: `after` or `unlocked`."""
    for target in version.after:
        yield target.achievement.text, "after"
    for when in whens(version):
        yield from ((name, "unlocked") for name in _unlocked(when))


def _unlocked(node: Condition) -> Iterator[str]:
    for part in walk(node):
        if isinstance(part, Unlocked):
            yield part.achievement.text


def mermaid(drawn: Picture) -> str:
    """Return a picture in the language of Mermaid."""
    around = {"event": ("([", "])"), "aggregate": ("[", "]"), "achievement": ("{{", "}}")}
    lines = ["flowchart LR"]
    for box in drawn.boxes:
        opening, closing = around[box.shape]
        lines.append(f'  {box.id}{opening}"{_for_mermaid(box.label)}"{closing}')
    for arrow in drawn.arrows:
        middle = f"-. {arrow.label} .->" if arrow.label else "-->"
        lines.append(f"  {arrow.start} {middle} {arrow.end}")
    return "\n".join(lines) + "\n"


def _for_mermaid(text: str) -> str:
    """Escape what Mermaid would read as its own: it knows entities, without the ampersand."""
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    return escaped.replace("&", "#amp;").replace("`", "#96;").replace("\\", "#92;")


def dot(drawn: Picture) -> str:
    """Return a picture in the language of Graphviz."""
    shapes = {"event": "oval", "aggregate": "box", "achievement": "hexagon"}
    lines = ["digraph rules {", "  rankdir=LR;"]
    lines.extend(f'  {box.id} [shape={shapes[box.shape]}, label="{_for_dot(box.label)}"];' for box in drawn.boxes)
    for arrow in drawn.arrows:
        style = f' [style=dotted, label="{_for_dot(arrow.label)}"]' if arrow.label else ""
        lines.append(f"  {arrow.start} -> {arrow.end}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _for_dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')

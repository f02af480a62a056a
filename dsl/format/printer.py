"""Files and bodies to lines: the owner of each comment, entries on one line, blank lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.format.layout import STEP, WIDTH, clause, flat, head_of, lay
from dsl.format.outline import Entry, calls, entries
from dsl.format.tokens import Reader, tokens
from dsl.syntax import EventDecl, Example, ListDecl, TraitsDecl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.format.outline import Block
    from dsl.format.tokens import Item, Token
    from dsl.syntax import File


class Stretch(NamedTuple):
    """An entry's own tokens, and the comments between it and the next one; no entry before the first one."""

    entry: Entry | None
    own: Sequence[Token]
    after: Sequence[Token]


class Part(NamedTuple):
    """Some lines of a body: an entry or a comment; `blank` if the author left an empty line before it."""

    lines: list[str]
    blank: bool
    comment: bool = False


class Printer:
    """Prints one file."""

    def __init__(self, file: File) -> None:
        self._tokens = tokens(file.source.text)
        self._places = {token.start: place for place, token in enumerate(self._tokens)}
        self._calls = calls(file.declarations)
        self._file = file

    def lines(self) -> list[str]:
        """Return the lines of the file."""
        declared = [
            Entry(node.span.start, block=None if isinstance(node, ListDecl) else node)
            for node in self._file.declarations
        ]
        parts = list(self._parts(declared, (0, len(self._tokens)), 0, 0))
        return _join(_spread(parts))

    def _stretches(self, found: Sequence[Entry], run: tuple[int, int]) -> Iterator[Stretch]:
        """Cut a run of tokens at its entries."""
        places = [self._place(entry) for entry in found]
        first = places[0] if places else run[1]
        yield Stretch(None, (), self._tokens[run[0] : first])
        for entry, start, end in zip(found, places, [*places, run[1]][1:], strict=True):
            last = max(place for place in range(start, end) if not self._tokens[place].comment)
            own = self._tokens[start : last + (self._tokens[last].text != ",")]
            yield Stretch(entry, own, self._tokens[last + 1 : end])

    def _place(self, entry: Entry) -> int:
        place = self._places[entry.start]
        for _ in range(entry.before):
            place -= 1
            while self._tokens[place].comment:
                place -= 1
        return place

    def _parts(self, found: Sequence[Entry], run: tuple[int, int], indent: int, align: int) -> Iterator[Part]:
        for entry, own, after in self._stretches(found, run):
            comments = list(after)
            if entry is not None:
                trail = [comments.pop(0).text] if comments and not comments[0].breaks else []
                yield Part(self._entry(entry, own, trail, indent, align), own[0].breaks > 1)
            for comment in comments:
                yield Part([" " * indent + comment.text], comment.breaks > 1, comment=True)

    def _entry(self, entry: Entry, own: Sequence[Token], trail: list[str], indent: int, align: int) -> list[str]:
        if entry.block is not None:
            return self._block(entry.block, own, trail, indent)
        item = self._item(own)
        item.trail = trail
        head, rest = head_of(item)
        return clause(item, indent, align if rest and head != "once" else 0)

    def _item(self, own: Sequence[Token]) -> Item:
        return Reader(own, self._calls).clause()

    # -- what has a body --

    def _block(self, node: Block, own: Sequence[Token], trail: list[str], indent: int) -> list[str]:
        opening = next(i for i, token in enumerate(own) if token.text == "{")
        header = self._item([token for token in own[:opening] if not token.comment])
        lead = [" " * indent + token.text for token in own[:opening] if token.comment]
        *above, head = lay(header.nodes, indent, " " * indent)
        lead += above
        inner = own[opening + 1 : -1]
        behind = "".join(f"  {comment}" for comment in trail)
        line = self._on_one_line(node, head, own[opening + 1 :])
        if line is not None:
            return [*lead, line + behind]
        start = self._places[own[opening].start] + 1
        run = start, start + len(inner)
        opened = head + " {"
        if inner and inner[0].comment and not inner[0].breaks:
            opened += f"  {inner[0].text}"
            run = start + 1, run[1]
        found = entries(node)
        parts = self._parts(found, run, indent + STEP, self._align(node, found, run))
        return [*lead, opened, *_join(parts), " " * indent + "}" + behind]

    def _on_one_line(self, node: Block, head: str, inside: Sequence[Token]) -> str | None:
        """Return a body on one line if it was written so, or is empty, and fits."""
        if len(inside) == 1:
            return head + " {}"
        if isinstance(node, Example) or any(token.breaks or token.comment for token in inside):
            return None
        start = self._places[inside[0].start]
        texts: list[str] = []
        for entry, own, _ in self._stretches(entries(node), (start, start + len(inside) - 1)):
            if entry is not None:
                comma = "," if texts and isinstance(node, EventDecl | TraitsDecl) and own[1].text == ":" else ""
                texts.append(comma + " " + flat(self._item(own).nodes))
        line = f"{head} {{{''.join(texts)} }}"
        return line if len(line) <= WIDTH else None

    def _align(self, node: Block, found: Sequence[Entry], run: tuple[int, int]) -> int:
        """Return how wide the first words of a body's entries are, where they are aligned."""
        if isinstance(node, Example):
            return 0
        heads = [
            head_of(self._item(own))[0]
            for entry, own, _ in self._stretches(found, run)
            if entry is not None and entry.block is None
        ]
        if isinstance(node, EventDecl | TraitsDecl):
            heads = [head for head in heads if head.endswith(":")]
        return max(map(len, heads), default=0)


def _spread(parts: list[Part]) -> Iterator[Part]:
    """Put blank lines around declarations of several lines and the comments above them."""
    for i, part in enumerate(parts):
        before = parts[i - 1] if i else None
        blank = part.blank or (before is not None and not before.comment and len(before.lines) > 1)
        if before is not None and not before.comment:
            follower = next((p for p in parts[i:] if not p.comment), None)
            attached = not any(p.blank for p in parts[i + 1 : parts.index(follower) + 1]) if follower else False
            blank |= follower is not None and attached and len(follower.lines) > 1
        yield part._replace(blank=blank)


def _join(parts: Iterator[Part]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if part.blank and lines:
            lines.append("")
        lines.extend(part.lines)
    return lines

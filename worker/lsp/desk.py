"""All rule sets of an editor: which file belongs to which.

A workspace folder is one rule set, with every rule file below it, unless the editor names the folders that are
(`ruleSets` of the initialization options, relative to the workspace folders); the deepest folder decides. A file
outside all of them is a rule set of its own. Hidden folders and `node_modules` are left out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from lsprotocol.types import Location, Position, PositionEncodingKind, Range
from pygls.uris import from_fs_path, to_fs_path

from dsl.ruleset import decode
from dsl.source import Span
from worker.lsp.positions import Lines
from worker.lsp.rulebook import Edition, Page, Rulebook
from worker.rulefiles import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.lookup.index import Occurrence
    from dsl.source import Source
    from dsl.story import Verdict

_LEFT_OUT: Final = ("node_modules",)


class View(NamedTuple):
    """A file at one moment, and the rule set around it."""

    desk: Desk
    book: Rulebook
    edition: Edition
    page: Page
    lines: Lines

    def offset(self, position: Position) -> int:
        """Return the offset of a position in the file."""
        return self.lines.offset(position)

    def name_at(self, position: Position) -> Occurrence | None:
        """Return the name at a position."""
        offset = self.offset(position)
        start, piece = self.page.at(offset)
        return self.edition.index.at(piece.source, offset - start)

    def range(self, source: Source, span: Span) -> Range:
        """Return where a span lies, in the file that its source is a piece of."""
        return self.location(source, span).range

    def location(self, source: Source, span: Span) -> Location:
        """Return the file that a source is a piece of, and where a span of it lies there."""
        return self.desk.location(self.edition, source, span)


class Desk:
    """The rule sets, by folder; a file outside all of them by its own path."""

    def __init__(self) -> None:
        self.encoding: PositionEncodingKind | str = PositionEncodingKind.Utf16
        self.verdicts: dict[tuple[str, int], tuple[Edition, Verdict]] = {}
        """What the last run of each example said, by file and number, and the rules that it ran under."""
        self.rule_sets: Sequence[str] = ()
        self._books: dict[str, Rulebook] = {}
        self._uris: dict[str, str] = {}
        self._lines: WeakKeyDictionary[Page, Lines] = WeakKeyDictionary()

    # -- folders --

    def add_folder(self, uri: str) -> None:
        """Read the rule files of a workspace folder."""
        path = to_fs_path(uri)
        if path is None:
            return
        roots = [Path(path, name) for name in self.rule_sets] or [Path(path)]
        for root in roots:
            self._books.setdefault(_plain(root), Rulebook())
        for root in roots:
            for file in _rule_files(root):
                self.read(_uri(file))

    def remove_folder(self, uri: str) -> None:
        """Forget the rule sets of a workspace folder."""
        path = to_fs_path(uri)
        for root in [root for root in self._books if path is not None and _below(root, _plain(Path(path)))]:
            del self._books[root]

    def books(self) -> Iterator[Rulebook]:
        """Yield every rule set."""
        yield from self._books.values()

    def book(self, uri: str) -> Rulebook:
        """Return the rule set that a file belongs to."""
        path = _path(uri)
        roots = [root for root in self._books if _below(path, root)]
        return self._books.setdefault(max(roots, key=len, default=path), Rulebook())

    # -- files --

    def known(self, uri: str) -> str:
        """Return the one URI that a file goes by here, however the editor has escaped it."""
        return self._uris.setdefault(_path(uri), uri)

    def read(self, uri: str) -> Rulebook:
        """Read a file from disk, again or for the first time; it may be gone."""
        book = self.book(uri)
        try:
            source, _ = decode(uri, Path(_path(uri)).read_bytes())
        except OSError:
            book.on_disk(self.known(uri), None)
        else:
            book.on_disk(self.known(uri), source.text)
        return book

    def open(self, uri: str, text: str | None) -> Rulebook:
        """Take a file's text from the editor; None where it was closed."""
        book = self.book(uri)
        if text is not None:
            self._uris[_path(uri)] = self._renamed(book, uri)
        book.opened(self.known(uri), text)
        return book

    def _renamed(self, book: Rulebook, uri: str) -> str:
        """Return the editor's own URI of a file, after the one made from its path has been given up."""
        before = self.known(uri)
        if before != uri:
            book.on_disk(before, None)
            self._uris[_path(uri)] = uri
            self.read(uri)
        return uri

    # -- views --

    def view(self, uri: str) -> View | None:
        """Return a file as it is now; None for one that is not known."""
        uri = self.known(uri)
        book = self.book(uri)
        edition = book.edition()
        page = edition.pages.get(uri)
        return None if page is None else View(self, book, edition, page, self.lines(page))

    def location(self, edition: Edition, source: Source, span: Span) -> Location:
        """Return where a span of a source lies in its file."""
        page, start = edition.home[source]
        return Location(page.uri, self.lines(page).range(Span(start + span.start, start + span.end)))

    def lines(self, page: Page) -> Lines:
        """Return the lines of a file, in the encoding that was agreed on."""
        if page not in self._lines:
            self._lines[page] = Lines(page.text, self.encoding)
        return self._lines[page]


def _rule_files(root: Path) -> Iterable[Path]:
    if root.is_file():
        yield root
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(SUFFIX))


def _path(uri: str) -> str:
    """Return the key of a file: its path, or the URI of a file that was never saved."""
    path = to_fs_path(uri)
    return unquote(uri) if path is None else _plain(Path(path))


def _plain(path: Path) -> str:
    return os.path.normpath(path)


def _uri(path: Path) -> str:
    return from_fs_path(str(path)) or path.as_uri()


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)

"""One rule set: the files as an editor has them, and everything that is known about them.

A declaration is read when its text changes, the whole set checked when one of them did. Whatever else a question needs
(names, verdicts, a program) is made when the first one asks. Advice costs as much as the check, and is no help in the
middle of a word: it is given on request, and until then what was said of unchanged declarations holds.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dsl.advice import advise
from dsl.advice.allow import Allowances
from dsl.analyze import verdicts
from dsl.check import check
from dsl.compile import compile_rules
from dsl.diagnostics import Severity
from dsl.expand import expand
from dsl.lookup.index import Index
from dsl.lookup.pieces import read
from dsl.source import ElementSource, Source, Span
from dsl.syntax import Example, File
from worker.rulefiles import without_collector, yesterday

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.analyze import Verdict
    from dsl.compile import Program
    from dsl.diagnostics import Diagnostic
    from dsl.lookup.pieces import Placed
    from dsl.syntax import Declaration


class Page:
    """One file, read piece by piece. The sources of its pieces are named by its URI."""

    def __init__(self, uri: str, text: str, before: Page | None = None) -> None:
        self.uri = uri
        self.text = text
        self.source = Source(uri, text)
        """The file as a whole, for what reaches over the borders of pieces."""
        self.placed = read(uri, text, () if before is None else (each.piece for each in before.placed))
        self._starts = [each.start for each in self.placed]

    def at(self, offset: int) -> Placed:
        """Return the piece that an offset lies in."""
        return self.placed[bisect_right(self._starts, offset) - 1]

    def declarations(self) -> Iterator[tuple[Source, Declaration]]:
        """Yield what was declared, with the source that its spans are of."""
        for _, piece in self.placed:
            for node in piece.file.declarations:
                yield piece.source, node


class Edition:
    """A rule set at one moment."""

    def __init__(self, pages: Iterable[Page], before: Edition | None = None) -> None:
        self.pages = {page.uri: page for page in pages}
        self._pieces = [each.piece for page in self.pages.values() for each in page.placed]
        self.home = {each.piece.source: (page, each.start) for page in self.pages.values() for each in page.placed}
        """The file that each source is a piece of, and where it stands in it."""
        self.home.update({page.source: (page, 0) for page in self.pages.values()})
        files = [piece.file for piece in self._pieces]
        self._expanded = expand(files)
        self.rules, found = check(files, self._expanded)
        self.problems: list[Diagnostic] = [problem for piece in self._pieces for problem in piece.problems]
        self.problems.extend(found)
        self.events = self.rules.events
        """The declared events; while something cannot be read, those of before too."""
        if before is not None and not self.readable:
            self.events = {**before.events, **self.rules.events}
        self.advised = False
        """Whether advice was given on these rules, and not only kept from those before."""
        self.advice: list[Diagnostic] = []
        """What was advised, before comments silence any of it."""
        if before is not None:
            self.advice = [each for each in before.advice if each.source in self.home]

    def advise(self) -> None:
        """Give advice, if there are no errors."""
        if self.sound:
            self.advice = advise(self._expanded.files, self.rules, yesterday())
        self.advised = True

    def diagnostics(self) -> list[Diagnostic]:
        """Return problems and advice without what is allowed by a comment, each placed in its whole file."""
        whole = [self._placed(problem) for problem in (*self.problems, *self.advice)]
        files = [File(source=page.source, declarations=()) for page in self.pages.values()]
        return Allowances(files).applied(whole, sound=self.sound and self.advised)

    def _placed(self, problem: Diagnostic) -> Diagnostic:
        page, start = self.home[problem.source]
        span = Span(start + problem.span.start, start + problem.span.end)
        return replace(problem, source=page.source, span=span)

    @cached_property
    def index(self) -> Index:
        """Every name, and where it stands."""
        return Index((piece.source, piece.names) for piece in self._pieces)

    def members(self, source: Source, example: Example) -> list[Example]:
        """Return what an example with a `for each` stands for."""
        return [
            node
            for file in self._expanded.files
            if isinstance(file.source, ElementSource) and file.source.whole is source
            for node in file.declarations
            if isinstance(node, Example) and node.span == example.span
        ]

    @property
    def sound(self) -> bool:
        """Whether there are no errors."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)

    @property
    def readable(self) -> bool:
        """Whether every declaration could be read."""
        return not any(piece.problems for piece in self._pieces)

    @cached_property
    def verdicts(self) -> dict[tuple[str, int], Verdict]:
        """Which achievements are final; nothing while there are errors."""
        return verdicts(self.rules) if self.sound else {}

    @cached_property
    def program(self) -> Program | None:
        """The rules, compiled; None while there are errors."""
        return compile_rules(self.rules) if self.sound else None


class Rulebook:
    """The files of one rule set by URI: what is on disk, and over that what is open in the editor."""

    def __init__(self) -> None:
        self._on_disk: dict[str, str] = {}
        self._open: dict[str, str] = {}
        self._pages: dict[str, Page] = {}
        self._edition: Edition | None = None
        self._latest: Edition | None = None

    def on_disk(self, uri: str, text: str | None) -> None:
        """Take note of a file's text on disk; None where it is gone."""
        _set(self._on_disk, uri, text)
        self._edition = None

    def opened(self, uri: str, text: str | None) -> None:
        """Take note of a file's text in the editor; None where it was closed."""
        _set(self._open, uri, text)
        self._edition = None

    def edition(self) -> Edition:
        """Return the rule set as it is now."""
        if self._edition is None:
            texts = self._on_disk | self._open
            with without_collector():
                self._pages = {uri: self._page(uri, texts[uri]) for uri in sorted(texts)}
            self._edition = self._latest = Edition(self._pages.values(), self._latest)
        return self._edition

    def _page(self, uri: str, text: str) -> Page:
        page = self._pages.get(uri)
        return page if page is not None and page.text == text else Page(uri, text, page)


def _set(texts: dict[str, str], uri: str, text: str | None) -> None:
    if text is None:
        texts.pop(uri, None)
    else:
        texts[uri] = text

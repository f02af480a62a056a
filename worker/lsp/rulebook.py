"""One rule set: the files as an editor has them, and everything that is known about them.

A file is parsed when its text changes, the whole set checked when one of them did. Whatever else a question needs
(names, verdicts, a program) is made when the first one asks.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from dsl.analyze import verdicts
from dsl.check import check
from dsl.compile import compile_rules
from dsl.diagnostics import Severity
from dsl.lookup.index import Index, occurrences
from dsl.parse import parse
from dsl.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.analyze import Verdict
    from dsl.compile import Program
    from dsl.diagnostics import Diagnostic
    from dsl.lookup.index import Occurrence


class Page:
    """One file, parsed. Its source is named by its URI."""

    def __init__(self, uri: str, text: str) -> None:
        self.uri = uri
        self.source = Source(uri, text)
        self.file, self.problems = parse(self.source)

    @cached_property
    def names(self) -> list[Occurrence]:
        """The names that stand in it."""
        return occurrences(self.file)


class Edition:
    """A rule set at one moment."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self.pages = {page.uri: page for page in pages}
        self.rules, found = check([page.file for page in self.pages.values()])
        self.problems: list[Diagnostic] = [problem for page in self.pages.values() for problem in page.problems]
        self.problems.extend(found)

    @cached_property
    def index(self) -> Index:
        """Every name, and where it stands."""
        return Index((page.source, page.names) for page in self.pages.values())

    @property
    def sound(self) -> bool:
        """Tell whether there are no errors."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)

    @property
    def readable(self) -> bool:
        """Tell whether every declaration could be read."""
        return not any(page.problems for page in self.pages.values())

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
            self._pages = {uri: self._page(uri, texts[uri]) for uri in sorted(texts)}
            self._edition = Edition(self._pages.values())
        return self._edition

    def _page(self, uri: str, text: str) -> Page:
        page = self._pages.get(uri)
        return page if page is not None and page.source.text == text else Page(uri, text)


def _set(texts: dict[str, str], uri: str, text: str | None) -> None:
    if text is None:
        texts.pop(uri, None)
    else:
        texts[uri] = text

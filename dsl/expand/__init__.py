"""Named lists, families and ladders in other words: what they stand for, before anything is checked.

`expand` takes the files of a whole rule set, because they name each other's lists. What it returns has achievements and
examples as if they had been written out, with the spans of the family. Each of an element has a source of its own
(`ElementSource`), so that a problem can say for which element it is; `settled` puts such problems back to the file.
Expanding files twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from dsl.expand.families import Families, slug
from dsl.expand.ladders import climb
from dsl.expand.lists import Lists, gather
from dsl.expand.names import Resolver, fields_of
from dsl.expand.reported import Reported, settled
from dsl.source import ElementSource
from dsl.syntax import Achievement, Example, File, ListDecl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.diagnostics import Diagnostic
    from dsl.source import Source
    from dsl.syntax import Declaration

__all__ = ["Expanded", "expand", "settled", "slug"]


class Expanded(NamedTuple):
    """Files in which nothing is left to expand, first those given, then one for each element; and what is wrong.

    `lost` are names of achievements that could not be expanded.
    """

    files: list[File]
    problems: list[Diagnostic]
    lost: frozenset[str] = frozenset()


def expand(files: Sequence[File]) -> Expanded:
    """Return the files of a rule set with families, ladders and names of lists in other words."""
    if not any(_is_open(node) for file in files for node in file.declarations):
        return Expanded(list(files), [])
    found = Reported()
    expansion = _Expansion(gather(files, found), Resolver(fields_of(files), found), found)
    own = [replace(file, declarations=tuple(expansion.file(file))) for file in files]
    expansion.families.advise()
    return Expanded([*own, *expansion.made], found.problems, frozenset(expansion.lost))


def _is_open(node: Declaration) -> bool:
    if isinstance(node, ListDecl):
        return True
    return isinstance(node, Achievement | Example) and (
        node.open or node.each is not None or (isinstance(node, Achievement) and bool(node.rungs))
    )


class _Expansion:
    def __init__(self, lists: Lists, resolver: Resolver, found: Reported) -> None:
        self._lists = lists
        self._resolver = resolver
        self._found = found
        self.families = Families(lists, found)
        self.made: list[File] = []
        self.lost: set[str] = set()

    def file(self, file: File) -> Iterator[Declaration]:
        """Yield the declarations of a file that are of no element; keep those that are."""
        for node in file.declarations:
            if isinstance(node, ListDecl):
                continue
            if not isinstance(node, Achievement | Example) or not _is_open(node):
                yield node
                continue
            plain = self._plain(node, file.source)
            if plain is None:
                self._lose(node)
            elif plain.each is None:
                if self.families.nothing_left(plain, file.source):
                    yield plain
                else:
                    self._lose(node)
            else:
                self._family(plain, file.source)

    def _plain(self, node: Achievement | Example, source: Source) -> Achievement | Example | None:
        """Return a declaration without a ladder, and with its names resolved."""
        if isinstance(node, Example):
            return replace(node, open=False)
        climbed = climb(node, source, self._found)
        return None if climbed is None else self._resolver.resolve(climbed, self._lists, source)

    def _family(self, node: Achievement | Example, source: Source) -> None:
        made = self.families.members(node, source)
        if not made:
            self._lose(node)
        var = "" if node.each is None else node.each.var.text
        for element, member in made:
            own = ElementSource(source, element, var)
            whole = self._plain(member, own) if member.open else member
            if whole is None:
                self._lose(member)
            else:
                self.made.append(File(source=own, declarations=(whole,)))

    def _lose(self, node: Achievement | Example) -> None:
        if isinstance(node, Achievement):
            self.lost.add(node.name.text)

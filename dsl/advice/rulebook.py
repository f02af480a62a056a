"""A rule set with the data that all advice needs: the place of each declaration, and proofs about it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from dsl.prove import Conditions, Patterns
from dsl.remembers import Inventory, inventory
from dsl.syntax import Achievement, EventDecl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.schema import Rules
    from dsl.source import Source
    from dsl.syntax import File


class Rulebook:
    """Checked rules with their files."""

    def __init__(self, files: Sequence[File], rules: Rules) -> None:
        self.files = files
        self.rules = rules
        self.patterns = Patterns(rules.schemas, rules.traits)
        self.conditions = Conditions(self.patterns)
        self._sources = {
            (node.name.text, node.version): file.source
            for file in files
            for node in file.declarations
            if isinstance(node, Achievement)
        }

    def source(self, version: Achievement) -> Source:
        """Return the file that a version stands in."""
        return self._sources[version.name.text, version.version]

    def versions(self) -> Iterator[tuple[Source, Achievement]]:
        """Yield every version of every achievement with its file, in the order of the files."""
        for file in self.files:
            for node in file.declarations:
                if isinstance(node, Achievement):
                    yield file.source, node

    def events(self) -> Iterator[tuple[Source, EventDecl]]:
        """Yield every declared event with its file."""
        for file in self.files:
            for node in file.declarations:
                if isinstance(node, EventDecl):
                    yield file.source, node

    @cached_property
    def inventory(self) -> Inventory:
        """What the rules remember."""
        return inventory(self.rules)

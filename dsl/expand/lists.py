"""Named lists: their elements, once each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.syntax import Hole, Instant, ListDecl, Literal
from dsl.values import canonical_number, canonical_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.expand.reported import Reported
    from dsl.source import Source, Span
    from dsl.syntax import File, Operand

_HEAD: Final = re.compile(r"^list[ \t]+([a-z][a-z0-9_]*)", re.MULTILINE)


class NamedList(NamedTuple):
    """The elements of a list, and where it is declared."""

    values: tuple[Literal, ...]
    span: Span
    source: Source


class Lists(NamedTuple):
    """The lists of a rule set by name, and the names of those that could not be read."""

    named: dict[str, NamedList]
    lost: frozenset[str]


def gather(files: Iterable[File], found: Reported) -> Lists:
    """Return the lists of a rule set; of two with one name the first."""
    lists: dict[str, NamedList] = {}
    begun: set[str] = set()
    for file in files:
        begun.update(match[1] for match in _HEAD.finditer(file.source.text))
        for node in file.declarations:
            if not isinstance(node, ListDecl):
                continue
            name = node.name.text
            if name in lists:
                found.error("ACH223", file.source, node.name.span, f"the list `{name}` is declared twice")
                continue
            if not node.values:
                found.error("ACH443", file.source, node.name.span, f"the list `{name}` is empty", "name one element")
            lists[name] = NamedList(fit(node.values, file.source, found), node.name.span, file.source)
    return Lists(lists, frozenset(begun - lists.keys()))


def fit(values: Sequence[Operand], source: Source, found: Reported) -> tuple[Literal, ...]:
    """Return the elements of a list that can be used: strings or numbers, each once; report the others."""
    kept: dict[str, Literal] = {}
    texts = 0
    for value in values:
        if isinstance(value, Instant) or isinstance(value.value, bool | Hole):
            found.error("ACH443", source, value.span, "a list holds strings or numbers")
            continue
        if shown(value) in kept:
            found.error("ACH443", source, value.span, f"{shown(value)} is in the list twice")
            continue
        texts += isinstance(value.value, str)
        if texts not in (0, len(kept) + 1):
            found.error("ACH443", source, value.span, "a list holds strings or numbers, and not both")
            break
        kept[shown(value)] = value
    return tuple(kept.values())


def shown(element: Literal) -> str:
    """Return an element as the language writes it; equal elements, and no others, look alike."""
    value = element.value
    return canonical_text(value) if isinstance(value, str) else canonical_number(value)

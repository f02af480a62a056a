"""Families: one achievement or example for each element of a list.

A family is compiled into a *template*: what does not mention the element is shared by all members.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec
from msgspec.structs import replace

from dsl.expand.lists import fit, shown
from dsl.expand.reported import guess
from dsl.source import Span
from dsl.syntax import Achievement, Example, Hole, Literal, Name, Node, Ref
from dsl.values import value_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.expand.lists import Lists
    from dsl.expand.reported import Reported
    from dsl.source import Source
    from dsl.syntax import ForEach
    from dsl.types import Value

MAX_MEMBERS: Final = 10_000
"""Members of one family."""
MAX_TEXT: Final = 50_000_000
"""Characters that all families would have, written out."""

_HOLE: Final = re.compile(r"\$[a-z][a-z0-9_]*")


class Element(NamedTuple):
    """An element: its value, its text, and the text as a part of a name."""

    value: Value
    text: str
    slug: str


class _Version(NamedTuple):
    """A version of a family: its elements in words, by their part of a name."""

    number: int
    elements: dict[str, str]
    each: ForEach
    source: Source


Fill = Callable[[Element], object]


class Families:
    """Makes the members of families; `MAX_TEXT` is for all of them together."""

    def __init__(self, lists: Lists, found: Reported) -> None:
        self._lists = lists
        self._found = found
        self._text = 0
        self._versions: dict[str, list[_Version]] = {}

    def members(self, node: Achievement | Example, source: Source) -> list[tuple[str, Achievement | Example]]:
        """Return the members with their elements in words; none where that is not possible, which is reported."""
        each = node.each
        if each is None:
            raise AssertionError("only what has a `for each` is a family")
        before = len(self._found.problems)
        elements = self._elements(node, each, source)
        if len(self._found.problems) > before or not self.nothing_left(node, source, each.var.text):
            return []
        if isinstance(node, Achievement):
            version = _Version(
                node.version, {slug(value_text(one.value)): shown(one) for one in elements}, each, source
            )
            self._versions.setdefault(node.name.text, []).append(version)
        self._quoted(node, each.var.text, source)
        make = _maker(node, each.var.text)
        return [(f"{each.var.text} {shown(element)}", make(_element(element))) for element in elements]

    def _quoted(self, node: Achievement | Example, var: str, source: Source) -> None:
        """Report a `$var` in a string, where it stands for itself."""
        for place, text in _strings(node, node.span):
            if f"${var}" in text:
                hint = f"write `${var}` without quotes, or {{{var}}} in the string"
                self._found.warn("ACH548", source, place, f"`${var}` in a string does not stand for the element", hint)

    def advise(self) -> None:
        """Report the elements that a later version of a family drops: their achievements stay as they are."""
        for name, versions in self._versions.items():
            ordered = sorted(versions, key=lambda version: version.number)
            for before, after in pairwise(ordered):
                dropped = [text for part, text in before.elements.items() if part not in after.elements]
                if dropped:
                    more = f" and {len(dropped) - 1:,} more" if len(dropped) > 1 else ""
                    message = f"{dropped[0]}{more} is no element of version {after.number} of `{name}`"
                    hint = f"its achievement stays as version {before.number} has it; to end it, give that an `active`"
                    self._found.warn("ACH543", after.source, after.each.span, message, hint)

    def _elements(self, node: Achievement | Example, each: ForEach, source: Source) -> tuple[Literal, ...]:
        elements = self._listed(each, source)
        self._text += len(elements) * (node.span.end - node.span.start)
        if len(elements) > MAX_MEMBERS:
            message = f"a family has at most {MAX_MEMBERS:,} members; this one has {len(elements):,}"
            self._found.error("ACH446", source, each.span, message)
        elif self._text > MAX_TEXT:
            message = f"written out, families have at most {MAX_TEXT:,} characters together; this one is too much"
            self._found.error("ACH446", source, each.span, message)
        elif isinstance(node, Achievement):
            self._names_apart(elements, each, source)
        return elements

    def _listed(self, each: ForEach, source: Source) -> tuple[Literal, ...]:
        if each.name is None:
            if not each.values:
                self._found.error("ACH443", source, each.span, "a family of an empty list", "name one element")
            return fit(each.values, source, self._found)
        named = self._lists.named.get(each.name.text)
        if named is None and each.name.text in self._lists.lost:
            return ()
        if named is None:
            hint = guess(each.name.text, self._lists.named.keys()) or f'declare it: list {each.name.text} = ["a", "b"]'
            self._found.error("ACH224", source, each.name.span, f"there is no list `{each.name.text}`", hint)
            return ()
        return named.values

    def _names_apart(self, elements: tuple[Literal, ...], each: ForEach, source: Source) -> None:
        """Report elements that would make two achievements of one name."""
        seen: dict[str, Literal] = {}
        for element in elements:
            part = slug(value_text(element.value))
            other = seen.setdefault(part, element)
            if other is not element:
                message = f"{shown(other)} and {shown(element)} make one name: ..._{part}"
                self._found.error("ACH447", source, each.span, message, "rename one of them")
                return

    def nothing_left(self, node: Achievement | Example, source: Source, var: str | None = None) -> bool:
        """Return whether no `$var` is left but that of the family; report those that are."""
        left = next((place for place, name in _holes(node, node.span) if name != var), None)
        if left is None:
            return True
        name = next(name for _, name in _holes(node, node.span) if name != var)
        hint = f"the element of this family is `${var}`" if var else f"write: for each {name} in [...]"
        self._found.error("ACH448", source, left, f"`${name}` stands for no element here", hint)
        return False


def _element(literal: Literal) -> Element:
    text = value_text(literal.value)
    return Element(literal.value, text, slug(text))


def slug(text: str) -> str:
    """Return the text of an element as a part of a name."""
    return "".join(char if char in "abcdefghijklmnopqrstuvwxyz0123456789" else "_" for char in text.lower())


def _holes(value: object, place: Span) -> Iterator[tuple[Span, str]]:
    """Yield every `$var` of a tree: about where it stands, and its name."""
    if isinstance(value, Hole):
        yield place, value[1:]
    elif isinstance(value, Name):
        found = _HOLE.search(value.text)
        if found is not None:
            yield value.span, found[0][1:]
    elif type(value) in (tuple, list):
        for part in cast("tuple[object, ...]", value):
            yield from _holes(part, place)
    elif isinstance(value, dict):
        for part in cast("dict[str, object]", value).values():
            yield from _holes(part, place)
    elif isinstance(value, msgspec.Struct):
        within = value.span if isinstance(value, Node) else place
        for name in value.__struct_fields__:
            yield from _holes(getattr(value, name), within)


def _strings(value: object, place: Span) -> Iterator[tuple[Span, str]]:
    """Yield every string of a tree that is no name: about where it stands, and its text."""
    if isinstance(value, str):
        if not isinstance(value, Hole):
            yield place, value
    elif isinstance(value, dict):
        for part in cast("dict[str, object]", value).values():
            yield from _strings(part, place)
    elif isinstance(value, tuple | list) and not isinstance(value, Span):
        for part in cast("tuple[object, ...]", value):
            yield from _strings(part, place)
    elif isinstance(value, msgspec.Struct) and not isinstance(value, Name | Ref):
        within = value.span if isinstance(value, Node) else place
        for name in value.__struct_fields__:
            yield from _strings(getattr(value, name), within)


# -- templates --------------------------------------------------------------------------------------------------------


def _maker(node: Achievement | Example, var: str) -> Callable[[Element], Achievement | Example]:
    """Return what makes the member of an element."""
    plain = replace(node, each=None)
    fill = _fill(plain, var)
    if isinstance(plain, Example):
        titled = f"{{{var}}}" in plain.title

        def example(element: Element) -> Example:
            made = cast("Example", plain if fill is None else fill(element))
            return made if titled else replace(made, title=f"{made.title} ({element.text})")

        return example
    base, family = plain.name, plain.family or Name(text=plain.name.text, span=plain.name.span)

    def achievement(element: Element) -> Achievement:
        made = cast("Achievement", plain if fill is None else fill(element))
        renamed = tuple(Name(text=f"{one.text}_{element.slug}", span=one.span) for one in plain.renamed)
        name = Name(text=f"{base.text}_{element.slug}", span=base.span)
        return replace(made, name=name, family=family, renamed=renamed)

    return achievement


def _fill(value: object, var: str) -> Fill | None:
    """Return what puts an element into a part of a tree; None where nothing of it is asked for."""
    match value:
        case Hole():
            return lambda element: element.value
        case Name(text=text) if f"${var}" in text:
            return lambda element: Name(text=text.replace(f"${var}", element.slug), span=value.span)
        case str():
            if f"{{{var}}}" not in value:
                return None
            return lambda element: value.replace(f"{{{var}}}", element.text)
        case msgspec.Struct():
            return _fill_struct(value, var)
        case dict():
            return _fill_object(cast("dict[str, object]", value), var)
        case list():
            return _fill_items(cast("list[object]", value), var, list)
        case tuple() if not isinstance(value, Span):
            return _fill_items(cast("tuple[object, ...]", value), var, _tuple)
        case _:
            return None


def _tuple(items: list[object]) -> tuple[object, ...]:
    return tuple(items)


def _fill_struct(node: msgspec.Struct, var: str) -> Fill | None:
    fills = {name: fill for name in node.__struct_fields__ if (fill := _fill(getattr(node, name), var)) is not None}
    if not fills:
        return None
    # Constants are of any type; everything else that is written in a tree as text stays one.
    texts = {name for name in fills if isinstance(getattr(node, name), Hole) and not isinstance(node, Literal)}

    def filled(element: Element) -> object:
        values = {name: element.text if name in texts else fill(element) for name, fill in fills.items()}
        return replace(node, **values)

    return filled


def _fill_object(values: dict[str, object], var: str) -> Fill | None:
    fills = {name: (_fill(name, var), _fill(part, var)) for name, part in values.items()}
    if all(one is None and two is None for one, two in fills.values()):
        return None

    def filled(element: Element) -> object:
        return {
            name if key is None else key(element): values[name] if part is None else part(element)
            for name, (key, part) in fills.items()
        }

    return filled


def _fill_items(
    items: list[object] | tuple[object, ...], var: str, make: Callable[[list[object]], object]
) -> Fill | None:
    fills = [_fill(item, var) for item in items]
    if all(fill is None for fill in fills):
        return None
    pairs = list(zip(items, fills, strict=True))
    return lambda element: make([item if fill is None else fill(element) for item, fill in pairs])

"""Names and their meanings, over all files of a rule set: the declaration of each, and its references.

The event identifies a field, the achievement identifies a tier. One word may have several meanings at once:
`distinct=lesson_id` after a list of two events is the field of both.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from dsl.built_ins import COUNTED, UNLOCKS
from dsl.expressions import leaves, refs
from dsl.lookup.scan import Kind as Look
from dsl.lookup.scan import scan
from dsl.source import Source, Span
from dsl.syntax import (
    Achievement,
    Contains,
    Count,
    CountGroups,
    EventDecl,
    Example,
    Expect,
    Extreme,
    Given,
    ListDecl,
    RepeatBy,
    Sequence,
    Streak,
    Sum,
    TraitsDecl,
    Unlocked,
)
from dsl.trees import below, in_group, key_of
from dsl.unlocks import named_outright

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from dsl.syntax import Condition, Declaration, File, ForEach, Name, Pattern, Predicate, Ref, Rung, Target, Tier

_OWN_SCOPES = ("user", "tenant")


class Kind(StrEnum):
    """The kinds of names."""

    EVENT = "event"
    FIELD = "field"
    TRAIT = "trait"
    ACHIEVEMENT = "achievement"
    TIER = "tier"
    SCOPE = "scope"
    """A scope is named by a field; scopes of one name are one scope."""
    LIST = "list"
    FAMILY = "family"
    """An achievement with a `for each`: it declares one for each element."""
    VARIABLE = "variable"
    """What stands for the element; `owner` says which family's it is."""


class Symbol(NamedTuple):
    """A named thing; `owner` is the event of a field, or the achievement of a tier."""

    kind: Kind
    name: str
    owner: str = ""


class Occurrence(NamedTuple):
    """A place of a name, its meaning there, and for a declaration its whole span (`whole`)."""

    source: Source
    span: Span
    symbols: tuple[Symbol, ...]
    whole: Span | None = None

    @property
    def text(self) -> str:
        """The name as it stands there."""
        return self.source.text[self.span.start : self.span.end]


class Index:
    """Every name of a rule set."""

    def __init__(self, files: Iterable[tuple[Source, list[Occurrence]]]) -> None:
        self._files = dict(files)
        self._starts = {source: [each.span.start for each in found] for source, found in self._files.items()}
        self._places: defaultdict[Symbol, list[Occurrence]] = defaultdict(list)
        for found in self._files.values():
            for each in found:
                for symbol in each.symbols:
                    self._places[symbol].append(each)

    def at(self, source: Source, offset: int) -> Occurrence | None:
        """Return the name that an offset lies in or touches."""
        found = self._files.get(source, [])
        last = bisect_right(self._starts.get(source, []), offset) - 1
        touching = (each for each in found[max(0, last - 1) : last + 1] if each.span.end >= offset)
        return max(touching, key=lambda each: each.span.start, default=None)

    def places(self, symbols: Iterable[Symbol]) -> list[Occurrence]:
        """Return every place where one of the symbols stands, its declarations among them."""
        found = {(each.source, each.span): each for symbol in symbols for each in self._places.get(symbol, ())}
        return list(found.values())

    def declarations(self, symbols: Iterable[Symbol]) -> list[Occurrence]:
        """Return where the symbols are declared."""
        return [each for each in self.places(symbols) if each.whole is not None]

    def linked(self, symbols: Iterable[Symbol]) -> set[Symbol]:
        """Return the symbols and all that must bear the same name, since some place means both at once."""
        known = set(symbols)
        waiting = list(known)
        while waiting:
            for each in self._places.get(waiting.pop(), ()):
                more = set(each.symbols) - known
                known |= more
                waiting.extend(more)
        return known

    def symbols(self) -> Iterator[Symbol]:
        """Yield everything that has a name."""
        yield from self._places


def occurrences(file: File) -> list[Occurrence]:
    """Return the names that stand in one file, in the order of its text."""
    finder = _Finder(file.source)
    for node in file.declarations:
        finder.declaration(node)
    return sorted(finder.found, key=lambda each: each.span)


class _Finder:
    """Walks one file's tree."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.found: list[Occurrence] = []

    def _add(self, span: Span, *symbols: Symbol, whole: Span | None = None) -> None:
        if symbols:
            self.found.append(Occurrence(self._source, span, symbols, whole))

    def _fields(self, span: Span, name: str, events: Iterable[str]) -> None:
        self._add(span, *(Symbol(Kind.FIELD, name, event) for event in dict.fromkeys(events)))

    # -- declarations --

    def declaration(self, node: Declaration) -> None:
        match node:
            case EventDecl():
                self._event(node)
            case TraitsDecl():
                self._traits(node)
            case Achievement():
                self._achievement(node)
            case Example():
                self._example(node)
            case ListDecl():
                self._add(node.name.span, Symbol(Kind.LIST, node.name.text), whole=node.span)

    def _event(self, node: EventDecl) -> None:
        name = node.name.text
        self._add(node.name.span, Symbol(Kind.EVENT, name), whole=node.span)
        for field in node.fields:
            self._add(field.name.span, Symbol(Kind.FIELD, field.name.text, name), whole=field.span)
        for field in () if node.once is None else node.once.fields:
            self._fields(field.span, field.text, (name,))

    def _traits(self, node: TraitsDecl) -> None:
        event = node.event.text
        self._add(node.event.span, Symbol(Kind.EVENT, event), whole=node.span)
        if node.role is not None:
            self._fields(node.role.span, node.role.text, (event,))
        for field in node.fields:
            symbols = Symbol(Kind.TRAIT, field.name.text), Symbol(Kind.FIELD, field.name.text, event)
            self._add(field.name.span, *symbols, whole=field.span)

    def _achievement(self, node: Achievement) -> None:
        name = node.name.text
        family = () if node.each is None else (Symbol(Kind.FAMILY, name),)
        self._add(node.name.span, Symbol(Kind.ACHIEVEMENT, name), *family, whole=node.span)
        self._each(node.each, node.span)
        heard: set[str] = set()
        if node.when is not None:
            heard |= self._condition(node.when)
        for tier in node.tiers:
            self._tier(name, tier)
            heard |= self._condition(tier.when)
        for rung in node.rungs:
            self._tier(name, rung)
        for target in node.after:
            self._target(target.achievement, target.tier)
        if node.reveal is not None and node.reveal.after is not None:
            self._named(node.reveal.after)
        for ref in () if node.where is None else _refs(node.where):
            self._add(ref.span, Symbol(Kind.TRAIT, ref.name))
        if isinstance(node.repeat, RepeatBy):
            self._keys((node.repeat.field,), heard)
        if node.scope is not None and node.scope.name not in _OWN_SCOPES:
            fields = (Symbol(Kind.FIELD, node.scope.name, event) for event in sorted(heard))
            self._add(node.scope.span, Symbol(Kind.SCOPE, node.scope.name), *fields)

    def _tier(self, achievement: str, tier: Tier | Rung) -> None:
        self._add(tier.name.span, Symbol(Kind.TIER, tier.name.text, achievement), whole=tier.span)
        if tier.reveal is not None and tier.reveal.after is not None:
            self._named(tier.reveal.after)

    def _each(self, each: ForEach | None, whole: Span) -> None:
        if each is None:
            return
        if each.name is not None:
            self._add(each.name.span, Symbol(Kind.LIST, each.name.text))
        symbol = Symbol(Kind.VARIABLE, each.var.text, f"{id(self._source)}:{whole.start}")
        self._add(each.var.span, symbol, whole=each.span)
        for span in _mentions(self._source, each.var.text, whole):
            self._add(span, symbol)

    def _named(self, target: Target) -> None:
        self._target(target.achievement, target.tier)

    def _target(self, achievement: Name, tier: Name | None) -> None:
        self._add(achievement.span, Symbol(Kind.ACHIEVEMENT, achievement.text))
        if tier is not None:
            self._add(tier.span, Symbol(Kind.TIER, tier.text, achievement.text))

    # -- conditions --

    def _condition(self, node: Condition) -> set[str]:
        """Find the names of a condition; return the events that it counts."""
        if key_of(node):
            heard = self._condition(in_group(node))
            return self._keys(key_of(node), heard)
        if node.mods.unless is not None:
            self._pattern(node.mods.unless)
        match node:
            case Count(event=event, distinct=names):
                return self._keys(names, self._over((event,), None))
            case Sum(event=event, of=field) | Extreme(event=event, of=field):
                return self._over((event,), field)
            case Streak(event=event):
                return self._over((event,), None)
            case Sequence(steps=steps, by=field):
                return self._over(steps, field)
            case Unlocked():
                self._target(node.achievement, node.tier)
                return set()
            case CountGroups(by=by, inner=inner):
                return self._keys(by, self._condition(inner))
            case _:
                return {event for part in below(node) for event in self._condition(part)}

    def _keys(self, names: Iterable[Name], heard: set[str]) -> set[str]:
        """Find the fields by which events are grouped or counted; `actor` and `at.date` are no fields."""
        for name in names:
            if name.text not in COUNTED:
                self._fields(name.span, name.text, sorted(heard))
        return heard

    def _over(self, patterns: tuple[Pattern, ...], field: Name | None) -> set[str]:
        events = [event for pattern in patterns for event in self._pattern(pattern)]
        if field is not None:
            self._fields(field.span, field.text, events)
        return set(events)

    def _pattern(self, node: Pattern) -> list[str]:
        events = [one.event.text for one in node.alternatives]
        for one in node.alternatives:
            self._add(one.event.span, Symbol(Kind.EVENT, one.event.text))
            if one.role is not None and node.role is None:
                self._fields(one.role.span, one.role.text, (one.event.text,))
            self._filter(one.where, (one.event.text,))
        if node.role is not None:
            self._fields(node.role.span, node.role.text, events)
        self._filter(node.where, events)
        return events

    def _filter(self, where: Predicate | None, events: Collection[str]) -> None:
        lists = (
            set[Span]() if where is None else {each.list.span for each in leaves(where) if isinstance(each, Contains)}
        )
        if UNLOCKS in events:
            for name, literal in named_outright(where):
                # Between the quotes: who renames the achievement means it here, too.
                self._add(Span(literal.span.start + 1, literal.span.end - 1), Symbol(Kind.ACHIEVEMENT, name))
        for ref in () if where is None else _refs(where):
            fields = [Symbol(Kind.FIELD, ref.name, event) for event in dict.fromkeys(events)]
            # Which of both it is, a field or a list, the whole rule set says.
            self._add(ref.span, *([Symbol(Kind.LIST, ref.name)] if ref.span in lists else ()), *fields)

    # -- examples --

    def _example(self, node: Example) -> None:
        self._each(node.each, node.span)
        for line in node.lines:
            if isinstance(line, Given):
                self._add(line.event.span, Symbol(Kind.EVENT, line.event.text))
                for span, key in _keys(self._source, line) if line.payload else ():
                    self._fields(span, key, (line.event.text,))
            elif isinstance(line, Expect):
                self._target(line.target.achievement, line.target.tier)


def _refs(predicate: Predicate) -> Iterator[Ref]:
    """Yield every field or trait that a predicate uses; built-ins have no declaration."""
    return (ref for ref in refs(predicate) if not ref.builtin)


def _mentions(source: Source, var: str, whole: Span) -> Iterator[Span]:
    """Yield where `$var` stands in a family, and `{var}` in its strings: the name alone."""
    tokens = scan(source.text, whole.start, whole.end)
    for before, token in pairwise(tokens):
        if before.text == "$" and token.text.partition(".")[0] == var and before.end == token.start:
            yield Span(token.start, token.start + len(var))
    for token in tokens:
        if token.kind is Look.STRING:
            for found in re.finditer(rf"\{{({var})\}}", token.text):
                yield Span(token.start + found.start(1), token.start + found.end(1))


def _keys(source: Source, line: Given) -> Iterator[tuple[Span, str]]:
    """Yield the keys of a payload, which the tree keeps no places of; quotes do not belong to a name."""
    depth = 0
    tokens = scan(source.text, line.event.span.end, line.span.end)
    for token, follower in pairwise(tokens):
        depth += token.text in ("{", "[")
        depth -= token.text in ("}", "]")
        if depth == 1 and follower.text == ":" and token.kind in (Look.WORD, Look.STRING):
            quoted = token.kind is Look.STRING
            span = Span(token.start + quoted, token.end - quoted)
            yield span, source.text[span.start : span.end]

"""Names that only the whole rule set can resolve: lists behind `in`, `at`, and `>= all`.

`x in NAME` asks a list that the rule set names, or a list field of the event. `at` is the event's own time, unless the
event declares a field of that name. `>= all` is the length of the one list that the filter asks of the counted field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from msgspec.structs import replace

from dsl.built_ins import ACTOR, AT, COUNTED
from dsl.expand.reported import guess
from dsl.expressions import constant_key
from dsl.syntax import (
    Achievement,
    And,
    Arithmetic,
    Call,
    Cmp,
    Compare,
    Contains,
    Count,
    EventDecl,
    Hole,
    Literal,
    Member,
    Not,
    Or,
    Pattern,
    Present,
    Ref,
    TraitsDecl,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dsl.expand.lists import Lists
    from dsl.expand.reported import Reported
    from dsl.source import Source
    from dsl.syntax import Condition, Expression, File, Predicate

    Fields = Mapping[str, set[str]]

TRAITS = ""
"""In the place of an event, the traits of users."""


def fields_of(files: Iterable[File]) -> dict[str, set[str]]:
    """Return the names of the fields that each event declares, and under TRAITS those of all traits."""
    found: dict[str, set[str]] = {TRAITS: set()}
    for file in files:
        for node in file.declarations:
            if isinstance(node, EventDecl | TraitsDecl):
                event = node.name if isinstance(node, EventDecl) else node.event
                names = {field.name.text for field in node.fields}
                found.setdefault(event.text, set()).update(names)
                if isinstance(node, TraitsDecl):
                    found[TRAITS] |= names
    return found


class Resolver:
    """Resolves the names of achievements."""

    def __init__(self, fields: Fields, found: Reported) -> None:
        self._fields = fields
        self._found = found

    def resolve(self, node: Achievement, lists: Lists, source: Source) -> Achievement | None:
        """Return an achievement with its names resolved; None where one has no meaning, which is reported.

        It stays open where only the members of the family have a meaning.
        """
        before = len(self._found.problems)
        names = _Names(self._fields, lists, source, self._found)
        where = None if node.where is None else names.predicate(node.where, (TRAITS,))
        when = None if node.when is None else names.condition(node.when)
        tiers = tuple(replace(tier, when=names.condition(tier.when)) for tier in node.tiers)
        changed = replace(node, where=where, when=when, tiers=tiers, open=names.is_open)
        return changed if len(self._found.problems) == before else None


class _Names:
    def __init__(self, fields: Fields, lists: Lists, source: Source, found: Reported) -> None:
        self._fields = fields
        self._lists = lists
        self._source = source
        self._found = found
        self.is_open = False
        """Whether a `>= all` asks for a list with the element of a family in it."""

    # -- conditions --

    def condition(self, node: Condition) -> Condition:
        """Return a condition with the names in its patterns resolved, and its bounds known."""
        return cast("Condition", self._walk(node))

    def _walk(self, value: object) -> object:
        """Return any part of a tree with its patterns resolved; the same object where nothing changes."""
        if isinstance(value, Pattern):
            return self._pattern(value)
        if type(value) is tuple:
            items = cast("tuple[object, ...]", value)
            parts = tuple(map(self._walk, items))
            return parts if any(one is not two for one, two in zip(parts, items, strict=True)) else items
        if not isinstance(value, msgspec.Struct):
            return value
        fields = {name: (part, self._walk(part)) for name in value.__struct_fields__ if (part := getattr(value, name))}
        changed = {name: after for name, (before, after) in fields.items() if after is not before}
        node = replace(value, **changed) if changed else value
        cmp = getattr(node, "cmp", None)
        return self._all(node, cmp) if isinstance(cmp, Cmp) and cmp.kind == "all" else node

    def _all(self, node: msgspec.Struct, cmp: Cmp) -> msgspec.Struct:
        """Return an operator with what `>= all` stands for; of a family, each member has a list of its own."""
        if not isinstance(node, Count):
            self._refuse(cmp, "`all` is a bound of `count` with `distinct=F` only: the length of a list")
        elif _has_hole(node.event):
            self.is_open = True
        else:
            return self._counted(node)
        return node

    def _counted(self, node: Count) -> Count:
        """Return a count with the length of its list for a bound."""
        number = self._length(node.event, node.distinct[0].text) if len(node.distinct) == 1 else None
        if node.cmp.op != ">=":
            self._refuse(node.cmp, f"`all` is a bound with `>=`, not with `{node.cmp.op}`")
        elif number is None:
            self._refuse(node.cmp, "`>= all` needs exactly one `F in LIST` in the filter, of the field of `distinct=F`")
        return replace(node, cmp=replace(node.cmp, bound=number or 1, kind=""))

    def _refuse(self, cmp: Cmp, message: str) -> None:
        hint = "for example: count(event=pet.hatched where pet in base_pets, distinct=pet, >= all)"
        self._found.error("ACH444", self._source, cmp.span, message, hint)

    def _length(self, pattern: Pattern, field: str) -> int | None:
        filters = [pattern.where]
        if len(pattern.alternatives) == 1:
            filters.append(pattern.alternatives[0].where)
        parts = [part for each in filters if each is not None for part in _conjuncts(each)]
        lists = [
            part.values
            for part in parts
            if isinstance(part, Member) and not part.negated and isinstance(part.left, Ref) and part.left.name == field
        ]
        return None if len(lists) != 1 else len({constant_key(value) for value in lists[0]})

    # -- filters --

    def _pattern(self, node: Pattern) -> Pattern:
        alternatives = tuple(
            one if one.where is None else replace(one, where=self.predicate(one.where, (one.event.text,)))
            for one in node.alternatives
        )
        events = tuple(one.event.text for one in node.alternatives)
        where = None if node.where is None else self.predicate(node.where, events)
        return replace(node, alternatives=alternatives, where=where)

    def predicate(self, node: Predicate, events: tuple[str, ...]) -> Predicate:
        """Return a filter of events, or of TRAITS, with its names resolved."""
        match node:
            case Not(part=part):
                return replace(node, part=self.predicate(part, events))
            case And(parts=parts) | Or(parts=parts):
                return replace(node, parts=tuple(self.predicate(part, events) for part in parts))
            case Compare(left=left, right=right):
                return replace(node, left=self._value(left, events), right=self._value(right, events))
            case Member(left=left):
                return replace(node, left=self._value(left, events))
            case Contains():
                return self._contains(node, events)
            case Present(left=left):
                return replace(node, left=cast("Ref", self._value(left, events)))
            case _:
                return node

    def _value(self, node: Expression, events: tuple[str, ...]) -> Expression:
        match node:
            case Ref(name=name, builtin=False) if name == AT and events != (TRAITS,):
                return node if self._declares(events, AT) else replace(node, builtin=True)
            case Ref(name=name) if name == ACTOR and events == (TRAITS,):
                return replace(node, builtin=not self._declares(events, ACTOR))
            case Arithmetic(left=left, right=right):
                return replace(node, left=self._value(left, events), right=self._value(right, events))
            case Call(of=of):
                return replace(node, of=self._value(of, events))
            case _:
                return node

    def _contains(self, node: Contains, events: tuple[str, ...]) -> Predicate:
        left, name = self._value(node.left, events), node.list.name
        named = self._lists.named.get(name)
        declared = self._declares(events, name)
        if named is None:
            known = declared or name in COUNTED or name in self._lists.lost
            if not known and all(event in self._fields for event in events):
                others = {field for event in events for field in self._fields[event]} | self._lists.named.keys()
                message = f"there is neither a list nor a field `{name}`"
                hint = guess(name, others) or f'declare it: list {name} = ["a", "b"]'
                self._found.error("ACH224", self._source, node.list.span, message, hint)
            lost = name in self._lists.lost and not declared
            return (
                Member(left=left, negated=node.negated, values=(), span=node.span) if lost else replace(node, left=left)
            )
        if declared:
            message = f"`{name}` is both a list and a field of this event"
            self._found.error("ACH225", self._source, node.list.span, message, "rename the list")
        values = tuple(Literal(value=each.value, span=node.list.span) for each in named.values)
        return Member(left=left, negated=node.negated, values=values, span=node.span)

    def _declares(self, events: tuple[str, ...], name: str) -> bool:
        return any(name in self._fields.get(event, ()) for event in events)


def _conjuncts(node: Predicate) -> Iterator[Predicate]:
    if isinstance(node, And):
        for part in node.parts:
            yield from _conjuncts(part)
    else:
        yield node


def _has_hole(pattern: Pattern) -> bool:
    """Return whether a list in a filter holds the element of a family, which may be in it twice then."""
    filters = (pattern.where, *(one.where for one in pattern.alternatives))
    lists = (
        part.values for each in filters if each is not None for part in _conjuncts(each) if isinstance(part, Member)
    )
    return any(isinstance(value, Literal) and isinstance(value.value, Hole) for values in lists for value in values)

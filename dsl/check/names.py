"""The declarations of the files: events, traits, achievements, and duplicate names.

A declaration with a syntax error still declares its name, so that one error does not cause others. Such names are
`lost`, and references to them are not reported.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.built_ins import ACTOR
from dsl.check.problems import a_type
from dsl.check.roles import give_roles
from dsl.diagnostics import nearest
from dsl.roles import AS
from dsl.schema import EventSchema, Field
from dsl.source import ElementSource
from dsl.syntax import Achievement, EventDecl, Example, ListDecl, TraitsDecl
from dsl.types import FieldType, Number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.check.problems import Problems, Report
    from dsl.expand import Expanded
    from dsl.source import Source
    from dsl.syntax import FieldDecl, File, Name

_BEGUN: Final = r"(?m)^[ \t]*(\w{7,15})[ \t]+(\"[^\"\n]*\"|[\w.-]+)(?=[^\n]*\{|[ \t]*$)"
"""The head of an achievement, however it is misspelt."""
_HEAD: Final = re.compile(r"^[ \t]*(event|achievement|traits[ \t]+from)[ \t]+([a-z][a-z0-9_.]*)", re.MULTILINE)
_NUMBERS: Final = (FieldType.INT, FieldType.DECIMAL)
_ELSEWHERE: Final = {
    "float": FieldType.DECIMAL,
    "double": FieldType.DECIMAL,
    "number": FieldType.DECIMAL,
    "money": FieldType.DECIMAL,
    "long": FieldType.INT,
    "str": FieldType.STRING,
    "text": FieldType.STRING,
    "uuid": FieldType.STRING,
    "boolean": FieldType.BOOL,
    "date": FieldType.TIMESTAMP,
    "time": FieldType.TIMESTAMP,
    "datetime": FieldType.TIMESTAMP,
    "instant": FieldType.TIMESTAMP,
    "user_id": FieldType.USER,
    "users": FieldType.USERS,
    "strings": FieldType.STRINGS,
    "list": FieldType.STRINGS,
    "array": FieldType.STRINGS,
}
"""Names of types in other languages."""


class Declared(NamedTuple):
    """An achievement and the file that it stands in."""

    source: Source
    node: Achievement


class DeclaredExample(NamedTuple):
    """An example and the file that it stands in."""

    source: Source
    node: Example


class Names:
    """Everything that a name can mean."""

    def __init__(self) -> None:
        self.events: dict[str, EventSchema] = {}
        self.traits: dict[str, FieldType] = {}
        self.trait_events: dict[str, tuple[str, ...]] = {}
        """By event type, and by type and role: `role.granted as member`."""
        self.achievements: dict[str, list[Declared]] = {}
        self.tiers: dict[str, frozenset[str]] = {}
        self.renamed: dict[str, str] = {}
        """Old names of achievements, and those that they have now."""
        self.examples: list[DeclaredExample] = []
        self.roles: dict[str, tuple[str, ...]] = {}
        """Which fields of an event type rules name behind `as`."""
        self.traits_declared: list[tuple[Source, TraitsDecl]] = []
        self.declared_events: list[tuple[Source, EventDecl]] = []
        self.lost_events: set[str] = set()
        self.lost_achievements: set[str] = set()
        self.lost_families: tuple[str, ...] = ()
        """What the names of members begin with, of families that could not be expanded."""
        self.lost_traits = False

    def member_of(self, family: str) -> str | None:
        """Return the name of one achievement of a family; None where there is no family of the name."""
        for name, versions in self.achievements.items():
            if name.startswith(f"{family}_") and isinstance(versions[0].source, ElementSource):
                return name
        return None


def gather(files: Sequence[File], expanded: Expanded, problems: Problems) -> Names:
    """Return what the files declare; names that are declared twice keep their first meaning.

    `expanded` has the files without families.
    """
    names = Names()
    for file in files:
        _find_lost(names, file)
    names.lost_achievements |= expanded.lost
    names.lost_families = tuple(f"{name}_" for name in expanded.lost)
    for file in expanded.files:
        report = problems.of(file.source)
        for node in file.declarations:
            if isinstance(node, EventDecl):
                _event(names, file.source, node, report)
            elif isinstance(node, Achievement):
                names.achievements.setdefault(node.name.text, []).append(Declared(file.source, node))
            elif isinstance(node, Example):
                names.examples.append(DeclaredExample(file.source, node))
    for file in files:
        report = problems.of(file.source)
        for node in file.declarations:
            if isinstance(node, TraitsDecl):
                names.traits_declared.append((file.source, node))
                _traits(names, node, report)
    _once(names, problems)
    _order(names, problems)
    give_roles(names, problems)
    return names


def achievements_begun(file: File) -> set[str]:
    """Return the names of all achievements of a file, also of those that a syntax error keeps out of the tree."""
    read = {node.name.text for node in file.declarations if isinstance(node, Achievement)}
    begun = {(match[1], match[2]) for match in re.finditer(_BEGUN, file.source.text)}
    return read | {name.strip('"') for word, name in begun if _is_achievement(word)}


@cache
def _is_achievement(word: str) -> bool:
    """Return whether a word is `achievement`, or may be meant so."""
    return word == "achievement" or (word[0] in "aA" and nearest(word.lower(), ("achievement",)) is not None)


def families(files: Iterable[File]) -> set[str]:
    """Return the names of what is declared for each element of a list, and is no achievement itself."""
    nodes = (node for file in files for node in file.declarations)
    return {node.name.text for node in nodes if isinstance(node, Achievement) and node.each is not None}


def _find_lost(names: Names, file: File) -> None:
    """Look for declarations in the text that are not in the tree."""
    read = {_head(node).span.start for node in file.declarations if not isinstance(node, Example | ListDecl)}
    for match in _HEAD.finditer(file.source.text):
        if match.start(2) in read:
            continue
        if match[1] == "achievement":
            names.lost_achievements.add(match[2])
        else:
            names.lost_events.add(match[2])
            names.lost_traits |= match[1] != "event"


def _head(node: EventDecl | TraitsDecl | Achievement) -> Name:
    return node.event if isinstance(node, TraitsDecl) else node.name


# -- events and traits ---------------------------------------------------------------------------------------


def _event(names: Names, source: Source, node: EventDecl, report: Report) -> None:
    name = node.name.text
    if name in names.events:
        report.error("ACH210", node.name.span, f"the event `{name}` is declared twice")
        return
    fields = {field.name: field for field in _fields(node.fields, report, name)}
    names.events[name] = EventSchema(name=name, fields=fields)
    names.declared_events.append((source, node))


def _fields(declared: Iterable[FieldDecl], report: Report, event: str) -> Iterable[Field]:
    seen: set[str] = set()
    for node in declared:
        name = node.name.text
        if name in seen:
            report.error("ACH211", node.name.span, f"`{name}` is declared twice in `{event}`")
            continue
        seen.add(name)
        if name == ACTOR:
            hint = "rename it if rules ask for it: `actor` is the user of the event"
            report.warn("ACH545", node.name.span, f"no filter can see the field `{name}` of `{event}`", hint)
        kind = _type(node, report)
        yield Field(name=name, type=kind, optional=node.optional, low=_low(node, kind, report))


def _type(node: FieldDecl, report: Report) -> FieldType:
    try:
        return FieldType(node.type.text)
    except ValueError:
        report.error("ACH208", node.type.span, f"there is no type `{node.type.text}`", _meant(node.type.text, report))
        return FieldType.STRINGS if node.type.text[0] == "[" else FieldType.STRING


def _meant(written: str, report: Report) -> str:
    """Return a hint at the type that was meant."""
    listed = written[0] == "["
    word = written.strip("[]")
    other = _ELSEWHERE.get(word)
    if other is not None and not (listed and other.element):
        kind = f"[{other}]" if listed else f"{other}"
        if kind in set(FieldType):
            return f"did you mean `{kind}`?"
    if listed:
        return f"a list is one of {', '.join(kind for kind in FieldType if kind.element)}"
    return report.guess(written, tuple(FieldType)) or f"types are {', '.join(FieldType)}"


def _low(node: FieldDecl, kind: FieldType, report: Report) -> Number | None:
    if node.low is None:
        return None
    value = node.low.value
    if kind not in _NUMBERS or isinstance(value, str | bool):
        report.error("ACH307", node.low.span, f"{a_type(kind)} has no lower bound; only a number has one")
        return None
    return value


def _traits(names: Names, node: TraitsDecl, report: Report) -> None:
    event = node.event.text
    schema = names.events.get(event) or EventSchema(name=event, fields={}, traits_only=True)
    fields = dict(schema.fields)
    carried = event if node.role is None else f"{event}{AS}{node.role.text}"
    before = names.trait_events.get(carried, ())
    for field in _fields(node.fields, report, event):
        written = next(each for each in node.fields if each.name.text == field.name)
        span = written.name.span
        if field.type.element or field.type.names_users:
            message = f"a trait is one value that is no user; `{field.name}` is {a_type(field.type)}"
            hint = f"leave it in the event, and filter that: event {event} {{ {field.name}: {field.type} }}"
            report.error("ACH315", written.type.span, message, hint)
            continue
        if field.name in before:
            report.error("ACH211", span, f"the trait `{field.name}` is declared twice for `{carried}`")
        known = names.traits.setdefault(field.name, field.type)
        declared = fields.setdefault(field.name, Field(name=field.name, type=field.type, optional=True, low=field.low))
        for other, where in ((known, "as a trait"), (declared.type, f"in `{event}`")):
            if other is not field.type:
                report.error(
                    "ACH305", span, f"`{field.name}` is {a_type(field.type)} here, and {a_type(other)} {where}"
                )
                break
    names.trait_events[carried] = tuple(dict.fromkeys((*before, *(each.name.text for each in node.fields))))
    names.events[event] = EventSchema(name=event, fields=fields, once=schema.once, traits_only=schema.traits_only)


def _once(names: Names, problems: Problems) -> None:
    """Read `once per` when all fields are known, those of `traits from` too."""
    for source, node in names.declared_events:
        if node.once is None:
            continue
        report = problems.of(source)
        schema = names.events[node.name.text]
        seen: list[str] = []
        for field in node.once.fields:
            if field.text not in schema.fields:
                report.unknown("ACH202", "field", field.text, field.span, schema.fields)
            elif field.text in seen:
                report.error("ACH211", field.span, f"`{field.text}` is named twice")
            seen.append(field.text)
        within = node.once.within
        if within is not None and not within.us:
            report.error("ACH415", within.span, "a span of zero length lets every copy count")
        once = (tuple(dict.fromkeys(seen)), None if within is None else within.us)
        names.events[schema.name] = EventSchema(
            name=schema.name, fields=schema.fields, once=once, traits_only=schema.traits_only
        )


# -- achievements --------------------------------------------------------------------------------------------


def _order(names: Names, problems: Problems) -> None:
    """Sort the versions of each achievement, and report duplicates."""
    for name, versions in names.achievements.items():
        seen: set[int] = set()
        for source, node in versions:
            if node.version in seen:
                message = f"version {node.version} of `{name}` is declared twice"
                hint = "raise the number and add a `from`: version 2 from 2026-05-01T00:00:00Z"
                problems.of(source).error("ACH212", node.name.span, message, hint)
            seen.add(node.version)
        first = {declared.node.version: declared for declared in reversed(versions)}
        versions[:] = [first[number] for number in sorted(first)]
        names.tiers[name] = frozenset(tier.name.text for _, node in versions for tier in node.tiers)

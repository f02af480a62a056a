"""Completion: what may stand at the cursor, with what the rule set has declared."""

from __future__ import annotations

from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import available_timezones

from lsprotocol.types import (
    CompletionItem,
    CompletionItemKind,
    CompletionList,
    InsertTextFormat,
    MarkupContent,
    MarkupKind,
    TextEdit,
)

from dsl import words
from dsl.built_ins import ACTOR, AT, ZONED
from dsl.calendar import WEEKDAYS
from dsl.lookup.place import Want, place_at
from dsl.syntax import Achievement, ListDecl
from dsl.types import FieldType, Unit
from worker.lsp.glossary import GLOSSARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from lsprotocol.types import CompletionParams

    from dsl.lookup.place import Place
    from dsl.schema import Field, Rules
    from worker.lsp.desk import Desk, View


class Offer(NamedTuple):
    """Something that may be written: `text` where it differs from the label, `snippet` with stops to fill in."""

    label: str
    kind: CompletionItemKind
    detail: str = ""
    snippet: str = ""
    entry: str = ""
    """The word to look up in the glossary, where it is not the label."""


class Asked(NamedTuple):
    """What is asked: the place, and the rule set to choose from."""

    place: Place
    view: View

    @property
    def rules(self) -> Rules:
        """What is declared."""
        return self.view.edition.rules


def completion(desk: Desk, params: CompletionParams, *, snippets: bool) -> CompletionList | None:
    """Return what may stand at the cursor; `snippets` says whether the editor can fill in stops."""
    view = desk.view(params.text_document.uri)
    place = None if view is None else place_at(view.page.text, view.offset(params.position))
    if view is None or place is None:
        return None
    asked = Asked(place, view)
    offers = {offer.label: offer for offer in chain.from_iterable(_OFFERS[want](asked) for want in place.wants)}
    items = [_item(asked, offer, number, snippets=snippets) for number, offer in enumerate(offers.values())]
    return CompletionList(is_incomplete=False, items=items)


def _item(asked: Asked, offer: Offer, number: int, *, snippets: bool) -> CompletionItem:
    filled = bool(offer.snippet) and snippets
    text = offer.snippet if filled else offer.label
    meaning = GLOSSARY.get(offer.entry or offer.label)
    return CompletionItem(
        label=offer.label,
        kind=offer.kind,
        detail=offer.detail or None,
        documentation=None if meaning is None else MarkupContent(MarkupKind.Markdown, meaning),
        sort_text=f"{number:04d}",
        insert_text_format=InsertTextFormat.Snippet if filled else InsertTextFormat.PlainText,
        text_edit=TextEdit(asked.view.lines.range(asked.place.typed), text),
    )


# -- keywords and snippets --------------------------------------------------------------------------------------------

_KEYWORD: Final = CompletionItemKind.Keyword
_SNIPPET: Final = CompletionItemKind.Snippet

_DECLARATIONS: Final = (
    Offer("event", _SNIPPET, "declare an event", "event ${1:lesson.completed} {\n  ${2:lesson_id}: ${3:string}\n}"),
    Offer("traits", _SNIPPET, "declare traits", "traits from ${1:user.updated} { ${2:plan}: ${3:string} }"),
    Offer("list", _SNIPPET, "name a list", 'list ${1:base_pets} = ["${2:wolf}"]'),
    Offer(
        "achievement",
        _SNIPPET,
        "something to be earned",
        'achievement ${1:name} {\n  title  "${2:Title}"\n  when   $3\n  reward { ${4:xp}: ${5:10} }\n}',
    ),
    Offer(
        "example",
        _SNIPPET,
        "a test",
        'example "${1:what it shows}" {\n  at ${2:2026-04-13T09:00:00Z} ${3:u1} ${4:event} { $5 }\n'
        "  expect ${3:u1} ${6:achievement}\n}",
    ),
)
_CLAUSES: Final = (
    Offer("title", _KEYWORD, snippet='title "$1"'),
    Offer("about", _KEYWORD, snippet='about "$1"'),
    Offer("when", _KEYWORD, snippet="when "),
    Offer("for", _KEYWORD, snippet="for "),
    Offer("after", _KEYWORD, snippet="after "),
    Offer("active", _KEYWORD, snippet="active ${1:2026-05-01T00:00:00Z} .. ${2:2026-06-01T00:00:00Z}"),
    Offer("reveal", _KEYWORD, snippet="reveal "),
    Offer("reward", _KEYWORD, snippet="reward { ${1:xp}: ${2:10} }"),
    Offer("repeat", _KEYWORD, snippet="repeat "),
    Offer("scope", _KEYWORD, snippet="scope "),
    Offer("family", _KEYWORD, snippet="family "),
    Offer("settle", _KEYWORD, snippet="settle ${1:1h}"),
    Offer("renamed", _KEYWORD, "keep the unlocks of an old name", "renamed from ${1:old_name}"),
    Offer("tier", _KEYWORD, snippet="tier ${1:bronze} { when $2 }"),
)
_OF_TIER: Final = ("title", "when", "reward", "reveal")
_OPERATORS: Final = (
    ("count", "count(event=${1:event}, >= ${2:10})"),
    ("sum", "sum(event=${1:event}, of=${2:field}, >= ${3:100})"),
    ("max", "max(event=${1:event}, of=${2:field}, >= ${3:100})"),
    ("min", "min(event=${1:event}, of=${2:field}, <= ${3:60})"),
    ("streak", "streak(event=${1:event}, per=${2:day}, >= ${3:7})"),
    ("sequence", "sequence([${1:event}, ${2:event}])"),
    ("all", "all($1, $2)"),
    ("any", "any($1, $2)"),
    ("at_least", "at_least(${1:2}, $2)"),
    ("unlocked", "unlocked($1)"),
)
_NAMED: Final = {
    "count": ("event", "distinct"),
    "sum": ("event", "of"),
    "max": ("event", "of"),
    "min": ("event", "of"),
    "streak": ("event", "per", "min", "grace"),
}
_MODIFIERS: Final = ("within", "per", "unless", "by", "tz")
_BOUNDED: Final = ("count", "sum", "max", "streak")
_LINES: Final = (
    Offer("at", _KEYWORD, "what happens", "at ${1:2026-04-13T09:00:00Z} ${2:u1} ${3:event} { $4 }"),
    Offer("expect", _KEYWORD, "what must come of it", "expect ${1:u1} ${2:achievement}"),
    Offer("until", _KEYWORD, "how far the clock goes", "until ${1:2026-05-01T00:00:00Z}"),
)
_NUMBERS: Final = (FieldType.INT, FieldType.DECIMAL)
_FUNCTIONS: Final = ("length", "lower", "size")
_TEXTUAL: Final = ("starts with", "ends with", "contains")
_FOR_EACH: Final = Offer("for each", _KEYWORD, "a family", "for each ${1:color} in ${2:colors}", entry="for")


def _words(*texts: str) -> Callable[[Asked], Iterable[Offer]]:
    offers = [Offer(text, _KEYWORD) for text in texts]
    return lambda asked: offers


def _clauses(asked: Asked) -> Iterator[Offer]:
    yield from (offer for offer in _CLAUSES if offer.label not in asked.place.given)


def _tier_clauses(asked: Asked) -> Iterator[Offer]:
    yield from (offer for offer in _clauses(asked) if offer.label in _OF_TIER)


def _operators(_asked: Asked) -> Iterator[Offer]:
    yield from (Offer(name, CompletionItemKind.Function, snippet=snippet) for name, snippet in _OPERATORS)


def _arguments(asked: Asked) -> Iterator[Offer]:
    operator = asked.place.operator
    named = dict.fromkeys((*_NAMED.get(operator, ()), *_MODIFIERS))
    for name in named:
        if name not in asked.place.given:
            snippet = f"{name}=${{1:1}}" if name in ("min", "grace") else f"{name}="
            yield Offer(f"{name}=", CompletionItemKind.Property, snippet=snippet)
    if operator in (*_BOUNDED, "min"):
        sign = "<=" if operator == "min" else ">="
        yield Offer(f"{sign} ", CompletionItemKind.Operator, "the bound", f"{sign} ${{1:10}}")


# -- what is declared -------------------------------------------------------------------------------------------------


def _events(asked: Asked) -> Iterator[Offer]:
    for name, schema in sorted(asked.view.edition.events.items()):
        yield Offer(name, CompletionItemKind.Event, ", ".join(schema.fields))


def _shown(field: Field) -> str:
    return field.contract


def _fields_of(asked: Asked) -> dict[str, Field]:
    """Return the fields that all events at hand have; those of any event where none is at hand."""
    events = asked.view.edition.events
    schemas = [events[name].fields for name in asked.place.events if name in events]
    if not schemas:
        return {}
    return {name: field for name, field in schemas[0].items() if all(name in other for other in schemas)}


def _fields(asked: Asked) -> Iterator[Offer]:
    for name, field in _fields_of(asked).items():
        if name not in asked.place.given:
            yield Offer(name, CompletionItemKind.Field, _shown(field))


def _own_fields(asked: Asked) -> Iterator[Offer]:
    place = asked.place
    yield from (Offer(name, CompletionItemKind.Field) for name in place.declared if name not in place.given)


def _filter_fields(asked: Asked) -> Iterator[Offer]:
    yield from _fields(asked)
    if not asked.place.operator:
        yield from (Offer(name, CompletionItemKind.Field, "built in") for name in (*ZONED, AT, ACTOR))
        yield from (Offer(name, CompletionItemKind.Function, snippet=f"{name}($1)") for name in _FUNCTIONS)
    elif asked.place.operator == "count":
        built_in = (name for name in (*ZONED, ACTOR) if name not in asked.place.given)
        yield from (Offer(name, CompletionItemKind.Field, "built in") for name in built_in)


def _groups(asked: Asked) -> Iterator[Offer]:
    """Yield what makes groups: the fields of the events at hand, those of all events where none is, and the user."""
    found = _fields_of(asked)
    if not asked.place.events:
        schemas = asked.view.edition.events.values()
        found = {name: field for schema in schemas for name, field in sorted(schema.fields.items())}
    for name, field in found.items():
        if name not in asked.place.given:
            yield Offer(name, CompletionItemKind.Field, _shown(field))
    if ACTOR not in asked.place.given:
        yield Offer(ACTOR, CompletionItemKind.Field, "built in")


def _roles(asked: Asked) -> Iterator[Offer]:
    """Yield the fields that name users, of the events at hand."""
    for name, field in _fields_of(asked).items():
        if field.type.names_users:
            yield Offer(name, CompletionItemKind.Field, _shown(field))


def _number_fields(asked: Asked) -> Iterator[Offer]:
    for name, field in _fields_of(asked).items():
        if field.type in _NUMBERS:
            yield Offer(name, CompletionItemKind.Field, _shown(field))


def _keys(asked: Asked) -> Iterator[Offer]:
    for name, field in _fields_of(asked).items():
        if name not in asked.place.given:
            yield Offer(name, CompletionItemKind.Field, _shown(field), f"{name}: {_sample(field)}")


def _sample(field: Field) -> str:
    return {
        FieldType.STRING: '"$1"',
        FieldType.BOOL: "${1|true,false|}",
        FieldType.TIMESTAMP: '"${1:2026-04-13T09:00:00Z}"',
        FieldType.USER: '"$1"',
        FieldType.STRINGS: '["$1"]',
        FieldType.INTS: "[${1:1}]",
        FieldType.DECIMALS: "[${1:1}]",
        FieldType.USERS: '["$1"]',
    }.get(field.type, "${1:1}")


def _traits(asked: Asked) -> Iterator[Offer]:
    for name, kind in sorted(asked.rules.traits.items()):
        yield Offer(name, CompletionItemKind.Variable, str(kind))


def _values(asked: Asked) -> Iterator[Offer]:
    """Yield values that the field compared with can have, where there are few."""
    name = asked.place.field
    if name == "at.weekday":
        yield from (Offer(f'"{day}"', CompletionItemKind.Value) for day in WEEKDAYS)
    field = _fields_of(asked).get(name)
    kind = asked.rules.traits.get(name) if field is None else field.type
    if kind is FieldType.BOOL:
        yield from (Offer(text, CompletionItemKind.Value) for text in ("true", "false"))


def _lists(asked: Asked) -> Iterator[Offer]:
    """Yield what may stand behind `in`: brackets, named lists, and list fields of the events at hand."""
    yield Offer("[]", CompletionItemKind.Value, "the values", '["$1"]')
    yield from _named_lists(asked)
    for name, field in _fields_of(asked).items():
        if field.type.element is not None:
            yield Offer(name, CompletionItemKind.Field, _shown(field))


def _named_lists(asked: Asked) -> Iterator[Offer]:
    nodes = (node for page in asked.view.edition.pages.values() for _, node in page.declarations())
    for node in nodes:
        if isinstance(node, ListDecl):
            yield Offer(node.name.text, CompletionItemKind.Enum, words.plural(len(node.values), "element"))


def _achievements(asked: Asked) -> Iterator[Offer]:
    for name, versions in sorted(asked.rules.achievements.items()):
        title = versions[-1].title
        yield Offer(name, CompletionItemKind.Class, "" if title is None else title.texts[0][1])
        for tier in versions[-1].tiers:
            yield Offer(f"{name}.{tier.name.text}", CompletionItemKind.EnumMember, words.condition(tier.when))


def _scopes(asked: Asked) -> Iterator[Offer]:
    yield from (Offer(name, _KEYWORD) for name in ("user", "tenant"))
    fields = {name for schema in asked.view.edition.events.values() for name in schema.fields}
    yield from (Offer(name, CompletionItemKind.Field) for name in sorted(fields))


def _families(asked: Asked) -> Iterator[Offer]:
    nodes = (node for page in asked.view.edition.pages.values() for _, node in page.declarations())
    families = {node.family.text for node in nodes if isinstance(node, Achievement) and node.family is not None}
    yield from (Offer(name, CompletionItemKind.Module) for name in sorted(families))


def _rewards(asked: Asked) -> Iterator[Offer]:
    nodes = (node for page in asked.view.edition.pages.values() for _, node in page.declarations())
    keys = {key for node in nodes if isinstance(node, Achievement) and node.reward for key in node.reward.values}
    for key in sorted((keys | {"xp", "badge"}) - asked.place.given):
        yield Offer(key, CompletionItemKind.Property, snippet=f"{key}: ")


def _users(asked: Asked) -> Iterator[Offer]:
    yield from (Offer(name, CompletionItemKind.Constant) for name in sorted(asked.place.given))


# -- time -------------------------------------------------------------------------------------------------------------


@cache
def _zone_names() -> tuple[str, ...]:
    return tuple(sorted(available_timezones()))


def _zones(_asked: Asked) -> Iterator[Offer]:
    yield Offer("user", _KEYWORD, "the trait `timezone`", entry="-")
    yield Offer("event", _KEYWORD, "the offset that the event came with", entry="-")
    yield from (Offer(f'"{name}"', CompletionItemKind.Constant) for name in _zone_names())


def _zone_texts(_asked: Asked) -> Iterator[Offer]:
    yield from (Offer(f'"{name}"', CompletionItemKind.Constant) for name in _zone_names())


def _durations(_asked: Asked) -> Iterator[Offer]:
    yield from (Offer(text, CompletionItemKind.Value) for text in ("1h", "1d", "7d", "30d", "15m", "90s", "2w"))


def _tz(_asked: Asked) -> Iterator[Offer]:
    yield Offer("tz=", CompletionItemKind.Property)


_OFFERS: Final[dict[Want, Callable[[Asked], Iterable[Offer]]]] = {
    Want.DECLARATION: lambda asked: _DECLARATIONS,
    Want.VERSION: lambda asked: [
        Offer("version", _KEYWORD, snippet="version ${1:2} from ${2:2026-05-01T00:00:00Z}"),
        _FOR_EACH,
    ],
    Want.EACH: lambda asked: [_FOR_EACH],
    Want.LIST: _lists,
    Want.FROM: _words("from"),
    Want.ONCE: lambda asked: [Offer("once per", _KEYWORD, snippet="once per ", entry="once")],
    Want.ONCE_FIELD: _own_fields,
    Want.PER: _words("per"),
    Want.WITHIN: _words("within"),
    Want.TYPE: lambda asked: [Offer(kind, CompletionItemKind.TypeParameter) for kind in FieldType],
    Want.CLAUSE: _clauses,
    Want.TIER_CLAUSE: _tier_clauses,
    Want.TEXT: lambda asked: [Offer('""', CompletionItemKind.Value, "a text", '"$1"')],
    Want.OPERATOR: _operators,
    Want.ARGUMENT: _arguments,
    Want.EVENT: _events,
    Want.STEPS: lambda asked: [Offer("[]", CompletionItemKind.Value, "the steps", "[${1:event}, ${2:event}]")],
    Want.AS: lambda asked: [Offer("as", _KEYWORD, "whose event it is", snippet="as ")] if [*_roles(asked)] else [],
    Want.ROLE: _roles,
    Want.WHERE: _words("where"),
    Want.FIELD: _filter_fields,
    Want.GROUP: _groups,
    Want.NUMBER_FIELD: _number_fields,
    Want.TRAIT: _traits,
    Want.COMPARISON: _words("=", "!=", "<", "<=", ">", ">=", "in", "not in", "is present", "is not present", *_TEXTUAL),
    Want.VALUE: _values,
    Want.CONNECTIVE: _words("and", "or"),
    Want.PRESENT: _words("present"),
    Want.UNIT: lambda asked: [Offer(unit, CompletionItemKind.Unit) for unit in Unit],
    Want.ZONE: _zones,
    Want.ZONE_NAME: _zone_texts,
    Want.DURATION: _durations,
    Want.ACHIEVEMENT: _achievements,
    Want.NOT: _words("not"),
    Want.REVEAL: lambda asked: [
        *_words("always", "secret")(asked),
        Offer("at", _KEYWORD, "so much of the way", "at ${1:30}%", entry="reveal"),
        Offer("after", _KEYWORD, "once another is earned", "after ", entry="reveal"),
    ],
    Want.REPEAT: _words("each", "every", "by"),
    Want.TZ: _tz,
    Want.SCOPE: _scopes,
    Want.FAMILY: _families,
    Want.REWARD: _rewards,
    Want.LINE: lambda asked: _LINES,
    Want.USER: _users,
    Want.KEY: _keys,
    Want.SUFFIX: lambda asked: [
        Offer("times", _KEYWORD, snippet="times ${1:10} every ${2:1h}"),
        Offer("tenant", _KEYWORD, snippet='tenant "$1"'),
        Offer("id", _KEYWORD, snippet='id "$1"'),
    ],
    Want.EVERY: _words("every"),
    Want.EXPECTATION: lambda asked: [
        Offer("progress", _KEYWORD, snippet="progress ${1:1}/${2:10}"),
        Offer("at", _KEYWORD, snippet="at ${1:2026-04-13T09:00:00Z}", entry="-"),
        Offer("occurrence", _KEYWORD, snippet='occurrence "$1"'),
    ],
}

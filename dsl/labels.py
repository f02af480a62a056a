"""The fields whose values name occurrences, `repeat by FIELD`: a value that is too long for a name is no event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.built_ins import ACTOR
from dsl.filters import pattern_types
from dsl.nodes.keys import MOST_BYTES
from dsl.roles import bases
from dsl.syntax import RepeatBy
from dsl.trees import all_counted, whens
from dsl.types import FieldType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.event import Event
    from dsl.schema import Rules
    from dsl.syntax import Achievement
    from dsl.types import Listed, Value

_LONG: Final = frozenset({FieldType.STRING, FieldType.STRINGS})
"""What may be too long: users and numbers never are."""


def labels_of(rules: Rules) -> dict[str, tuple[str, ...]]:
    """Return, by event type, the fields that name occurrences in some version, where their values may be too long."""
    found: dict[str, dict[str, None]] = {}
    for version in (each for versions in rules.achievements.values() for each in versions):
        if not isinstance(version.repeat, RepeatBy) or version.repeat.field.text == ACTOR:
            continue
        name = version.repeat.field.text
        for event_type in _types(version):
            schema = rules.events.get(event_type)
            field = None if schema is None else schema.fields.get(name)
            if field is not None and field.type in _LONG:
                found.setdefault(event_type, {})[name] = None
    return {event_type: tuple(names) for event_type, names in sorted(found.items())}


def called_by_users(rules: Rules) -> set[str]:
    """Return the achievements whose occurrences are called like users."""
    return {
        name
        for name, versions in rules.achievements.items()
        for version in versions
        if isinstance(version.repeat, RepeatBy) and _names_users(rules, version, version.repeat.field.text)
    }


def _names_users(rules: Rules, version: Achievement, field: str) -> bool:
    if field == ACTOR:
        return True
    schemas = (rules.events[one] for one in _types(version) if one in rules.events)
    return any(field in each.users for each in schemas)


def _types(version: Achievement) -> frozenset[str]:
    """Return the event types that the conditions of a version count."""
    patterns = (pattern for when in whens(version) for pattern in all_counted(when))
    return bases(one for pattern in patterns for one in pattern_types(pattern))


def over_long(event: Event, names: Sequence[str]) -> str | None:
    """Return the first of some fields of an event that has a value too long to name an occurrence."""
    return next((name for name in names if _is_long(event.fields.get(name))), None)


def _is_long(value: Value | Listed | None) -> bool:
    if isinstance(value, tuple):
        return any(_is_long(each) for each in value)
    return isinstance(value, str) and len(value) * 4 > MOST_BYTES and len(value.encode()) > MOST_BYTES

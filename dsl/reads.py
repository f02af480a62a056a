"""What a version of an achievement reads: event types, their fields, and traits. By its tree alone.

Declarations of what is read belong to what the version means; declarations of anything else do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.built_ins import UNLOCKS
from dsl.compile import TENANT, USER, every_type
from dsl.conditions import context_of, named_types
from dsl.local_time import TIMEZONE
from dsl.memory import Seen
from dsl.references import tier_conditions, traits_of
from dsl.roles import base_of, bases, roles_in
from dsl.syntax import RepeatEvery
from dsl.trees import asks_unlocks, fields_of, judged, reset_fields_of, walk
from dsl.types import length

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dsl.schema import EventSchema, Rules
    from dsl.syntax import Achievement, Condition, Zone

_ABSENT: Final = "not declared"
_NONE: Final = "none"


class Reads(NamedTuple):
    """What one version reads, or something else that goes by events."""

    types: frozenset[str]
    """Event types that it names."""
    fields: frozenset[tuple[str, str]]
    """(event type, field) in filters, `distinct`, `of` and `by`."""
    traits: frozenset[str] = frozenset()
    """Those of `for`, and the time zone where it asks for the user's."""
    chooses: bool = False
    """Whether it has a `for`: then it is judged at every trait event."""
    resets: frozenset[tuple[str, str]] = frozenset()
    """(event type, field) by which an `unless` is kept to its own group, where the event has it."""
    every_type: bool = False
    """Whether an event of any declared type, heard or not, may move what it remembers."""


def reads_of(version: Achievement, whens: Iterable[Condition] | None = None) -> Reads:
    """Return what a version reads, apart from what the achievements that it names read.

    `whens` are its conditions, of all tiers or of some.
    """
    if whens is None:
        whens = [when for _, when in tier_conditions(version)]
    conditions = [each for when in whens for each in walk(judged(version, when))]
    zones = [each.mods.tz for each in conditions]
    if isinstance(version.repeat, RepeatEvery):
        zones.append(version.repeat.tz)
    traits = set[str]() if version.where is None else traits_of(version.where)
    if any(_is(zone, "user") for zone in zones):
        traits.add(TIMEZONE)
    return Reads(
        types=frozenset[str]().union(*(named_types(each) for each in conditions)),
        fields=frozenset(pair for each in conditions for pair in fields_of(each)),
        resets=frozenset(pair for each in conditions for pair in reset_fields_of(each)),
        traits=frozenset(traits),
        chooses=version.where is not None,
        every_type=any(_moved_by_all(version, each) for each in conditions),
    )


def _is(zone: Zone | None, kind: str) -> bool:
    return zone is not None and zone.kind == kind


def _moved_by_all(version: Achievement, condition: Condition) -> bool:
    """Return whether a condition has a span that looks at every moment of the subject, as `compile` builds it."""
    mods = condition.mods
    if mods.per is not None and _is(mods.tz, "event"):
        return True
    context = context_of(version, None)
    partial = bool(context.owner) or context.seen != Seen()
    spanned = mods.within is not None or mods.per is not None or mods.unless is not None
    return partial and spanned and asks_unlocks(condition)


# -- declarations of what is read --------------------------------------------------------------------------------------


def declared(rules: Rules, scope: str, reads: Reads, *, by_view: bool = True) -> Iterator[tuple[str, str]]:
    """Yield place and text of every declaration that may decide what is made of events in a scope.

    Of a field that is read: its type and bound, since what does not fit counts as absent. Whether it may be left out
    decides what is taken in, and nothing of what is made of that. What is not read is not here. With `by_view`, of each
    view of an event type by itself; otherwise which roles other rules ask for makes no difference.
    """
    types, fields, carriers = set(reads.types), set(reads.fields), dict(rules.trait_events)
    fields |= {(event, name) for event, name in reads.resets if _field(rules.events.get(event), name) != _ABSENT}
    if not by_view:
        types, fields = set(bases(types)), {(base_of(event), field) for event, field in fields}
        carriers = {name: names for name, names in carriers.items() if len(roles_in(name)) == 1}
    for trait in reads.traits:
        tellers = {event for event, names in carriers.items() if trait in names}
        yield f"trait {trait}: from", ", ".join(sorted(tellers)) or _NONE
        types |= tellers
        fields |= {(event, trait) for event in tellers}
    if reads.chooses:
        yield "traits: from", ", ".join(sorted(carriers)) or _NONE
        types |= carriers.keys()
    if reads.every_type:
        every = every_type(rules, scope) if by_view else rules.events
        yield "events: declared", ", ".join(sorted(every))
        types |= set(every)
    for event in types:
        schema = rules.events.get(base_of(event))
        if schema is None:
            continue
        yield f"event {event}: once per", once_text(schema)
        fields |= {(event, field) for field in (() if schema.once is None else schema.once[0])}
        if scope not in {USER, TENANT}:
            fields.add((event, scope))
    for event, field in fields:
        if event == UNLOCKS and event not in rules.events:
            continue  # what unlocks say is in the achievements
        yield f"event {event}: {field}", _field(rules.events.get(base_of(event)), field)


def _field(schema: EventSchema | None, name: str) -> str:
    field = None if schema is None else schema.fields.get(name)
    return _ABSENT if field is None else f"{field.type}{field.bound}"


def once_text(schema: EventSchema) -> str:
    """Return what makes copies of an event type: `s within 10m`; `none` where it has no `once per`."""
    if schema.once is None:
        return _NONE
    fields, within = schema.once
    # Copies are equal in all of them, in whatever order they are written.
    return ", ".join(sorted(fields)) + ("" if within is None else f" within {length(within)}")

"""The rule set of the reference, from the syntax trees alone or from checked rules."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from dsl import syntax

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.schema import Rules
    from dsl.types import Number


class FieldRule(NamedTuple):
    """A payload field: its type as written and its lower bound."""

    type: str
    low: Number | None


class EventRule(NamedTuple):
    """An event's contract: its fields, and the fields of `once per` with its span in microseconds."""

    fields: dict[str, FieldRule]
    once: tuple[tuple[str, ...], int | None] | None


class Ruleset(NamedTuple):
    """All declarations, by name; versions of an achievement ascend. Trait events are events, too."""

    events: dict[str, EventRule]
    trait_events: dict[tuple[str, str | None], tuple[str, ...]]
    """By event type and the field that names the user, None for its actor."""
    achievements: dict[str, tuple[syntax.Achievement, ...]]


def ruleset(declarations: Iterable[syntax.Declaration]) -> Ruleset:
    """Gather declarations, assumed valid, into a rule set."""
    events: dict[str, EventRule] = {}
    traits: dict[str, EventRule] = {}
    trait_events: defaultdict[tuple[str, str | None], tuple[str, ...]] = defaultdict(tuple)
    achievements: defaultdict[str, list[syntax.Achievement]] = defaultdict(list)
    for declaration in declarations:
        match declaration:
            case syntax.EventDecl(name=name):
                events[name.text] = _event(declaration)
            case syntax.TraitsDecl(event=event, role=role, fields=fields):
                trait_events[event.text, None if role is None else role.text] += tuple(
                    field.name.text for field in fields
                )
                carried = {field.name.text: FieldRule(field.type.text, _low(field)) for field in fields}
                contract = traits.get(event.text, EventRule({}, None))
                traits[event.text] = EventRule(contract.fields | carried, None)
            case syntax.Achievement(name=name):
                achievements[name.text].append(_climbed(declaration))
            case syntax.Example() | syntax.ListDecl():
                pass  # lists, families and ladders are written out before they come here: written_out.py
    ascending = {
        name: tuple(sorted(versions, key=lambda each: each.version)) for name, versions in achievements.items()
    }
    return Ruleset(traits | events, dict(trait_events), ascending)


def from_checked(rules: Rules) -> Ruleset:
    """Take over the rules that the checker resolved."""
    events = {
        name: EventRule(
            {field.name: FieldRule(field.type.value, field.low) for field in contract.fields.values()},
            contract.once,
        )
        for name, contract in rules.events.items()
    }
    trait_events: dict[tuple[str, str | None], tuple[str, ...]] = {}
    for name, traits in rules.trait_events.items():
        event, _, role = name.partition(" as ")
        if "+" not in role:
            trait_events[event, role or None] = traits
    return Ruleset(events, trait_events, rules.achievements)


def _climbed(node: syntax.Achievement) -> syntax.Achievement:
    """Return an achievement whose tiers have the `when` with their own bounds, where that leaves one out."""
    if not node.rungs or node.when is None:
        return node
    tiers = tuple(syntax.Tier(name=rung.name, when=_with_bound(node.when, rung.bound)) for rung in node.rungs)
    return replace(node, when=None, tiers=tiers, rungs=())


def _with_bound(when: syntax.Condition, bound: syntax.Cmp) -> syntax.Condition:
    match when:
        case syntax.Combine(parts=parts):
            return replace(when, parts=tuple(_with_bound(part, bound) for part in parts))
        case syntax.Count() | syntax.Sum() | syntax.Extreme() | syntax.Streak() if when.cmp.kind == "open":
            return replace(when, cmp=bound)
        case _:
            return when


def _event(declaration: syntax.EventDecl) -> EventRule:
    once = declaration.once
    return EventRule(
        {field.name.text: FieldRule(field.type.text, _low(field)) for field in declaration.fields},
        once and (tuple(name.text for name in once.fields), once.within.us if once.within else None),
    )


def _low(field: syntax.FieldDecl) -> Number | None:
    return None if field.low is None or isinstance(field.low.value, str) else field.low.value

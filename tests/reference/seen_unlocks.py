"""Which unlocks a pattern sees at all: those of plain achievements, and of the others those that its filter names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl import syntax

if TYPE_CHECKING:
    from dsl.event import Event

UNLOCKS = "unlocks"
PLAIN = "\0plain"
"""A field that no rule can name: present where the achievement of an unlock is plain."""


def named_outright(where: syntax.Predicate | None) -> set[str]:
    """Return the achievements that a filter names: `achievement = "x"`, or `in [...]`."""
    match where:
        case syntax.And(parts=parts) | syntax.Or(parts=parts):
            return {name for part in parts for name in named_outright(part)}
        case syntax.Compare(left=syntax.Ref(name="achievement"), op="=", right=syntax.Literal(value=str(name))):
            return {name}
        case syntax.Member(left=syntax.Ref(name="achievement"), negated=False, values=values):
            return {str(each.value) for each in values if isinstance(each, syntax.Literal)}
        case _:
            return set()


def is_seen(pattern: syntax.Pattern, one: syntax.Alternative, event: Event) -> bool:
    """Return whether an alternative sees an unlock at all, whatever else its filter asks."""
    if event.type != UNLOCKS or PLAIN in event.fields:
        return True
    return event.fields["achievement"] in named_outright(one.where) | named_outright(pattern.where)

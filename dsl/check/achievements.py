"""Achievements, one at a time: their clauses, and the names in their conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.check.conditions import Conditions
from dsl.check.filters import check_filter
from dsl.expressions import refs
from dsl.syntax import RepeatBy, RepeatEvery
from dsl.trees import whens

if TYPE_CHECKING:
    from dsl.check.names import Declared, Names
    from dsl.check.problems import Report
    from dsl.source import Span
    from dsl.syntax import Achievement, Ref
    from dsl.types import FieldType

USER = "user"
TENANT = "tenant"
_ALL_PERCENT = 100
MAX_NAME = 128
"""Characters of a name that is part of the keys of unlocks: of an achievement, a tier, or a field that is a scope."""


class Link(NamedTuple):
    """An achievement that another one names in `after`, in `unlocked`, or in a filter over `unlocks`."""

    name: str
    span: Span


class Named(NamedTuple):
    """The events and achievements that one version of an achievement names."""

    declared: Declared
    events: frozenset[str]
    links: tuple[Link, ...]


def scope_of(node: Achievement) -> str:
    """Return the scope of an achievement: `user`, `tenant`, or the field that it names."""
    return USER if node.scope is None else node.scope.name


def check_achievement(declared: Declared, names: Names, report: Report) -> Named:
    """Check one version of an achievement; return what it names."""
    node = declared.node
    conditions = Conditions(names, report, scope_of(node))
    _names(node, report)
    _whens(node, conditions, report)
    _head(node, report)
    _audience(node, names, report)
    _clauses(node, conditions, report)
    links = [Link(target.achievement.text, target.span) for target in node.after]
    links.extend(Link(name.text, name.span) for name in conditions.unlocked)
    links.extend(Link(*each) for each in conditions.counted)
    return Named(declared, frozenset(conditions.events), tuple(links))


def _names(node: Achievement, report: Report) -> None:
    """Check that names are short enough for keys."""
    named = [(node.name.text, node.name.span), *((tier.name.text, tier.name.span) for tier in node.tiers)]
    if node.scope is not None:
        named.append((node.scope.name, node.scope.span))
    for name, span in named:
        if len(name) > MAX_NAME:
            report.error("ACH118", span, f"a name has at most {MAX_NAME} characters; this one has {len(name):,}")


def _head(node: Achievement, report: Report) -> None:
    if node.version > 1 and node.since is None:
        message = f"version {node.version} needs a `from` with the instant when it takes effect"
        hint = f"write: version {node.version} from 2026-05-01T00:00:00Z"
        report.error("ACH403", node.name.span, message, hint)
    if node.fresh and node.since is None:
        hint = "write `version 2 from 2026-05-01T00:00:00Z fresh`: progress counts from that instant on"
        report.error("ACH404", node.name.span, "`fresh` needs a `from`", hint)


def _whens(node: Achievement, conditions: Conditions, report: Report) -> None:
    if node.when is None and not node.tiers:
        report.error("ACH401", node.name.span, f"`{node.name.text}` has neither a `when` nor tiers")
    if node.when is not None and node.tiers:
        report.error("ACH402", node.tiers[0].name.span, "an achievement has either a `when` or tiers, not both")
    window = f"`repeat every {node.repeat.unit.text}`" if isinstance(node.repeat, RepeatEvery) else None
    seen: set[str] = set()
    for tier in node.tiers:
        if tier.name.text in seen:
            report.error("ACH213", tier.name.span, f"the tier `{tier.name.text}` is declared twice")
        seen.add(tier.name.text)
        conditions.check(tier.when, window)
    if node.when is not None:
        conditions.check(node.when, window)


def _audience(node: Achievement, names: Names, report: Report) -> None:
    if node.where is None:
        return
    if scope_of(node) != USER:
        message = f"traits belong to users; `for` does not work with `scope {scope_of(node)}`"
        report.error("ACH409", node.where.span, message)
        return

    def trait(ref: Ref, meant: str | None) -> FieldType | None:
        if ref.name not in names.traits and not names.lost_traits:
            hint = report.guess(ref.name, names.traits) or meant
            hint = hint or "declare it: traits from user.updated { plan: string }"
            if any(ref.name in schema.fields for schema in names.events.values()):
                hint = f"`{ref.name}` is a payload field: filter the event, `event=... where {ref.name} ...`"
            report.error("ACH203", ref.span, f"there is no trait `{ref.name}`", hint)
        return names.traits.get(ref.name)

    foreign = [each for each in refs(node.where) if each.builtin]
    for ref in foreign:
        report.error("ACH203", ref.span, f"`{ref.name}` works only in an event's filter; `for` takes traits")
    if not foreign:
        check_filter(node.where, trait, report)


def _repeat(node: Achievement, conditions: Conditions) -> None:
    if isinstance(node.repeat, RepeatBy):
        for when in whens(node):
            conditions.keyed(when, node.repeat.field)
    if isinstance(node.repeat, RepeatEvery):
        conditions.unit(node.repeat.unit)
        if node.repeat.tz is not None:
            conditions.zone(node.repeat.tz)


def _clauses(node: Achievement, conditions: Conditions, report: Report) -> None:
    for target in node.after:
        conditions.target(target.achievement, target.tier)
    for reveal in (node.reveal, *(tier.reveal for tier in node.tiers)):
        if reveal is not None and reveal.after is not None:
            conditions.target(reveal.after.achievement, reveal.after.tier)
        if reveal is not None and reveal.percent is not None and reveal.percent > _ALL_PERCENT:
            report.error("ACH414", reveal.span, f"{reveal.percent}% is never reached", "progress ends at 100%")
    _repeat(node, conditions)
    if node.settle is not None and not node.settle.us:
        report.error("ACH415", node.settle.span, "`settle` needs a duration above zero", "leave the clause out")
    active = node.active
    if active is not None and active.start is not None and active.end is not None and active.end.us <= active.start.us:
        report.error("ACH416", active.end.span, "the end is not after the start, so no event is ever seen")

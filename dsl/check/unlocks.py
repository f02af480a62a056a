"""Unlocks as events: what each pattern over `unlocks` counts, and whether that makes sense.

The name is reserved. Rules that declare an event of that name are still read as they were, since they may be in force;
`check_names` reports it where rules are written, checked and applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.built_ins import ACTOR, REWARD, UNLOCK_FIELDS, UNLOCKS
from dsl.check.problems import Problems
from dsl.expand import expand, settled
from dsl.expressions import leaves, refs
from dsl.schema import EventSchema, Field
from dsl.syntax import EventDecl, Present, RepeatBy, TraitsDecl
from dsl.trees import all_counted, whens
from dsl.types import FieldType
from dsl.unlocks import (
    MOST_LOOKED,
    OCCURRENCE,
    Giver,
    candidates,
    filter_of,
    kinds_of,
    named_outright,
    patterns_of,
    uses_unlocks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.check.names import Declared, Names
    from dsl.check.problems import Report
    from dsl.diagnostics import Diagnostic
    from dsl.source import Span
    from dsl.syntax import Achievement, Alternative, File, Name, Pattern, Predicate


def scope_of(node: Achievement) -> str:
    """Return the scope of an achievement: `user`, `tenant`, or the field that it names."""
    return "user" if node.scope is None else node.scope.name


def give_unlocks(names: Names, problems: Problems) -> None:
    """Tell every pattern over `unlocks` what it counts."""
    if UNLOCKS in names.events:
        return  # an event that is called so, from before the name was reserved
    if not any(uses_unlocks(each.node) for versions in names.achievements.values() for each in versions):
        return
    giver = Giver({name: [each.node for each in versions] for name, versions in names.achievements.items()}, scope_of)
    fields: dict[str, Field] = {}
    for versions in names.achievements.values():
        given = [each._replace(node=giver.give(each.node, scope_of(each.node))) for each in versions]
        if giver.looked > MOST_LOOKED:
            _too_many(versions[0], problems)
            names.lost_events.add(UNLOCKS)
            break
        versions[:] = given
        for each in versions:
            for _, one in patterns_of(each.node):
                fields.update({name: _wider(field, fields.get(name)) for name, field in fields_of(one).items()})
    names.unlocks = EventSchema(name=UNLOCKS, fields=fields)


def _too_many(declared: Declared, problems: Problems) -> None:
    source, node = declared
    message = f"the filters over `unlocks` look at more than {MOST_LOOKED:,} achievements and tiers in all"
    hint = "filter by family, tier or achievement with = or in: those alone are looked at then"
    problems.of(source).error("ACH446", node.name.span, message, hint)


def fields_of(one: Alternative) -> dict[str, Field]:
    """Return the fields of the unlocks that are counted, as those of an event are declared."""
    counts = {} if one.counts is None else one.counts.fields
    return {
        name: Field(name=name, type=field.type, optional=name != "achievement", low=field.low)
        for name, field in counts.items()
    }


def _wider(one: Field, other: Field | None) -> Field:
    """Return one field that takes the values of both, as far as there is one."""
    if other is None or (one.type, one.low) == (other.type, other.low):
        return one
    low = None if one.low is None or other.low is None else min(one.low, other.low)
    kind = one.type if one.type is other.type else FieldType.DECIMAL
    return Field(name=one.name, type=kind, optional=True, low=low)


# -- what is written in a pattern --------------------------------------------------------------------------------------


class Link(NamedTuple):
    """An achievement that a filter over `unlocks` names outright."""

    name: str
    span: Span


def check_pattern(pattern: Pattern, one: Alternative, names: Names, report: Report) -> Iterator[Link]:
    """Check an alternative over `unlocks`; yield the achievements that it names."""
    where = filter_of(pattern, one)
    if one.role is not None:
        report.error("ACH432", one.role.span, "an unlock is of one subject, and names no other", _OWN)
    for ref in () if where is None else refs(where):
        if ref.builtin and ref.name == ACTOR:
            report.error("ACH432", ref.span, _NO_ACTOR, _OWN)
    for name, literal in named_outright(where):
        if name in names.lost_achievements or name.startswith(names.lost_families):
            continue
        if name not in names.achievements:
            report.unknown("ACH204", "achievement", name, literal.span, names.achievements)
        else:
            yield Link(name, literal.span)


def check_counted(pattern: Pattern, one: Alternative, names: Names, report: Report) -> None:
    """Report an alternative over `unlocks` that counts nothing, where all names in it are right."""
    where = filter_of(pattern, one)
    if one.counts is None or one.counts.names or names.lost_achievements or names.lost_families:
        return
    if any(name in names.achievements for name, _ in named_outright(where)):
        return  # of another scope, or in a circle: that is reported elsewhere
    span = one.span if where is None else where.span
    report.error("ACH431", span, "this counts the unlocks of no achievement", _hint(names, where, report))


def check_occurrences(pattern: Pattern, one: Alternative, names: Names, report: Report) -> None:
    """Report a filter that compares an occurrence which is the name of a user: erasing that one would change it."""
    where = filter_of(pattern, one)
    asked = () if where is None else leaves(where)
    read = [ref for leaf in asked if not isinstance(leaf, Present) for ref in refs(leaf) if ref.name == OCCURRENCE]
    if not read or one.counts is None:
        return
    for name in sorted(one.counts.names):
        for node in (each.node for each in names.achievements.get(name, ())):
            if isinstance(node.repeat, RepeatBy) and _names_users(node, node.repeat.field.text, names):
                message = f"an occurrence of `{name}` is a user, who compares with no text"
                hint = 'filter by achievement, or leave that one out: achievement != "' + name + '"'
                report.error("ACH432", read[0].span, message, hint)
                return


def _names_users(node: Achievement, field: str, names: Names) -> bool:
    counted = (one for when in whens(node) for pattern in all_counted(when) for one in pattern.alternatives)
    schemas = (names.events.get(one.event.text) for one in counted)
    known = [schema.fields.get(field) for schema in schemas if schema is not None]
    return field == ACTOR or any(each is not None and each.type.names_users for each in known)


def check_actor(known: Iterable[Alternative], name: Name, report: Report) -> None:
    """Report that `distinct=actor` or `by=actor` asks for the user who did an unlock."""
    if name.text == ACTOR and any(one.counts is not None for one in known):
        report.error("ACH432", name.span, _NO_ACTOR, _OWN)


_NO_ACTOR: Final = "an unlock has no `actor`"
_OWN: Final = "leave it out: `unlocks` are those of the subject itself"


def _hint(names: Names, where: Predicate | None, report: Report) -> str:
    """Return what is likely meant: a family that is spelt otherwise, or an achievement that has to be named."""
    nodes = [each.node for versions in names.achievements.values() for each in versions]
    families = {node.family.text for node in nodes if node.family is not None}
    for wanted in sorted(candidates(where, "family") or ()):
        if wanted not in families and (guess := report.guess(wanted, families)):
            return guess
    return 'of achievements that use `unlocks` themselves, it sees those that it names: achievement = "x"'


def check_field(one: Alternative, name: str, span: Span, names: Names, report: Report) -> Field | None:
    """Return a field of the unlocks that are counted; report it and return None where there is none of one type."""
    known = {} if one.counts is None else one.counts.fields
    field = known.get(name)
    if field is None:
        if name.startswith(REWARD):
            key = name.removeprefix(REWARD)
            message = f"no achievement that this counts has `{key}` in its reward"
            hint = report.guess(name, _rewards(names)) or "write it in their rewards: reward { " + key + ": 50 }"
        else:
            message = f"an unlock has no field `{name}`"
            rewarded = REWARD + name
            meant = f"did you mean `{rewarded}`?" if rewarded in _rewards(names) else report.guess(name, known)
            hint = meant or f"fields of `unlocks` are {', '.join(UNLOCK_FIELDS)} and reward.KEY"
        report.error("ACH202", span, message, hint)
        return None
    if field.unlike is not None:
        key = name.removeprefix(REWARD)
        hint = "give it one plain value of one type in all rewards that are counted, or filter those"
        report.error("ACH305", span, f"`{key}` is not one kind of value in these rewards: {field.unlike}", hint)
        return None
    return Field(name=name, type=field.type, optional=name != "achievement", low=field.low)


def _rewards(names: Names) -> set[str]:
    """Return the fields that rewards give, of all achievements."""
    kinds = (kind for versions in names.achievements.values() for kind in kinds_of([each.node for each in versions]))
    return {name for kind in kinds for name in kind.fields if name.startswith(REWARD)}


# -- the name ----------------------------------------------------------------------------------------------------------


def check_names(files: Sequence[File]) -> list[Diagnostic]:
    """Return an error for each event that is called `unlocks`.

    Not a part of `check`: rules that were applied before the name was reserved are still read.
    """
    problems = Problems()
    for file in expand(files).files:
        report = problems.of(file.source)
        for node in file.declarations:
            if isinstance(node, EventDecl) and node.name.text == UNLOCKS:
                _reserved(node.name.span, report)
            elif isinstance(node, TraitsDecl) and node.event.text == UNLOCKS:
                _reserved(node.event.span, report)
    return settled(problems.found)


def _reserved(span: Span, report: Report) -> None:
    hint = "give the event another name, such as achievement.unlocked, here and where it is produced"
    report.error("ACH433", span, "`unlocks` are the unlocks of the subject itself, and no event can be called so", hint)

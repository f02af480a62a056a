"""Roles: does a field behind `as` name users, and which roles of an event do rules ask for?

Patterns learn the views that they match (dsl/roles.py) before anything is made of them, since two patterns over one
event type match the same events in some histories and not in others.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from dsl.built_ins import ACTOR
from dsl.check.problems import a_type
from dsl.roles import AS, MOST_ROLES, base_of, roles_in, seen, views
from dsl.syntax import Achievement, Sum
from dsl.trees import all_counted, asks_unlocks, resets, walk, whens, with_patterns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Sequence as Listed

    from dsl.check.names import Names
    from dsl.check.problems import Problems, Report
    from dsl.source import Source, Span
    from dsl.syntax import Condition, Name, Pattern

USER: Final = "user"


def check_role(names: Names, event: str, role: Name | None, report: Report, *, scope: str) -> bool:
    """Return whether what stands behind `as` is a field that names users; report it where it is not."""
    if role is None:
        return False
    if scope != USER:
        message = f"`as {role.text}` asks whose history it is: it belongs to `scope user`, not to `scope {scope}`"
        hint = f"leave `as {role.text}` out: the event is once in the history of a {scope}"
        report.error("ACH455", role.span, message, hint)
        return False
    fields = names.events[event].fields
    field = fields.get(role.text)
    if field is None and role.text == ACTOR:
        hint = f"leave `as {ACTOR}` out: without `as`, an event counts for the user who did it"
        report.error("ACH202", role.span, f"there is no field `{role.text}` in `{event}`", hint)
    elif field is None:
        users = names.events[event].users
        hint = report.guess(role.text, users) or _fields_hint(event, users, role.text)
        report.error("ACH202", role.span, f"there is no field `{role.text}` in `{event}`", hint)
    elif not field.type.names_users:
        message = f"`{role.text}` is {a_type(field.type)}; `as` takes a field that names users"
        hint = f"declare it as one: event {event} {{ {role.text}: user }}"
        report.error("ACH325", role.span, message, hint)
    else:
        return True
    return False


def _fields_hint(event: str, users: Listed[str], wanted: str) -> str:
    if users:
        return f"fields of `{event}` that name users: {', '.join(users)}"
    return f"declare it: event {event} {{ {wanted}: user }}"


# -- which roles rules ask for -----------------------------------------------------------------------------------------


def give_roles(names: Names, problems: Problems) -> None:
    """Find the roles that rules ask for, and tell every pattern of the scope `user` the views that it matches."""
    for source, node in names.traits_declared:
        check_role(names, node.event.text, node.role, problems.of(source), scope=USER)
    used = _used(names, problems)
    if not used:
        return
    names.roles = used
    for versions in names.achievements.values():
        versions[:] = [
            each._replace(node=with_views(each.node, used)) if _of_users(each.node) else each for each in versions
        ]
    carried_by = dict(names.trait_events)
    for event in {base_of(name) for name in carried_by} & used.keys():
        for view in views(event, used[event]):
            carriers = [event if role == ACTOR else f"{event}{AS}{role}" for role in roles_in(view)]
            carried = dict.fromkeys(trait for name in carriers for trait in names.trait_events.get(name, ()))
            if carried:
                carried_by[view] = tuple(carried)
    names.trait_events = carried_by


def _of_users(node: Achievement) -> bool:
    return node.scope is None or node.scope.name == USER


def _used(names: Names, problems: Problems) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, tuple[Source, Span]]] = defaultdict(dict)
    for source, event, role in _named(names):
        schema = names.events.get(event)
        field = None if schema is None else schema.fields.get(role.text)
        if field is not None and field.type.names_users:
            found[event].setdefault(role.text, (source, role.span))
    moment = _every_moment(names)
    if moment is not None:
        for event, schema in names.events.items():
            for field in schema.users:
                found[event].setdefault(field, moment)
    used: dict[str, tuple[str, ...]] = {}
    for event, roles in found.items():
        # Copies are found in the whole history of a user, in whatever role its events are there.
        schema = names.events[event]
        asked = roles.keys() if schema.once is None else schema.users
        if len(asked) > MOST_ROLES:
            source, span = list(roles.values())[-1]
            many = (
                f"rules ask for `{event}` in {len(asked)} roles"
                if schema.once is None
                else (f"`{event}` has `once per`, and {len(asked)} fields that name users")
            )
            problems.of(source).error("ACH456", span, f"{many}; at most {MOST_ROLES} can be kept apart")
        used[event] = tuple(asked)[:MOST_ROLES]
    return used


def _every_moment(names: Names) -> tuple[Source, Span] | None:
    """Return a condition that may change at every event of a user, in whatever role it is there; None without one."""
    for versions in names.achievements.values():
        for source, node in versions:
            for when in whens(node) if _of_users(node) else ():
                if any(map(_looks_at_all, walk(when))):
                    return source, when.span
    return None


def _looks_at_all(node: Condition) -> bool:
    """Tell whether a span over a condition may hold at an event that none of its patterns matches."""
    mods = node.mods
    if mods.per is not None and mods.tz is not None and mods.tz.kind == "event":
        return True
    spanned = mods.within is not None or mods.per is not None or mods.unless is not None
    named = spanned and asks_unlocks(node)
    return named or (isinstance(node, Sum) and mods.unless is not None and node.cmp.bound <= 0)


def _named(names: Names) -> Iterator[tuple[Source, str, Name]]:
    """Yield every event type and role that rules name: in the scope `user`, and in declarations of traits."""
    for versions in names.achievements.values():
        for source, node in versions:
            for one in _patterns(node) if _of_users(node) else ():
                for each in one.alternatives:
                    if each.role is not None:
                        yield source, each.event.text, each.role
    for source, node in names.traits_declared:
        if node.role is not None:
            yield source, node.event.text, node.role


def _patterns(node: Achievement) -> Iterator[Pattern]:
    for when in whens(node):
        yield from patterns_below(when)


def patterns_below(node: Condition) -> Iterator[Pattern]:
    """Yield every pattern of a condition and its parts, `unless` among them."""
    yield from resets(node)
    yield from all_counted(node)


# -- patterns that know their views ------------------------------------------------------------------------------------


def with_views(node: Achievement, used: Mapping[str, Listed[str]]) -> Achievement:
    """Return an achievement whose patterns know which views of their event types they match."""
    return with_patterns(node, lambda pattern: _pattern(pattern, used))


def _pattern(node: Pattern, used: Mapping[str, Listed[str]]) -> Pattern:
    if all(one.event.text not in used for one in node.alternatives):
        return node
    alternatives = tuple(
        replace(one, seen=seen(one.event.text, ACTOR if one.role is None else one.role.text, used[one.event.text]))
        if one.event.text in used
        else one
        for one in node.alternatives
    )
    return replace(node, alternatives=alternatives)

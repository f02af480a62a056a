"""Relations between achievements: versions of one achievement, and references to others."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from dsl.check.achievements import TENANT, USER, scope_of
from dsl.check.problems import a_type
from dsl.syntax import RepeatBy, RepeatEach, RepeatEvery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dsl.check.achievements import Link, Named
    from dsl.check.names import Declared, Names
    from dsl.check.problems import Problems
    from dsl.syntax import Achievement


def check_versions(versions: Sequence[Declared], problems: Problems) -> None:
    """Check the versions of one achievement against the ones before them."""
    for before, after in pairwise(versions):
        report = problems.of(after.source)
        old, new = before.node, after.node
        if old.since is not None and new.since is not None and new.since.us <= old.since.us:
            message = f"version {new.version} is not later than version {old.version} ({old.since.text})"
            report.error("ACH405", new.since.span, message)
        if scope_of(old) != scope_of(new):
            span = new.name.span if new.scope is None else new.scope.span
            change = f"the scope changes from {scope_of(old)} to {scope_of(new)}"
            message = f"{change}; it must be the same in all versions"
            report.error("ACH406", span, message, "for another scope, declare a new achievement")
        if _repeat(old) != _repeat(new):
            span = new.name.span if new.repeat is None else new.repeat.span
            message = f"`{_repeat(old)}` becomes `{_repeat(new)}`; it must be the same in all versions"
            report.error("ACH406", span, message, "to repeat differently, declare a new achievement")


def _repeat(node: Achievement) -> str:
    match node.repeat:
        case RepeatEach():
            return "repeat each"
        case RepeatBy(field=field):
            return f"repeat by {field.text}"
        case RepeatEvery(unit=unit, tz=None):
            return f"repeat every {unit.text}"
        case RepeatEvery(unit=unit, tz=tz) if tz is not None and (tz.kind, tz.name) != ("iana", "UTC"):
            return f"repeat every {unit.text} tz={tz.name if tz.kind == 'iana' else tz.kind}"
        case RepeatEvery(unit=unit):
            return f"repeat every {unit.text}"
        case _:
            return "no repeat"


# -- references ----------------------------------------------------------------------------------------------


def check_links(named: Mapping[str, Sequence[Named]], names: Names, problems: Problems) -> None:
    """Check that no achievement waits for itself, and that none looks across scopes."""
    _circles(named, problems)
    for versions in named.values():
        for each in versions:
            _across(each, names, problems)
            _field_scope(each, named, names, problems)


def _across(each: Named, names: Names, problems: Problems) -> None:
    own = scope_of(each.declared.node)
    for link in each.links:
        others = names.achievements.get(link.name)
        if others and scope_of(others[0].node) != own:
            message = f"`{link.name}` has scope {scope_of(others[0].node)}, but this achievement has scope {own}"
            hint = "scopes do not see each other's unlocks"
            problems.of(each.declared.source).error("ACH408", link.span, message, hint)


def _field_scope(each: Named, named: Mapping[str, Sequence[Named]], names: Names, problems: Problems) -> None:
    """Check that one of the events heard has the field that makes the subject."""
    node = each.declared.node
    if node.scope is None or node.scope.name in (USER, TENANT):
        return
    heard = {event for other in _reached(each, named) for event in other.events}
    if heard & names.lost_events:
        return
    schemas = [names.events[event] for event in sorted(heard) if event in names.events]
    kinds = {schema.fields[node.scope.name].type for schema in schemas if node.scope.name in schema.fields}
    unfit = next((kind for kind in sorted(kinds) if kind.element or kind.names_users), None)
    if unfit is not None:
        message = f"`{node.scope.name}` is {a_type(unfit)}; a scope is one value that is no user"
        hint = "leave `scope` out: an achievement of the scope `user` can count events that name a user"
        problems.of(each.declared.source).error("ACH315", node.scope.span, message, hint)
    if not schemas or kinds:
        return
    fields = sorted({field for schema in schemas for field in schema.fields} | {USER, TENANT})
    report = problems.of(each.declared.source)
    hint = report.guess(node.scope.name, fields)
    message = f"no event of this achievement has a field `{node.scope.name}`"
    report.error("ACH417", node.scope.span, message, hint)


def _reached(start: Named, named: Mapping[str, Sequence[Named]]) -> Iterator[Named]:
    """Yield an achievement and all that it names, directly or not."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        each = waiting.pop()
        yield each
        for link in each.links:
            if link.name not in seen:
                seen.add(link.name)
                waiting.extend(named.get(link.name, ()))


def _circles(named: Mapping[str, Sequence[Named]], problems: Problems) -> None:
    """Report every link that closes a cycle. Walks without recursion: chains may be as long as the rule set."""
    done: set[str] = set()
    for start in named:
        if start in done:
            continue
        path: list[str] = [start]
        places = {start: 0}
        walks = [_links(named, start)]
        while walks:
            step = next(walks[-1], None)
            if step is None:
                walks.pop()
                done.add(path.pop())
                places.popitem()
                continue
            each, link = step
            if link.name in places:
                circle = [*path[places[link.name] :], link.name]
                _report_circle(each, link, circle, problems)
            elif link.name in named and link.name not in done:
                places[link.name] = len(path)
                path.append(link.name)
                walks.append(_links(named, link.name))


def _links(named: Mapping[str, Sequence[Named]], name: str) -> Iterator[tuple[Named, Link]]:
    return ((each, link) for each in named[name] for link in each.links)


def _report_circle(each: Named, link: Link, circle: Sequence[str], problems: Problems) -> None:
    most = 8
    shown = [*circle[:most], "..."] if len(circle) > most else circle
    message = "waits for itself: " + " -> ".join(shown)
    hint = "it could never be earned; name other achievements in `after` and `unlocked`"
    problems.of(each.declared.source).error("ACH407", link.span, message, hint)

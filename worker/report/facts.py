"""What rules say without any event: which achievements are final, what is remembered, and which of them share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dsl.analyze import verdicts
from dsl.calendar import format_instant
from dsl.moments import moment_of
from dsl.outcome import full_name
from dsl.remembers import inventory, size_of
from dsl.syntax import Achievement
from dsl.unlocks import counted_names
from worker.report import screen
from worker.report.diagnostics import Place, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.analyze import Reason
    from dsl.remembers import Remembered
    from dsl.ruleset import RuleSet
    from dsl.source import Source


class Contested(msgspec.Struct, frozen=True):
    """Why a grant may be taken back: the place in the file that decides it, and what would make it final."""

    kind: str
    text: str
    rewrite: str
    place: Place


class Known(msgspec.Struct, frozen=True):
    """One version of an achievement; `remembers` has the keys of its aggregates.

    `judged_at` is when it begins, and what came before is judged by it; null where nothing is earned then.
    """

    name: str
    version: int
    final: bool
    place: Place
    reasons: list[Contested]
    remembers: list[str]
    judged_at: str | None = None
    counts: list[str] = []
    """Achievements whose unlocks it counts."""


class Shared(msgspec.Struct, frozen=True):
    """One aggregate; `bytes` is null if the events alone decide how large it is."""

    scope: str
    key: str
    label: str
    what: str
    types: list[str]
    bytes: int | None
    bounded: bool
    bounded_by: str
    users: list[str]


class RuleFacts(msgspec.Struct, frozen=True):
    """The facts of a rule set."""

    achievements: list[Known]
    aggregates: list[Shared]


def rule_facts(rules: RuleSet) -> RuleFacts:
    """Return the facts of rules without errors."""
    aggregates = inventory(rules.rules).aggregates
    of: dict[tuple[str, int], list[str]] = {}
    for each in aggregates:
        for key in dict.fromkeys((user.achievement, user.version) for user in each.users):
            of.setdefault(key, []).append(each.key)
    found = verdicts(rules.rules)
    known: list[Known] = []
    for source, node in _versions(rules):
        key = (node.name.text, node.version)
        reasons = [_contested(source, reason) for reason in found[key].reasons]
        begin = moment_of(node)
        judged_at = None if begin is None else format_instant(begin)
        place, remembers, counts = place_of(source, node.name.span), of.get(key, []), _counts(rules, key)
        known.append(Known(*key, not reasons, place, reasons, remembers, judged_at, counts))
    return RuleFacts(known, [_shared(each) for each in aggregates])


def _counts(rules: RuleSet, key: tuple[str, int]) -> list[str]:
    """Return the achievements whose unlocks a version counts."""
    name, number = key
    versions = (version for version in rules.rules.achievements[name] if version.version == number)
    return sorted(frozenset[str]().union(*map(counted_names, versions)))


def _versions(rules: RuleSet) -> Iterator[tuple[Source, Achievement]]:
    for file in rules.written_out:
        for node in file.declarations:
            if isinstance(node, Achievement):
                yield file.source, node


def _contested(source: Source, reason: Reason) -> Contested:
    return Contested(reason.kind.value, reason.text, reason.rewrite, place_of(source, reason.span))


def _shared(each: Remembered) -> Shared:
    size, users = each.size, list(dict.fromkeys(full_name(user.achievement, user.tier) for user in each.users))
    return Shared(
        each.scope, each.key, each.label, each.what, list(each.types), size.bytes, size.bounded, size.by, users
    )


# -- on the screen ----------------------------------------------------------------------------------------------------


def print_facts(facts: RuleFacts) -> None:
    """Print the facts: of each achievement whether it is final, and of each scope what is remembered."""
    console = screen.out()
    numbers: dict[str, int] = {}
    for each in facts.achievements:
        numbers[each.name] = numbers.get(each.name, 0) + 1
    for each in facts.achievements:
        name = f"{each.name} version {each.version}" if numbers[each.name] > 1 else each.name
        console.print(f"{name}: {'final' if each.final else 'contestable'}")
        if each.judged_at is not None:
            console.print(f"  begins {each.judged_at}: who qualifies by then earns it then, without another event")
        if each.counts:
            console.print(f"  counts unlocks of {', '.join(each.counts)}")
        for reason in each.reasons:
            at = reason.place
            console.print(f"  {at.file}:{at.line}:{at.column}: {reason.text}")
            console.print(f"    to make it final: {reason.rewrite}")
    for scope in dict.fromkeys(each.scope for each in facts.aggregates):
        _print_memory(scope, [each for each in facts.aggregates if each.scope == scope])


def _print_memory(scope: str, aggregates: list[Shared]) -> None:
    total = sum(each.bytes or 0 for each in aggregates)
    open_ones = sum(each.bytes is None for each in aggregates)
    more = "" if not open_ones else f", and {screen.plural(open_ones, 'aggregate')} by what happens"
    kinds = screen.plural(len(aggregates), "aggregate")
    title = f"remembered of every {scope}: {kinds}, up to about {size_of(total)}{more}"
    console = screen.out()
    console.print(title, style="bold")
    for each in aggregates:
        size = "" if each.bytes is None else f"{size_of(each.bytes)}, "
        console.print(f"  {each.label}: {size}{_limit(each)}")
        console.print(f"    used by {', '.join(each.users)}")


def _limit(each: Shared) -> str:
    return each.bounded_by if each.bounded else f"unbounded: {each.bounded_by}"

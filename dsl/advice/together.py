"""Achievements that are always earned together, because they have the same condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.compile import scope_of
from dsl.filters import predicate_key
from dsl.outcome import full_name
from dsl.references import tier_conditions
from dsl.remembers import User

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.advice.rulebook import Rulebook
    from dsl.check.problems import Problems
    from dsl.source import Source, Span
    from dsl.syntax import Achievement


def advise_on_twins(book: Rulebook, problems: Problems) -> None:
    """Report every achievement or tier that is earned exactly when another one is."""
    first: dict[tuple[object, ...], str] = {}
    for source, span, name, meaning in _meanings(book):
        twin = first.setdefault(meaning, name)
        if twin != name:
            message = f"`{name}` is always earned together with `{twin}`: both have the same condition"
            problems.of(source).warn("ACH508", span, message, "keep one of them, or change one condition")


def _meanings(book: Rulebook) -> Iterator[tuple[Source, Span, str, tuple[object, ...]]]:
    """Yield everything that decides when an achievement is earned, except its name."""
    for source, node in book.versions():
        versions = book.rules.achievements[node.name.text]
        if node is not versions[0]:
            continue
        around = [_around(book, version) for version in versions]
        places = {each.name.text: each.name.span for each in reversed(node.tiers)}
        for tier, _ in tier_conditions(node):
            name = full_name(node.name.text, tier)
            users = (User(node.name.text, version.version, tier) for version in versions)
            meanings = tuple(book.inventory.meanings.get(user) for user in users)
            span = node.name.span if tier is None else places[tier]
            yield source, span, name, (scope_of(node), meanings, tuple(around))


def _around(book: Rulebook, version: Achievement) -> tuple[object, ...]:
    """Return what all tiers of a version share."""
    who = None if version.where is None else predicate_key(version.where)
    after = sorted((each.achievement.text, "" if each.tier is None else each.tier.text) for each in version.after)
    active = version.active
    span = None if active is None else (active.start and active.start.us, active.end and active.end.us)
    users = (User(version.name.text, version.version, tier) for tier, _ in tier_conditions(version))
    return (
        version.since and version.since.us,
        version.fresh,
        type(version.repeat).__name__,
        who,
        tuple(after),
        span,
        version.settle and version.settle.us,
        frozenset[str]().union(*(book.inventory.types[user] for user in users)),
    )

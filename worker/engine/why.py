"""Why a subject has an achievement, or what is missing: an explanation of each tier that is asked for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.analyze import names
from dsl.diagnostics import nearest
from dsl.explain import Asked, Explanation, MeantError, explain, tiers_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dsl.event import Event
    from dsl.outcome import Subject
    from dsl.schema import Rules

LISTED: Final = 20
"""Names of achievements that are listed where the one asked for is unknown."""


class Question(NamedTuple):
    """What is asked of a subject. Every tier where `tier` is None, the current occurrence where `occurrence` is."""

    achievement: str
    tier: str | None = None
    occurrence: str | None = None


class Contested(msgspec.Struct, frozen=True):
    """An unlock that was granted and is kept, although the events no longer support it; instants as RFC 3339."""

    achievement: str
    tier: str | None
    occurrence: str | None
    earned_at: str
    contested_at: str


class Why(msgspec.Struct, frozen=True):
    """One explanation for each tier, and the contested unlocks among those they name."""

    explanations: list[Explanation]
    contested: list[Contested]


class CannotExplainError(Exception):
    """What is asked for is not there; the message says so, and `hint` what is."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def check_named(rules: Rules, question: Question) -> None:
    """Check that the achievement and tier exist.

    Raises:
        CannotExplainError: there is none of that name.
    """
    name = question.achievement
    if name not in rules.achievements:
        guess = nearest(name, rules.achievements)
        first = sorted(rules.achievements)[:LISTED]
        more = ", ..." if len(rules.achievements) > LISTED else ""
        hint = f"there are: {', '.join(first) or 'none'}{more}" if guess is None else f"did you mean {guess}?"
        raise CannotExplainError(f"there is no achievement {name}", hint)
    tiers = tiers_of(rules, name)
    if question.tier is not None and question.tier not in tiers:
        named = ", ".join(tier for tier in tiers if tier is not None) or "none"
        raise CannotExplainError(f"{name} has no tier {question.tier}", f"its tiers: {named}")


def named_in(rules: Rules, achievement: str) -> set[str]:
    """Return an achievement and those that its versions name in `after` and `unlocked`."""
    others = (other for version in rules.achievements[achievement] for other, _ in names(version))
    return {achievement, *others}


def explained(
    rules: Rules,
    subject: Subject,
    question: Question,
    tiers: Collection[str | None],
    events: Sequence[Event],
    now: int,
) -> list[Explanation]:
    """Return an explanation of each of some tiers, from all events of a subject, as of `now` (microseconds).

    Raises:
        CannotExplainError: there is no such occurrence.
    """
    asked = Asked(subject.tenant_id, subject.subject, question.achievement, None, question.occurrence, now)
    found, refused = list[Explanation](), list[MeantError]()
    for tier in tiers:
        try:
            found.append(explain(rules, asked._replace(tier=tier), events))
        except MeantError as error:  # another tier may have the occurrence
            refused.append(error)
    if not found and refused:
        raise CannotExplainError(str(refused[0])) from refused[0]
    return found


def tiers_asked_for(rules: Rules, question: Question) -> list[str | None]:
    """Return the tiers that a question is about."""
    return tiers_of(rules, question.achievement) if question.tier is None else [question.tier]

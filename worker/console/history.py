"""What the ledger has of one subject: the events that its rules hear, and what can be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.explain import Asked, MeantError, explain, tiers_of
from worker.console.books import look
from worker.console.timeline import picture, progress_series
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import read_back

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.explain import Explanation
    from dsl.outcome import Subject
    from worker.console.timeline import Picture
    from worker.engine.reconcile import Stored
    from worker.engine.rule_set import Deployed
    from worker.store import Store

MOST_EVENTS: Final = 20_000
"""Events of one subject that a page folds."""


class TooMuchError(Exception):
    """The subject has more events than a page folds."""


async def read_events(store: Store, rules: Deployed, subject: Subject) -> list[Event]:
    """Return all events of a subject that the rules hear, in canonical order.

    Raises:
        TooMuchError: there are more than MOST_EVENTS.
        UnavailableError: the database is away.
    """
    if subject.scope not in rules.program.scopes:
        return []
    events: list[Event] = []
    async with look(store) as session:
        async for page in read_back(session, rules, subject.scope, {subject: BEGINNING}):
            events.extend(event for _, event in page)
            if len(events) > MOST_EVENTS:
                raise TooMuchError
    return events


def draw(rules: Deployed, subject: Subject, events: list[Event], unlocks: list[Stored], now: int) -> Picture | None:
    """Return the picture of a subject; None where there is nothing to draw."""
    plan = rules.program.scopes.get(subject.scope)
    series = [] if plan is None else progress_series(plan, events)
    return picture(events, series, unlocks, now)


class Question(NamedTuple):
    """What is to be explained; None for all tiers, and for the current occurrence."""

    achievement: str
    tier: str | None
    occurrence: str | None


def explanations(
    rules: Deployed, subject: Subject, question: Question, events: list[Event], now: int
) -> list[Explanation]:
    """Explain why a subject has an achievement, or what is missing, tier by tier.

    Raises:
        MeantError: there is no such achievement, tier or occurrence.
    """
    if question.achievement not in rules.rules.achievements:
        raise MeantError(f"there is no achievement {question.achievement} in the rules in force")
    tiers = tiers_of(rules.rules, question.achievement) if question.tier is None else [question.tier]
    found: list[Explanation] = []
    refused: list[MeantError] = []
    for tier in tiers:
        asked = Asked(subject.tenant_id, subject.subject, question.achievement, tier, question.occurrence, now)
        try:
            found.append(explain(rules.rules, asked, events))
        except MeantError as error:  # another tier may have the occurrence
            refused.append(error)
    if not found:
        raise refused[0]
    return found

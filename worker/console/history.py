"""What the ledger has of one subject: the events that its rules hear, and what can be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.console.books import look
from worker.console.timeline import picture, progress_series
from worker.engine.why import check_named, explained, tiers_asked_for
from worker.pipeline.ledger import events_of

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.explain import Explanation
    from dsl.outcome import Subject
    from worker.console.timeline import Picture
    from worker.engine.reconcile import Stored
    from worker.engine.rule_set import Deployed
    from worker.engine.why import Question
    from worker.store import Store

MOST_EVENTS: Final = 20_000
"""Events of one subject that a page folds."""


async def read_events(store: Store, rules: Deployed, subject: Subject) -> list[Event]:
    """Return all events of a subject that the rules hear, in canonical order.

    Raises:
        TooManyEventsError: there are more than MOST_EVENTS.
        UnavailableError: the database is away.
    """
    if subject.scope not in rules.program.scopes:
        return []
    async with look(store) as session:
        return await events_of(session, rules, subject, most=MOST_EVENTS)


def draw(rules: Deployed, subject: Subject, events: list[Event], unlocks: list[Stored], now: int) -> Picture | None:
    """Return the picture of a subject; None where there is nothing to draw."""
    plan = rules.program.scopes.get(subject.scope)
    names = rules.renames
    series = [] if plan is None else progress_series(plan, events)
    series = [(names.target(*_parts(label)), points) for label, points in series]
    return picture(events, series, names.shown_in(unlocks), now)


def _parts(label: str) -> tuple[str, str]:
    name, _, tier = label.partition(".")
    return name, tier


def why(rules: Deployed, subject: Subject, question: Question, events: list[Event], now: int) -> list[Explanation]:
    """Explain why a subject has an achievement, or what is missing, tier by tier; `now` in microseconds.

    Raises:
        CannotExplainError: there is no such achievement, tier or occurrence.
    """
    check_named(rules.written, question)
    return explained(rules.written, subject, question, tiers_asked_for(rules.written, question), events, now)

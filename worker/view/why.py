"""What an explanation is made of, read from the ledger in one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.calendar import format_instant
from worker.engine.why import CannotExplainError, Contested, named_in
from worker.pipeline.ledger import TooManyEventsError, events_of

if TYPE_CHECKING:
    from dsl.event import Event
    from dsl.outcome import Subject
    from worker.engine.rule_set import Deployed
    from worker.engine.why import Question
    from worker.store import Store


class Evidence(NamedTuple):
    """What the ledger has of a subject, for a question."""

    events: list[Event]
    contested: list[Contested]
    latest: int | None
    """The latest instant of any event, microseconds; None where it was not asked for."""


class _Row(msgspec.Struct, frozen=True):
    """A contested unlock as stored: empty text for none, instants in microseconds."""

    achievement: str
    tier: str
    occurrence: str
    earned_at: int
    contested_at: int

    def shown(self) -> Contested:
        earned, since = format_instant(self.earned_at), format_instant(self.contested_at)
        return Contested(self.achievement, self.tier or None, self.occurrence or None, earned, since)


async def read_evidence(
    store: Store,
    rules: Deployed,
    subject: Subject,
    question: Question,
    *,
    stream_clock: bool = False,
    most: int | None = None,
) -> Evidence:
    """Read the events of a subject, `most` at the most, and what it keeps though they do not support it any more.

    The question has a name of today; what is kept comes under first names.

    Raises:
        CannotExplainError: there are more events than that.
        UnavailableError: the database is away.
    """
    async with store.transaction(patient=most is None) as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            events = await events_of(session, rules, subject, most=most)
        except TooManyEventsError as error:
            what = f"{subject.scope} {subject.subject} has {error}"
            raise CannotExplainError(what, "run `ach explain --from-ledger`") from None
        latest = await session.value(int, "latest_instant") if stream_clock else None
        own = question._replace(achievement=rules.renames.first(question.achievement))
        named = sorted(named_in(rules.rules, own.achievement))
        rows = await session.rows(_Row, "contested_of_subject", **subject._asdict(), achievements=named)
    return Evidence(events, [row.shown() for row in rows if _is_asked_for(row, own)], latest)


def _is_asked_for(row: _Row, question: Question) -> bool:
    """Return False for other tiers and occurrences of the achievement itself, where one was asked for."""
    if row.achievement != question.achievement:
        return True
    return question.tier in {None, row.tier} and question.occurrence in {None, row.occurrence}

"""Where subjects stand, through the fold: page by page, so that many subjects cost time and not memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.compile import USER
from dsl.outcome import Subject
from dsl.values import canonical_number
from worker.engine.reconcile import Stored
from worker.engine.standing import standing_of
from worker.mirror.intake import csv_row
from worker.pipeline.ledger import types_heard
from worker.pipeline.past_states import know_former, recorded_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.progress import Amount, State
    from worker.engine.rule_set import Deployed
    from worker.engine.standing import Item
    from worker.mirror.intake import Sink
    from worker.mirror.window import Window
    from worker.pipeline.ledger import EventRow
    from worker.store import Session

_WHOLE_DIGITS: Final = 29
_FRACTION_DIGITS: Final = 9
"""Digits that a column of numbers has room for."""


class _Row(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    stamp: str
    state: str
    unsaved: Sequence[EventRow]


class Progress:
    """Hands over where all subjects stand that have changed. `as_of` and `now` are microseconds.

    `now` is what standings are judged by, `as_of` what the rows say.
    """

    def __init__(self, session: Session, rules: Deployed, *, as_of: int, now: int) -> None:
        self._session = session
        self._rules = rules
        self._as_of = format_instant(as_of)
        self._now = now
        self.stale = 0
        """Subjects that were passed over: their states are of other rules, or cannot be read."""

    async def hand(self, sink: Sink, *, changed: Window, tenant: str | None) -> None:
        """Hand over the rows, as CSV.

        Raises:
            UnavailableError: the database is away.
        """
        args = {**changed._asdict(), "tenant_id": tenant, "types": types_heard(self._rules, USER)}
        built = not await self._session.value(bool, "something_is_building")
        async for page in self._session.pages(_Row, "mirror_progress", **args):
            stamps = self._rules.stamps
            former = {(row.scope, row.stamp) for row in page if row.stamp != stamps.get(row.scope, row.stamp)}
            if former:
                await know_former(self._session, self._rules, former)
            states = {Subject(*row[:3]): state for row in page if (state := self._state(row, built=built)) is not None}
            unlocks = await self._unlocks(list(states))
            lines = [
                csv_row(self._cells(subject, item))
                for subject, state in states.items()
                for item in standing_of(self._rules, subject, state, unlocks.get(subject, ()), self._now).items
            ]
            await sink("".join(lines).encode())

    def _state(self, row: _Row, *, built: bool) -> State | None:
        if row.scope not in self._rules.stamps:
            return None
        found = recorded_state(self._rules, Subject(*row[:3]), row.stamp, row.state, row.unsaved, built=built)
        self.stale += found.state is None
        return found.state

    async def _unlocks(self, subjects: Sequence[Subject]) -> dict[Subject, list[Stored]]:
        found: dict[Subject, list[Stored]] = {}
        if subjects:
            tenants, scopes, names = (list(column) for column in zip(*subjects, strict=True))
            args = {"tenant_ids": tenants, "scopes": scopes, "subjects": names}
            for row in await self._session.rows(Stored, "all_unlocks_of_subjects", **args):
                found.setdefault(Subject(*row[:3]), []).append(row)
        return found

    def _cells(self, subject: Subject, item: Item) -> tuple[object, ...]:
        user = subject.subject if subject.scope == USER else None
        rule = (item.achievement, item.tier, item.version, item.occurrence, item.status.value)
        reached = (item.reached.percent, _number(item.reached.current), _number(item.reached.target))
        return (*subject, user, *rule, *reached, item.times, self._as_of)


def _number(amount: Amount | None) -> str | None:
    if amount is None:
        return None
    text = canonical_number(amount)
    whole, _, fraction = text.lstrip("-").partition(".")
    return text if len(whole) <= _WHOLE_DIGITS and len(fraction) <= _FRACTION_DIGITS else None

"""What a worker has done since it started: counts, and how long unlocks took. Pure; metrics.py shows it."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from dsl.outcome import Subject
    from worker.engine.batch import Attempt, Group
    from worker.engine.reconcile import Decision

RESERVOIR: Final = 10_000
"""Latencies that are kept, the latest ones."""
WAITING: Final = 10_000
"""Unlocks whose announcement is timed at once; beyond that some are not timed."""


class Stats:
    """Counts of one worker. Only what is committed is counted."""

    def __init__(self) -> None:
        self.messages = 0
        """Acknowledged, or ended with a reason."""
        self.events = 0
        """New in the ledger."""
        self.duplicates = 0
        self.late = 0
        """Events before, in canonical order, another event of the same user that had arrived earlier."""
        self.erased = 0
        """Events of erased users, and dead letters that name no other, which were left out."""
        self.dead: Counter[str] = Counter()
        """Dead letters by reason."""
        self.decisions: Counter[str] = Counter()
        """Decisions about unlocks by kind."""
        self.batches = 0
        self.refolded = 0
        """Subjects that were folded anew from the ledger."""
        self.retries = 0
        self.overtaken = 0
        """Attempts at the express way that found something else than they had expected."""
        self.announced = 0
        """Unlocks announced to the broker."""
        self.corrected = 0
        """Corrections of unlocks that the broker has now."""
        self.repeated = 0
        """Announcements that the broker knew already."""
        self.refused = 0
        """Announcements that the broker would not keep, each time that it was tried."""
        self.batch_seconds: deque[float] = deque(maxlen=RESERVOIR)
        self.unlock_seconds: deque[float] = deque(maxlen=RESERVOIR)
        """From the broker's time stamp of the event to the announcement of the unlock."""
        self._sent_at: dict[UUID, int] = {}

    @property
    def unlocks(self) -> int:
        """Unlocks granted, at once or after settling."""
        return self.decisions["granted"]

    def count_batch(self, attempt: Attempt, seconds: float) -> None:
        """Count a committed batch that took `seconds`."""
        self.events += len(attempt.events)
        self.duplicates += attempt.duplicates
        self.late += attempt.late
        self.erased += attempt.erased
        self.dead.update(letter.reason.value for letter in attempt.letters)
        self.decisions.update(decision.kind.value for decision in attempt.decisions)
        self.batches += 1
        self.refolded += len(attempt.refolded)
        self.batch_seconds.append(seconds)
        self._time(attempt)

    def _time(self, attempt: Attempt) -> None:
        if not attempt.decisions or len(self._sent_at) >= WAITING:
            return
        granted: defaultdict[Subject, list[Decision]] = defaultdict(list)
        for decision in attempt.decisions:
            if decision.kind == "granted":
                granted[decision.subject].append(decision)
        for group in attempt.batch.groups:
            for subject in group.concern.subjects:
                if subject in granted:
                    self._time_group(group, granted[subject])

    def _time_group(self, group: Group, granted: list[Decision]) -> None:
        ids = [event.id for event in group.events]
        for decision in granted:
            earning = decision.grant.event_id
            if earning in ids:
                self._sent_at[decision.unlock_id] = group.messages[ids.index(earning)].sent_at

    def count_settled(self, number: int) -> None:
        """Count unlocks that were granted because they had settled."""
        if number:
            self.decisions["granted"] += number

    def count_corrected(self, number: int) -> None:
        """Count corrections that the broker has now."""
        self.corrected += number

    def count_announced(self, unlock_id: UUID, *, new: bool, now: int) -> None:
        """Count an announcement; `now` is in microseconds."""
        self.announced += new
        self.repeated += not new
        sent_at = self._sent_at.pop(unlock_id, None)
        if sent_at is not None and new:
            self.unlock_seconds.append((now - sent_at) / 1_000_000)


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value below which a share (0 to 1) of the values lies; None where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None

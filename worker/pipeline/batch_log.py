"""The lines of the log about what was done: one a batch, one a dead letter, and a sum of all batches from time to time.

A busy worker has sixty batches a second, so the line of a batch is for `debug`, and `info` has the sum of a minute. A
line has names and numbers, never a payload: ids as the producer wrote them, cut and escaped (worker/process/logs.py).
Producers can cause any number of dead letters, so only some are written each ten seconds; the table has all of them.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.contract.loose_event import loose_event
from worker.contract.reasons import Reason
from worker.contract.trace import trace_of_headers
from worker.engine.tally import Tally

if TYPE_CHECKING:
    from worker.contract.trace import Trace
    from worker.engine.batch import DeadLetter
    from worker.pipeline.intake import Whole
    from worker.traces.spans import Spans

SUM_SECONDS: Final = 60.0
"""Between two lines about all batches."""
SLOW_SECONDS: Final = 10.0
"""A batch that takes longer has a line of its own at any rate."""
LETTER_SECONDS: Final = 10.0
MOST_LETTERS: Final = 100
"""Dead letters with a line, in so many seconds."""
_OURS: Final = frozenset({Reason.REFUSED, Reason.DEFECT})
"""Not the producer's fault."""

log = structlog.get_logger()


class BatchLog:
    """Writes the lines of one worker. `prefix` is that of the input's subjects."""

    def __init__(self, prefix: str, spans: Spans) -> None:
        self._prefix = prefix
        self._spans = spans
        self._sum = Tally()
        self._batches = 0
        self._messages = 0
        self._slowest = 0.0
        self._since = monotonic()
        self._letters_since = self._since
        self._letters = 0

    def ended(self, whole: Whole) -> None:
        """Write what became of a batch that was committed and acknowledged."""
        seconds = monotonic() - whole.times.began
        self._batches += 1
        self._messages += len(whole.batch.messages)
        self._sum.add(whole.tally)
        self._slowest = max(self._slowest, seconds)
        facts = whole.facts
        trace = self._spans.processed(whole.batch.messages, seconds, facts)
        ids = _ids_of(trace)
        if seconds >= SLOW_SECONDS:
            log.warning("slow batch", batch=whole.name, **facts, **whole.times.stages(seconds), **ids)
        elif log.is_enabled_for(logging.DEBUG):
            log.debug("batch", batch=whole.name, **facts, **whole.times.stages(seconds), **ids)
        if whole.letters:
            self._write_letters(whole, seconds)

    def _write_letters(self, whole: Whole, seconds: float) -> None:
        name, now = whole.name, monotonic()
        if now - self._letters_since >= LETTER_SECONDS:
            self._write_unwritten()
            self._letters_since = now
        room = max(0, MOST_LETTERS - self._letters)
        self._letters += len(whole.letters)
        for letter in whole.letters[:room]:
            self._write_letter(letter, name, seconds)

    def _write_letter(self, letter: DeadLetter, batch: str, seconds: float) -> None:
        message = letter.message
        event_id, tenant = loose_event(self._prefix, message.subject, letter.body)
        write = log.error if letter.reason in _OURS else log.warning
        ids = _ids_of(trace_of_headers(message.block))
        place = {"seq": message.seq, "element": letter.element, "batch": batch, "seconds": round(seconds, 4)}
        write("dead letter", reason=letter.reason.value, event_id=event_id, tenant=tenant, **place, **ids)

    def _write_unwritten(self) -> None:
        """Say how many dead letters had no line, and begin to count again."""
        if self._letters > MOST_LETTERS:
            log.warning("more dead letters; see `ach dead list`", number=self._letters - MOST_LETTERS)
        self._letters = 0

    def sum_up(self) -> None:
        """Write what was done since this was called last, if anything was."""
        if self._letters > MOST_LETTERS:
            self._write_unwritten()
        if not self._batches:
            return
        total, seconds = self._sum, monotonic() - self._since
        log.info(
            "batches",
            batches=self._batches,
            messages=self._messages,
            events=total.events,
            duplicates=total.duplicates,
            late=total.late,
            dead=total.dead,
            grants=total.grants,
            retries=total.retries,
            slowest=round(self._slowest, 4),
            seconds=round(seconds, 1),
        )
        self._sum, self._batches, self._messages = Tally(), 0, 0
        self._slowest, self._since = 0.0, monotonic()

    async def run(self) -> None:
        """Sum up from time to time, until cancelled."""
        while True:
            await anyio.sleep(SUM_SECONDS)
            self.sum_up()


def _ids_of(trace: Trace | None) -> dict[str, str]:
    return {} if trace is None else trace.ids

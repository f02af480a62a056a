"""When a delivery that failed is tried again, and when an endpoint is given up. Pure.

Delays and instants are milliseconds here; attempts count from 1.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

SVIX: Final = (5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR)
"""Delays after the first attempt, the second and so on, as Svix has them. After the last, the last again."""
LONGEST_RETRY_AFTER: Final = HOUR
"""A receiver cannot put itself off for longer: its words may be a mistake."""

_GONE: Final = 410
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503


class Outcome(StrEnum):
    """What became of one attempt; the values are those of the table `delivery`."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It is tried again."""
    ABORTED = "aborted"
    """The receiver asked for no further attempt."""
    GONE = "gone"
    """The receiver answered 410: the endpoint is disabled."""
    REFUSED = "refused"
    """The address is one that no request may go to; it is tried again, since names move."""


class Attempt(NamedTuple):
    """What one attempt came to."""

    outcome: Outcome
    status: int | None = None
    """Of the HTTP response; None where none came."""
    retry_after: int | None = None
    """Milliseconds that the receiver asked for."""
    detail: str = ""
    """What went wrong, in words that hold no URL and no secret."""


class Decision(NamedTuple):
    """What follows from an attempt."""

    done: bool
    """Whether the message is never sent again."""
    delay: int = 0
    """Milliseconds until the next attempt."""
    pause: int = 0
    """Milliseconds for which the endpoint gets no request at all."""
    disable: str = ""
    """Why the endpoint is disabled; "" where it is not."""


def answered(status: int, *, retry_after: str = "", abort: bool = False, now: int) -> Attempt:
    """Return what an HTTP response means; `retry_after` is the header's text, `now` milliseconds since the epoch."""
    if 200 <= status < 300:  # noqa: PLR2004 - as HTTP has it
        return Attempt(Outcome.DELIVERED, status)
    if status == _GONE:
        return Attempt(Outcome.GONE, status, detail="410 Gone")
    if abort:
        return Attempt(Outcome.ABORTED, status, detail="webhook-delivery: abort-message")
    asked = read_retry_after(retry_after, now=now) if status in {_TOO_MANY, _UNAVAILABLE} else None
    redirect = 300 <= status < 400  # noqa: PLR2004 - as HTTP has it
    return Attempt(Outcome.FAILED, status, asked, "a redirect, which is not followed" if redirect else "")


def read_retry_after(text: str, *, now: int) -> int | None:
    """Return the milliseconds that a header `Retry-After` asks for, bounded; None where it is missing or malformed."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * SECOND, LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ahead = int((moment - datetime.fromtimestamp(0, UTC)).total_seconds()) * SECOND - now
    return max(0, min(ahead, LONGEST_RETRY_AFTER))


def delay_after(attempt: int, schedule: Sequence[int]) -> int:
    """Return the milliseconds between one attempt, from 1, and the next."""
    return schedule[min(attempt, len(schedule)) - 1]


def decide(attempt: Attempt, number: int, schedule: Sequence[int], *, failing_for: int, disable_after: int) -> Decision:
    """Return what follows from the attempt of a number, from 1.

    `failing_for` is how long every attempt at the endpoint has failed, this one included.
    """
    if attempt.outcome in {Outcome.DELIVERED, Outcome.ABORTED}:
        return Decision(done=True)
    delay = delay_after(number, schedule)
    if attempt.outcome is Outcome.GONE:
        return Decision(done=False, delay=delay, disable=attempt.detail)
    if failing_for >= disable_after:
        return Decision(done=False, delay=delay, disable=f"every attempt has failed for {in_words(failing_for)}")
    if attempt.retry_after is not None:
        return Decision(done=False, delay=attempt.retry_after, pause=attempt.retry_after)
    return Decision(done=False, delay=delay)


def in_words(milliseconds: int) -> str:
    """Return a duration as a person writes it, in its largest unit: `5 days`, `90 s`."""
    for size, unit in ((DAY, " days"), (HOUR, " h"), (MINUTE, " min"), (SECOND, " s")):
        if milliseconds >= 2 * size or (milliseconds >= size and not milliseconds % size):
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds} ms"

"""Messages to the broker, and the places of those that it has not acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from worker.broker.errors import OUT_OF_REACH, in_words
from worker.broker.window import Fate
from worker.ingest.problems import EventTooLargeError, Flaw, NotStoredError
from worker.ingest.reading import check_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.broker.connection import Connection
    from worker.broker.window import Answer, Outgoing

MOST_UNDER_WAY: Final = 8_192
"""Messages that are sent and not acknowledged, of all requests together."""
TOO_LARGE: Final = 10054
"""The number of the broker's error for a message that is larger than its stream takes."""
_STORED: Final = frozenset({Fate.NEW, Fate.COPY})
_SILENCE: Final = "no answer in time"


class Room:
    """A bounded number of messages under way; who asks first goes first."""

    def __init__(self, most: int = MOST_UNDER_WAY) -> None:
        self._most = most
        self._turn = anyio.Lock()
        self._freed = anyio.Event()
        self.taken = 0

    async def take(self, number: int) -> None:
        """Wait until there is room for so many messages; no request has more than all of it."""
        async with self._turn:
            while self.taken + number > self._most:
                await self._freed.wait()
            self.taken += number

    def give(self, number: int) -> None:
        """Give room back."""
        self.taken -= number
        self._freed.set()
        self._freed = anyio.Event()


class Publisher:
    """Publishes the messages of one request at a time, of many requests side by side."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self.room = Room()

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._connection.connected

    async def publish(self, messages: Sequence[Outgoing]) -> int:
        """Publish messages; return how many of them the broker has had before.

        Raises:
            NotStoredError: the broker has not acknowledged all of them in time.
            EventTooLargeError: it takes none that are so large.
        """
        number = len(messages)
        if not number:
            return 0
        if not self.connected:
            raise NotStoredError(range(number), number, "it is away", retry_after=2)
        parts = [one.parts for one in messages]
        check_sizes(parts, self._connection.client.max_payload)
        with anyio.move_on_after(self._seconds) as waiting:
            await self.room.take(number)
        if waiting.cancelled_caught:
            raise NotStoredError(range(number), number, "too many events are under way", retry_after=1)
        try:
            round_ = await self._connection.window.answers(parts, self._seconds)
        except OUT_OF_REACH as error:
            raise NotStoredError(range(number), number, in_words(error), retry_after=2) from error
        finally:
            self.room.give(number)
        return _copies(round_.answers)


def _copies(answers: Sequence[Answer | None]) -> int:
    """Return how many messages the broker has had before.

    Raises:
        NotStoredError: not all are stored.
        EventTooLargeError: some never will be; others of the request may be.
    """
    missing = [place for place, answer in enumerate(answers) if answer is None or answer.fate not in _STORED]
    if missing:
        said = [(place, one) for place in missing if (one := answers[place]) is not None]
        large = [(place, one) for place, one in said if one.err_code == TOO_LARGE]
        if large:
            raise EventTooLargeError([Flaw(place, one.description, EventTooLargeError.hint) for place, one in large])
        raise NotStoredError(missing, len(answers), said[0][1].said if said else _SILENCE)
    return sum(answer is not None and answer.fate is Fate.COPY for answer in answers)

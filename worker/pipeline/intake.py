"""From the broker to the writers: messages are read as they arrive, and make a batch when the writers are free.

While a batch is under way, whatever arrives joins the next one, and is read at once. Closing the next one late makes it
larger; reading it early means that the writers do not wait for it. Under full load batches are as large as they may be,
and one is ready when the writers are.

Measured and tried: docs/decisions/0008-hot-path/batches.md, writers.md.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from worker.broker.streams import BATCH_BYTES
from worker.engine.tally import Tally
from worker.pipeline.pipeline import StoppedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.streams.memory import MemoryObjectSendStream

    from worker.broker.streams import Broker
    from worker.contract.message import Message
    from worker.engine.batch import Batch, DeadLetter
    from worker.engine.decoding import Decoding
    from worker.settings import Settings

SLICE: Final = 32
SLICE_BYTES: Final = 8 * 1024
"""Messages, or their bytes, that are read at a time while a batch is under way: waking up for each small one costs more
than reading it."""
FILL_SECONDS: Final = 5.0
STALL_SECONDS: Final = 0.25
"""For which free writers wait at most until a batch is full, and for its next message, if the broker has all
that is missing. That arrives no later than the backlog does, so the wait at most doubles the delay of a backlog; and an
event in a small batch costs more. Waiting for less would hold up a stream that never ends for as long as it may."""
TURN: Final = 1024
TURN_BYTES: Final = 256 * 1024
"""Messages, and their bytes, that are read at most before the writers have a turn: the database may have answered
meanwhile."""


class Held:
    """Messages that were taken from the broker and are not committed yet."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.since = monotonic()
        self.bytes = 0

    def add(self, messages: Sequence[Message]) -> None:
        """Hold more."""
        self.messages.extend(messages)
        self.bytes += sum([len(message.body) for message in messages])


class Times:
    """When a batch passed each of its stages, of `monotonic`."""

    def __init__(self, began: float) -> None:
        self.began = began
        """Its first message was taken from the broker."""
        self.read = self.started = self.committed = monotonic()
        """It was closed; a writer had time for it; all of it was committed."""
        self._is_started = False

    def start(self) -> None:
        """Note that a writer has time for it; the first one counts."""
        if not self._is_started:
            self._is_started, self.started = True, monotonic()

    def stages(self, seconds: float) -> dict[str, float]:
        """Return the seconds of all, and of each stage."""
        acknowledging = self.began + seconds - self.committed
        stages = (seconds, self.read - self.began, self.started - self.read, self.committed - self.started)
        names = ("seconds", "read", "wait", "commit", "ack")
        return {name: round(one, 4) for name, one in zip(names, (*stages, acknowledging), strict=True)}


class Whole:
    """A batch on its way through the writers: it is acknowledged when every piece is committed."""

    def __init__(self, held: Held, batch: Batch, pieces: int) -> None:
        self.held = held
        self.batch = batch
        self.missing = pieces
        self.letters: list[DeadLetter] = []
        self.stopped = False
        self.tally = Tally()
        self.times = Times(held.since)

    @property
    def name(self) -> str:
        """Its first and last place in the stream: what tells it from others in a log."""
        places = [message.seq for message in self.batch.messages]
        return f"{min(places)}-{max(places)}" if places else ""

    @property
    def facts(self) -> dict[str, int | float | str]:
        """What became of it, in numbers."""
        tally = self.tally
        return {
            "messages": len(self.batch.messages),
            "events": tally.events,
            "duplicates": tally.duplicates,
            "late": tally.late,
            "dead": tally.dead,
            "grants": tally.grants,
            "retries": tally.retries,
            "way": tally.way,
        }


class Piece(NamedTuple):
    """One writer's part of a batch."""

    whole: Whole
    batch: Batch


class _Open(NamedTuple):
    """A batch in the making."""

    held: Held
    decoding: Decoding


class Intake:
    """Takes messages from the broker, and keeps them until they are committed or given back.

    `begin` opens a batch under the rules in force; `now` is the wall clock in microseconds.
    """

    def __init__(
        self, broker: Broker, settings: Settings, begin: Callable[[], Awaitable[Decoding]], now: Callable[[], int]
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._begin = begin
        self._now = now
        self._held: set[Held] = set()
        self._open: _Open | None = None
        self._under_way = 0
        """Batches that are with the writers, or wait for them."""
        self._ended = False
        """Whether pulling has stopped: what is not with the writers goes back to the broker."""

    @property
    def busy(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._under_way or (not self._ended and (self._open is not None or self._broker.buffered)))

    async def run(self, ways: Sequence[MemoryObjectSendStream[Piece]]) -> None:
        """Hand batches to the writers, one piece each, until pulling is stopped."""
        while (messages := await self._next()) is not None:
            if messages:
                await self._take_in(messages)
            if self._under_way:
                await checkpoint()
            if self._open is not None and self._is_to_go():
                batch, self._open = self._open, None
                await self._hand_on(batch, ways)
        self._ended = True
        if self._open is not None:
            self._give_back(self._open.held)

    def _is_to_go(self) -> bool:
        """Tell whether to close the batch: it is full, or the writers are free and nothing more is about to arrive."""
        return not self._room() or not (self._under_way or self._broker.buffered or self._to_fill())

    def _to_fill(self) -> float:
        """Return the seconds to wait for more although the writers are free."""
        if self._open is None or self._broker.behind < self._room():
            return 0.0
        until = min(self._open.held.since + FILL_SECONDS, self._broker.heard_at + STALL_SECONDS)
        return max(0.0, until - monotonic())

    def _room(self) -> int:
        """Return how many more messages the open batch has room for."""
        if self._open is None:
            return self._settings.batch_size
        held = self._open.held
        return self._settings.batch_size - len(held.messages) if held.bytes < BATCH_BYTES else 0

    async def _next(self) -> list[Message] | None:
        # The last messages fill the batch exactly: one of double size keeps all writers busy at once, and then none.
        most, most_bytes = self._room(), BATCH_BYTES - (0 if self._open is None else self._open.held.bytes)
        if self._under_way:
            most, most_bytes = min(most, TURN), min(most_bytes, TURN_BYTES)
        patience = None if self._under_way else self._to_fill() or None
        return await self._broker.next_batch(self._is_worth_it, most=most, most_bytes=most_bytes, patience=patience)

    def _is_worth_it(self, messages: int, size: int) -> bool:
        """Tell whether to read so many messages of so many bytes now, or to hand on what was read before."""
        if self._under_way or self._to_fill():
            return messages >= min(SLICE, self._room()) or size >= SLICE_BYTES
        return messages > 0 or self._open is not None

    async def _take_in(self, messages: Sequence[Message]) -> None:
        opened = self._open
        if opened is None:
            held = Held()
            self._held.add(held)
            held.add(messages)
            try:
                opened = self._open = _Open(held, await self._begin())
            except StoppedError:
                self._give_back(held)
                return
        else:
            opened.held.add(messages)
        opened.decoding.add(messages, now=self._now())

    async def _hand_on(self, opened: _Open, ways: Sequence[MemoryObjectSendStream[Piece]]) -> None:
        batch = opened.decoding.done(now=self._now())
        # Each transaction has a fixed price: a small batch is one piece.
        pieces = batch.split(min(len(ways), max(1, batch.size // self._settings.writer_events)))
        whole = Whole(opened.held, batch, len(pieces))
        self._under_way += 1
        for writer, piece in pieces.items():
            await ways[writer].send(Piece(whole, piece))

    def ended(self, whole: Whole) -> None:
        """Forget a batch that has left the writers: it is acknowledged, or its messages are given back."""
        self._under_way -= 1
        if whole.stopped:
            self._give_back(whole.held)
        else:
            self._held.discard(whole.held)
        self._broker.look_again()

    def _give_back(self, held: Held) -> None:
        self._held.discard(held)
        self._broker.give_back(held.messages)

    async def keep_held(self) -> None:
        """Tell the broker what is still worked on, before it delivers that again."""
        while True:
            # The consumer's own wait, which may differ from that of the settings.
            patience = self._broker.ack_wait / 3
            await anyio.sleep(patience)
            slow = [held for held in self._held if monotonic() - held.since >= patience]
            for held in slow:
                await self._broker.keep(held.messages)
            if slow:
                await self._broker.keep_buffered()

"""Live events (Server-Sent Events): what becomes of a subject's unlocks, and that its answer is another one now.

Any number of streams costs the broker one consumer, and the database two small queries a second: which tenants have
new events, and what has become of their subjects that are listened to. No event is read here: at the rate of a busy
worker that would cost as much as the worker.
"""

from __future__ import annotations

from itertools import islice
from time import time, time_ns
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.broker.errors import BrokerAwayError
from worker.broker.follow import Follower, stored_after
from worker.contract.partition import token
from worker.engine.minutes import MINUTE, OTHERS
from worker.serve.hub import STALE, read
from worker.serve.problems import AwayError, GoneError, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Send

    from dsl.outcome import Subject
    from worker.broker.connection import Connection
    from worker.broker.follow import Followed
    from worker.serve.answers import Answers
    from worker.serve.hub import Client, Hub
    from worker.settings import Settings

PING_SECONDS: Final = 15.0
"""Between two comments where there is nothing else to say: proxies end connections on which nothing comes."""
MOST_MISSED: Final = 500
"""Announcements that a client gets that has been away; of more it is said that some are left out."""
MOST_MISSED_BYTES: Final = 1024 * 1024
"""The same in bytes: they lie in memory until the client has taken them."""
TICK_SECONDS: Final = 1.0
WATCHED_TICKS: Final = 3
"""For which a subject is looked at after it may have changed: a replica may lag behind."""
MOST_LOOKS: Final = 1000
"""At subjects, in one tick; the others wait for the next one. Each costs the database some 60 µs."""
SPARE_MARKS: Final = 1000
"""Of subjects that were listened to: they are forgotten together."""
COUNTED: Final = 2 * MINUTE
"""Back from now, in microseconds: the minutes whose counts grow."""
PING: Final = b": ping\n\n"
EXPIRED: Final = b"event: expired\ndata: {}\n\n"
SLOW: Final = b"event: slow\ndata: {}\n\n"
SKIPPED: Final = b"event: skipped\ndata: {}\n\n"

log = structlog.get_logger()


class Live:
    """What feeds the hub. One for a process."""

    def __init__(self, connection: Connection, settings: Settings, hub: Hub, answers: Answers) -> None:
        self.hub = hub
        self._connection = connection
        self._settings = settings
        self._answers = answers
        self._follower = Follower(connection, settings.unlock_stream, hub.deliver, self._restart)
        self._marks: dict[Subject, str] = {}
        """What those who listen to a subject know, or may find out."""
        self._watched: dict[Subject, int] = {}
        """For how many more ticks subjects are looked at."""
        self._counted: dict[str, int] = {}
        self._epoch = 0

    @property
    def connected(self) -> bool:
        """Whether the broker is there, and the stream is followed."""
        return self._connection.connected and self._follower.seq is not None

    async def run(self) -> None:
        """Follow unlocks and events until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follower.run)
            tasks.start_soon(self._tick)

    def _restart(self) -> None:
        log.warning(
            "the stream of unlocks was made again: live clients begin again, too", stream=self._settings.unlock_stream
        )
        self.hub.end()

    # -- what has changed ----------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            if len(self._marks) > self.hub.count + SPARE_MARKS:
                self._marks = {subject: mark for subject, mark in self._marks.items() if self.hub.has(subject)}
            if not self.hub.count:
                continue
            try:
                await self._find_touched()
                for subject in self.hub.take_touched(MOST_LOOKS):
                    self._watched.pop(subject, None)  # behind all others, so that each has its turn
                    self._watched[subject] = WATCHED_TICKS
                await self._look([*islice(self._watched, MOST_LOOKS)])
            except ProblemError:
                continue  # the database is away: look again

    async def _find_touched(self) -> None:
        """Find the tenants whose standings may have changed, by what workers have counted."""
        epoch, counted = await self._answers.counted(time_ns() // 1000 - COUNTED)
        moved = [tenant for tenant, events in counted.items() if self._counted.get(tenant) != events]
        if epoch != self._epoch or OTHERS in moved:
            self.hub.touch_all()
        for tenant in moved:
            self.hub.touch(tenant)
        self._counted, self._epoch = counted, epoch

    async def _look(self, subjects: list[Subject]) -> None:
        """See whether the answers about some subjects have changed, and say so to those who listen to them."""
        listened = [subject for subject in subjects if self.hub.has(subject)]
        marks = await self._answers.marks(listened) if listened else {}
        for subject in subjects:
            ticks = self._watched.pop(subject) - 1
            if subject not in marks:
                self._marks.pop(subject, None)
                continue
            if marks[subject] != self._marks.get(subject):
                self._marks[subject] = marks[subject]
                self.hub.say_stale(subject)
            if ticks:
                self._watched[subject] = ticks

    # -- one stream ----------------------------------------------------------------------------------------------------

    async def open(self, subject: Subject, languages: tuple[str, ...], last: str | None) -> Opened:
        """Begin a stream; `last` is the id of the last event that the client has seen, None where it has seen none.

        Raises:
            GoneError, AwayError, TooManyRequestsError: see there.
        """
        if self._follower.seq is None:
            raise AwayError("NATS is away")
        if await self._answers.is_erased(subject):
            raise GoneError("this user was erased")
        opened = Opened(self, self.hub.join(subject, languages), last)
        try:
            await self._learn(subject)
        except BaseException:
            opened.abandon()
            raise
        return opened

    async def _learn(self, subject: Subject) -> None:
        """Learn what a client may find out by asking: what changes from now on is sent to it."""
        if subject not in self._marks:
            self._marks.update(await self._answers.marks([subject]))

    async def begin(self, client: Client, last: str | None, write: Callable[[bytes], object]) -> int:
        """Write what a client begins with; return the place in the stream up to which it has everything."""
        end = self._follower.seq or 0
        subject = client.subject
        place = end if last is None else self.hub.place_of(subject, last)
        if place is None or place > end:  # an id of another stream, or none at all: only a fresh answer helps
            write(self.hub.ready(subject, end) + STALE)
            return end
        if last is not None:
            place = await self._missed(client, place, write)
        write(self.hub.ready(subject, max(place, end)) + (b"" if last is None else STALE))
        return max(place, end)

    async def _missed(self, client: Client, place: int, write: Callable[[bytes], object]) -> int:
        """Write the announcements behind a place."""
        subject = client.subject
        names = f"{self._settings.unlock_prefix}.{token(subject.tenant_id)}.{token(subject.subject)}.>"
        written = size = 0
        async for message in stored_after(self._connection, self._settings.unlock_stream, names, place):
            place = message.seq
            frame = self._frame_for(client, message)
            if frame is not None:
                written, size = written + 1, size + len(frame)
                if written > MOST_MISSED or size > MOST_MISSED_BYTES:
                    write(SKIPPED)
                    break
                write(frame)
        return place

    def _frame_for(self, client: Client, message: Followed) -> bytes | None:
        said = read(message)
        if said is None or (said.tenant_id, said.scope, said.subject) != client.subject:
            return None
        return self.hub.frame(message.seq, said, client.languages)


class Opened:
    """A live stream, to be written as the body of an answer."""

    def __init__(self, live: Live, client: Client, last: str | None) -> None:
        self._live = live
        self._client = client
        self._last = last

    def abandon(self) -> None:
        """Leave it, where it is not written at all."""
        self._live.hub.leave(self._client)

    async def write(self, receive: Receive, send: Send, expires: float | None) -> None:
        """Write events until the client leaves, is too slow, or its token expires."""
        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                with anyio.move_on_after(None if expires is None else max(expires - time(), 0)) as life:
                    await self._events(send)
                if life.cancelled_caught:
                    await _send(send, EXPIRED)
                tasks.cancel_scope.cancel()
        finally:
            self._live.hub.leave(self._client)

    async def _events(self, send: Send) -> None:
        client, first = self._client, bytearray()
        try:
            behind = await self._live.begin(client, self._last, first.extend)
        except BrokerAwayError:
            return  # it comes back with the same id
        await _send(send, bytes(first))
        while not (client.slow or client.ended):
            with anyio.move_on_after(PING_SECONDS) as silence:
                await client.wait()
            frames = PING if silence.cancelled_caught else client.take(behind)
            if frames:
                await _send(send, frames)
        if client.slow:
            await _send(send, SLOW)


async def _send(send: Send, frames: bytes) -> None:
    await send({"type": "http.response.body", "body": frames, "more_body": True})

"""Live events (Server-Sent Events): what becomes of a subject's unlocks, and that its answer is another one now.

Any number of streams costs the broker one consumer and one subscription, and the database one query a second, of those
subjects that something has happened to.
"""

from __future__ import annotations

from itertools import islice
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.broker.errors import BrokerAwayError
from worker.broker.follow import Follower, stored_after
from worker.contract.partition import token
from worker.serve.hub import STALE, read
from worker.serve.problems import AwayError, GoneError, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Send

    from dsl.outcome import Subject
    from worker.broker.client import Msg
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
WATCHED_TICKS: Final = 5
"""For which a subject is looked at after something was published for it: the worker is not done yet."""
MOST_LOOKS: Final = 2000
"""At subjects, in one tick; the others wait for the next one."""
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
        self._watched: dict[Subject, _Watched] = {}
        self._clients = connection.clients

    @property
    def connected(self) -> bool:
        """Whether the broker is there, and the stream is followed."""
        return self._connection.connected and self._follower.seq is not None

    async def run(self) -> None:
        """Follow unlocks and events until cancelled."""
        await self._connection.subscribe(f"{self._settings.input_prefix}.>", cb=self._on_event)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follower.run)
            tasks.start_soon(self._tick)

    async def _on_event(self, msg: Msg) -> None:
        if self.hub.count:
            self.hub.touch(msg.subject)

    def _restart(self) -> None:
        log.warning(
            "the stream of unlocks was made again: live clients begin again, too", stream=self._settings.unlock_stream
        )
        self.hub.end()

    # -- what has changed ----------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(TICK_SECONDS)
            if self._connection.clients != self._clients:  # events may have been missed
                self._clients = self._connection.clients
                self.hub.touch_all()
            for subject in self.hub.take_touched(MOST_LOOKS):
                known = self._watched.pop(subject, None)
                self._watched[subject] = _Watched("" if known is None else known.mark, WATCHED_TICKS)
            await self._look([*islice(self._watched, MOST_LOOKS)])

    async def _look(self, subjects: list[Subject]) -> None:
        """See whether the answers about some subjects have changed, and say so to those who listen to them."""
        watched = {subject: self._watched.pop(subject) for subject in subjects}
        listened = [subject for subject in subjects if self.hub.has(subject)]
        if not listened:
            return
        try:
            marks = await self._answers.marks(listened)
        except ProblemError:
            self._watched.update(watched)  # the database is away: look again
            return
        for subject in listened:
            known, mark = watched[subject], marks[subject]
            if mark != known.mark:
                self.hub.say_stale(subject)
            if known.ticks > 1:  # behind all others, so that each has its turn
                self._watched[subject] = _Watched(mark, known.ticks - 1)

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
        return Opened(self, self.hub.join(subject, languages), last)

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


class _Watched(NamedTuple):
    """A subject that something was published for: the mark that its clients know of, and how often to look again."""

    mark: str
    ticks: int


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

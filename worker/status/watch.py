"""Reads what happens now: one query of the database a second, which the console has too, and one or two of the broker.

Both are read beside each other, so that a server that does not answer keeps nothing else from being shown.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Final

import anyio

from dsl.payload import instant
from worker.app import wall_clock
from worker.broker.api import ApiError, stored_message
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, in_words
from worker.broker.once import connected_once
from worker.broker.provision import consumer_info
from worker.console.books import read_building
from worker.console.pulse import Pulse
from worker.settings import shown
from worker.status.picture import NOT_YET, Backlog, Sight
from worker.store import RefusedError, UnavailableError, open_store

if TYPE_CHECKING:
    from worker.broker.client import BrokerClient
    from worker.settings import Settings
    from worker.store import Store

EVERY_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 3
ONCE_SECONDS: Final = 10.0
"""For a single look at both servers."""
SLOW_LOOKS: Final = 10
"""Looks at the database between two at what changes seldom: the scopes that a backfill builds."""


class Watch:
    """Keeps what the servers said last, and why one of them says nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sight = Sight(None, NOT_YET, None, NOT_YET, [])

    @property
    def sight(self) -> Sight:
        """What is known."""
        return self._sight

    async def once(self) -> Sight:
        """Read both servers once, within ONCE_SECONDS.

        Raises:
            DatabaseUrlError, BrokerMismatchError: a URL is none.
        """
        with anyio.move_on_after(ONCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._database, True)  # noqa: FBT003 - of a task
                tasks.start_soon(self._broker, True)  # noqa: FBT003
        return self._sight

    async def run(self) -> None:
        """Read both servers until cancelled.

        Raises:
            DatabaseUrlError, BrokerMismatchError: a URL is none.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._database, False)  # noqa: FBT003
            tasks.start_soon(self._broker, False)  # noqa: FBT003

    # -- the database --------------------------------------------------------------------------------------------------

    async def _database(self, once: bool) -> None:  # noqa: FBT001 - of a task
        async with open_store(self._settings.database_url, connections=1) as store:
            pulse = Pulse(store, prefix=self._settings.input_prefix, now=wall_clock)
            look = 0
            while True:
                await self._look(store, pulse, slow=look % SLOW_LOOKS == 0)
                if once:
                    return
                look += 1
                await anyio.sleep(EVERY_SECONDS)

    async def _look(self, store: Store, pulse: Pulse, *, slow: bool) -> None:
        try:
            snapshot = await pulse.snapshot()
            building = await read_building(store) if slow and snapshot.away_since is None else self._sight.building
        except (UnavailableError, RefusedError) as error:
            said = f"PostgreSQL at {shown(self._settings.database_url)}: {error}"
            self._sight = self._sight._replace(database_said=said)
            return
        said = "" if snapshot.away_since is None else "PostgreSQL does not answer; this is what it said last"
        self._sight = self._sight._replace(snapshot=snapshot, database_said=said, building=building)

    # -- the broker ----------------------------------------------------------------------------------------------------

    async def _broker(self, once: bool) -> None:  # noqa: FBT001 - of a task
        while True:
            try:
                async with connected_once(self._settings, seconds=CONNECT_SECONDS) as client:
                    await self._ask(client, once=once)
            except ApiError as error:
                self._sight = self._sight._replace(backlog=None, broker_said=self._in_words(error))
            except (BrokerAwayError, *OUT_OF_REACH) as error:
                said = f"NATS at {shown(self._settings.nats_url)}: {in_words(error)}"
                self._sight = self._sight._replace(backlog=None, broker_said=said)
            if once:
                return
            await anyio.sleep(EVERY_SECONDS)

    def _in_words(self, error: ApiError) -> str:
        if not error.is_missing:
            return f"{error.what}: {error.fault.description}"
        names = f"no stream {self._settings.input_stream}, or it has no consumer {self._settings.consumer}"
        return f"{names}: a worker makes both at its start (ach run)"

    async def _ask(self, client: BrokerClient, *, once: bool) -> None:
        while True:
            backlog = await self._backlog(client)
            self._sight = self._sight._replace(backlog=backlog, broker_said="")
            if once:
                return
            await anyio.sleep(EVERY_SECONDS)

    async def _backlog(self, client: BrokerClient) -> Backlog:
        info = await consumer_info(client, self._settings)
        waiting = info.num_pending + info.num_ack_pending
        if not waiting:
            return Backlog(0, 0, None)
        # The first that is not acknowledged; of messages that others read, the consumer takes no notice.
        asked = {"seq": info.ack_floor.stream_seq + 1, "next_by_subj": f"{self._settings.input_prefix}.>"}
        oldest = await stored_message(client, self._settings.input_stream, asked)
        at = None if oldest is None else instant(oldest.time)
        age = None if at is None else max(time() - at[0] / 1_000_000, 0.0)
        return Backlog(info.num_pending, info.num_ack_pending, age)

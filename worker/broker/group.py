"""A worker as a member of a group: it says that it lives, hears who else does, and reads the partitions of its share.

    what happens                    what follows
    a member is heard first         the first of the living, by name, deals again
    a member is silent              the same, after SILENT_SECONDS
    a member leaves                 it finishes what it has, deletes its consumer, says goodbye, and deals
                                    among the others
    the sheet is another one        a member whose share has changed pauses its consumer, finishes what it has, deletes
                                    the consumer, and makes one with its new share
    a share is still taken          a member that is not on the sheet loses its consumer; others have yet to let go

The stream of the group is a work queue: it keeps what is not acknowledged, and allows one consumer for a partition. So
what a dead worker had goes to the next owner the moment that its consumer is deleted, without waiting for anything.

Why it is safe: nothing here decides what is granted. Two workers on one partition (one of them frozen, cut off, or slow
to let go) commit under the fence (worker/pipeline/fence.py), and what one of them has done is a duplicate to the other.
A message leaves the queue when some worker has acknowledged it, hence committed it. So the sheet may be lost, wrong,
or seen late: that costs time. Nothing is elected: a member that deals replaces the revision that it has read, or fails.
"""

from __future__ import annotations

import platform
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
import structlog

from worker.broker.api import ApiError
from worker.broker.errors import OUT_OF_REACH, BrokerAwayError, BrokerMismatchError, in_words
from worker.broker.group_store import Written
from worker.broker.roll import SILENT_SECONDS, Roll
from worker.broker.shares import (
    REST,
    Beat,
    beat_subject,
    deal,
    empty,
    member_name,
    ranges,
    read_beat,
    sources_of,
    with_shares,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.broker.client import BrokerClient, Msg
    from worker.broker.connection import Connection
    from worker.broker.group_store import GroupStore
    from worker.broker.pull import Puller
    from worker.settings import Settings

BEAT_SECONDS: Final = 0.4
"""Between two signs of life."""
STALLED_SECONDS: Final = 1.0
"""A loop that stood still for so long has heard nothing meanwhile, so it knows nothing of the silence of others."""
FINISH_SECONDS: Final = 1.0
"""For what was delivered before partitions move; what takes longer is done twice."""
FINISH_LOOK_SECONDS: Final = 0.01
RETRY_SECONDS: Final = 0.1
"""Between two tries to get partitions that another member has yet to let go."""
SHEET_SECONDS: Final = 2.0
"""Between two looks at the sheet that nothing called for: the message about a new one may be lost."""
TEND_SECONDS: Final = 10.0
"""Between two looks of the first member at bucket and stream."""
LEAVE_SECONDS: Final = 3.0
LEAVE_TRIES: Final = 5

log = structlog.get_logger()

FAILURES: Final = (ApiError, BrokerAwayError, *OUT_OF_REACH)


class Member:
    """One worker in its group.

    `puller` reads from the consumer of the member; `busy` tells whether anything of it is not acknowledged.
    """

    def __init__(
        self,
        settings: Settings,
        store: GroupStore,
        connection: Connection,
        puller: Puller,
        *,
        worker_id: str,
        busy: Callable[[], bool],
    ) -> None:
        self._store = store
        self._connection = connection
        self._puller = puller
        self.name = name = member_name(platform.node(), worker_id)
        self._consumers = (name, name + REST)
        self._prefix = settings.input_prefix
        self._worker_id = worker_id
        self._busy = busy
        self._beats = beat_subject(settings.input_stream, settings.group or "", "*")
        self._beat_to = beat_subject(settings.input_stream, settings.group or "", name)
        self._roll = Roll(name)
        self.held: tuple[int, ...] = ()
        """The partitions that we read."""
        self._written = Written(empty(settings.input_prefix), 0)
        self._looked_at = self._tended_at = -inf
        self._odd_since = 0.0
        self._awake_at = monotonic()
        """When the event loop was last seen to run."""
        self._called = anyio.Event()
        self._lost = True
        """Whether our consumer may be gone, or was never made."""
        self._said = ""
        self._leaving = False
        self._ended: anyio.Event | None = None
        """Set when `run` has ended; None before it."""

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be a member until `leave` or cancellation.

        Raises:
            BrokerMismatchError: the group has become another one.
        """
        ended = self._ended = anyio.Event()
        await self._connection.bind(self._listen)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._beat)
            while not self._leaving:
                called = self._called = anyio.Event()
                settled = await self._tick()
                with anyio.move_on_after(self._patience(settled=settled)):
                    await called.wait()
            ended.set()
            tasks.cancel_scope.cancel()

    def _patience(self, *, settled: bool) -> float:
        """Return the seconds until there may be something to do that nothing calls for."""
        if not settled:
            return RETRY_SECONDS
        return min(BEAT_SECONDS, max(FINISH_LOOK_SECONDS, self._roll.silent_in(monotonic())))

    def lost(self) -> None:
        """Look again at the consumer, which may be gone."""
        self._lost = True
        self._look()

    def _look(self) -> None:
        self._looked_at = -inf
        self._called.set()

    async def leave(self) -> None:
        """Hand the partitions to the others at once: as soon as what we have is finished, FINISH_SECONDS at most.

        Goodbye comes before the new sheet. A member that sees a sheet without us while it takes us for living would
        deal partitions to us again.
        """
        self._leaving = True
        self._called.set()
        with anyio.move_on_after(LEAVE_SECONDS, shield=True) as limit:
            if self._ended is not None:
                await self._ended.wait()
            try:
                await self._let_go()
                await self._client.publish(self._beat_to, self._sign(leaves=True))
                await self._deal_without_us()
            except (*FAILURES, BrokerMismatchError) as error:
                log.warning("left the group without a word", member=self.name, said=in_words(error))
            else:
                log.info("left the group", member=self.name)
        if limit.cancelled_caught:
            log.warning("left the group without a word", member=self.name, said=f"no answer for {LEAVE_SECONDS:g} s")

    async def _deal_without_us(self) -> None:
        for _ in range(LEAVE_TRIES):
            sheet, revision = await self._store.read(self._client)
            others = self._living() - {self.name}
            if self.name not in sheet.shares:
                return
            if await self._store.write(self._client, with_shares(sheet, deal(sheet.shares, others)), revision):
                return

    @property
    def _client(self) -> BrokerClient:
        return self._connection.client

    # -- signs of life -------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            self._wake()
            try:
                await self._client.publish(self._beat_to, self._sign())
            except OUT_OF_REACH as error:
                log.debug("no sign of life could be sent", said=in_words(error))
            await anyio.sleep(BEAT_SECONDS)

    def _sign(self, *, leaves: bool = False) -> bytes:
        return msgspec.json.encode(Beat(self._worker_id, self.held, leaves))

    async def _listen(self, client: BrokerClient) -> None:
        await client.subscribe(self._beats, cb=self._on_beat)  # pyright: ignore[reportUnknownMemberType]
        await client.subscribe(self._store.sheet_subject, cb=self._on_sheet)  # pyright: ignore[reportUnknownMemberType]
        # Another connection has heard nothing of what passed before it.
        self._roll.trust_all(monotonic())
        self._look()

    async def _on_beat(self, msg: Msg) -> None:
        member, beat = msg.subject.rpartition(".")[2], read_beat(msg.data)
        if beat is None or member == self.name:
            return
        if beat.leaves:
            self._roll.leave(member)
            self._look()
        elif self._roll.hear(member, monotonic()):
            self._look()

    async def _on_sheet(self, _msg: Msg) -> None:
        self._look()

    def _wake(self) -> None:
        """Note that the loop runs; if it did not for a while, nothing is known of the silence of others."""
        now, before = monotonic(), self._awake_at
        self._awake_at = now
        if now - before > STALLED_SECONDS:
            self._roll.trust_all(now)

    def _living(self) -> set[str]:
        self._wake()
        return self._roll.living(monotonic())

    # -- one round -----------------------------------------------------------------------------------------------------

    async def _tick(self) -> bool:
        """Do what there is to do; return whether we read what is ours."""
        try:
            return await self._round()
        except FAILURES as error:
            self._tended_at = -inf
            if isinstance(error, ApiError) and error.is_missing:
                self._puller.look_after("something of the group is missing")
            if (said := in_words(error)) != self._said:
                log.warning("the group cannot be looked after", member=self.name, said=said)
            self._said = said
            return False

    async def _round(self) -> bool:
        if monotonic() - self._looked_at > SHEET_SECONDS:
            await self._read()
        living = self._living()
        if min(living) == self.name and monotonic() - self._tended_at > TEND_SECONDS:
            await self._tend()
        await self._deal(living)
        settled = await self._settle()
        self._said = ""
        return settled

    async def _read(self) -> None:
        # Before the question: a sheet that is written meanwhile calls for another look.
        self._looked_at = monotonic()
        try:
            self._written = await self._store.read(self._client)
        except FAILURES:
            self._looked_at = -inf
            raise
        self._roll.read(self._written.sheet.shares, monotonic())

    async def _tend(self) -> None:
        await self._store.ensure(self._client)
        await self._store.keep_floor(self._client)
        self._tended_at = monotonic()

    async def _deal(self, living: set[str]) -> None:
        """Write another sheet where the shares are not what they should be, if that is ours to do."""
        sheet, revision = self._written
        shares = deal(sheet.shares, living)
        if shares == sheet.shares:
            self._odd_since = 0.0
            return
        self._odd_since = self._odd_since or monotonic()
        # The first one may be unable to write.
        if min(living) != self.name and monotonic() - self._odd_since < SILENT_SECONDS:
            return
        if await self._store.write(self._client, with_shares(sheet, shares), revision):
            log.info("dealt the partitions", group=self._store.stream, members=len(shares))
        await self._read()

    async def _settle(self) -> bool:
        """Read the partitions of our share and no others; return whether that is so."""
        shares = self._written.sheet.shares
        if not shares:  # it was lost: what we have we keep until it is written again
            return True
        wanted = shares.get(self.name, ())
        if wanted == self.held and not (self._lost and wanted):
            return True
        await self._oust()
        await self._let_go()
        if not wanted:
            return True
        sources = sources_of(self.name, wanted, self._prefix)
        for source in sources:
            if not await self._store.make_consumer(self._client, source):
                self._looked_at = -inf
                return False
        self._lost, self.held = False, wanted
        self._puller.pull_from(self._store.stream, [source.consumer for source in sources])
        log.info("reads partitions", member=self.name, partitions=ranges(wanted))
        return True

    async def _let_go(self) -> None:
        """Finish what we have, and delete our consumers."""
        if self.held:
            for consumer in self._consumers:
                await self._store.pause_consumer(self._client, consumer)
            self._puller.pull_nothing()
            # What was not begun is sooner done by those who get it.
            self._puller.drop_buffered()
            with anyio.move_on_after(FINISH_SECONDS):
                # Signals of the pipeline are its own; this is seldom and short.
                while self._busy():  # noqa: ASYNC110
                    await anyio.sleep(FINISH_LOOK_SECONDS)
        self._puller.drop_buffered()
        for consumer in self._consumers:
            await self._store.delete_consumer(self._client, consumer)
        self.held = ()

    async def _oust(self) -> None:
        """Delete the consumers of those who are not on the sheet."""
        for consumer in await self._store.consumers(self._client):
            if consumer.removesuffix(REST) not in self._written.sheet.shares:
                log.info("takes over from a member that is gone", gone=consumer)
                await self._store.delete_consumer(self._client, consumer)

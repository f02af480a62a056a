"""Delivers to one endpoint: pulls announcements from its consumer, sends them, and tells the broker what comes next.

Whatever is on its way is the broker's: an announcement is acknowledged once it is delivered, and else delayed until
the next attempt. A courier that dies loses nothing; what was not acknowledged comes again, with the same id and body.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import structlog

from worker.broker.errors import BrokerAwayError
from worker.contract.partition import token
from worker.notify.delivery_log import Logged
from worker.notify.health import Health
from worker.notify.message import Delivery, digest, is_wanted, read_item, single, window_of
from worker.notify.schedule import SECOND, Attempt, Decision, Outcome, decide
from worker.rates import Pace
from worker.retry import delays

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from anyio.abc import TaskGroup

    from worker.broker.durable import DurableConsumer
    from worker.contract.message import Message
    from worker.notify.channel import Channel
    from worker.notify.delivery_trace import DeliveryTraces
    from worker.notify.endpoints import Endpoint
    from worker.notify.message import Item
    from worker.notify.stats import EndpointStats

HELD: Final = 256
"""Announcements that a courier has at hand, at most."""
FETCH_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 5.0
"""Between two looks at whether a disabled endpoint is enabled, and at how much waits."""
DIGEST_SLACK: Final = SECOND
"""Behind the end of a window, for clocks that differ and for what is still on its way into the stream."""
MOST_ITEMS: Final = 100
"""Of one digest; a window with more of them makes several."""
REMEMBERED: Final = 10_000
"""Windows whose delivered announcements are remembered: a copy of one is only acknowledged."""

log = structlog.get_logger()


class Surroundings(NamedTuple):
    """What couriers share."""

    prefix: str
    """Of the subjects of announcements."""
    now: Callable[[], int]
    """Milliseconds since the epoch."""
    read_since: Callable[[str, int], AsyncGenerator[Message]]
    """Yields what the stream holds on some subjects, from an instant (microseconds) on."""
    log: Callable[[Logged], None]


class Courier:
    """The deliveries to one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        consumer: DurableConsumer,
        channel: Channel,
        around: Surroundings,
        stats: EndpointStats,
        traces: DeliveryTraces,
    ) -> None:
        self._endpoint = endpoint
        self._consumer = consumer
        self._channel = channel
        self._around = around
        self._stats = stats
        self._traces = traces
        self._health = Health(endpoint.name, consumer, stats)
        self._slots = anyio.Semaphore(endpoint.concurrency)
        self._pace = Pace(endpoint.rate)
        self._held: dict[str, Message] = {}
        """What is at hand, by the subject of its acknowledgement."""
        self._room = anyio.Event()
        self._last: dict[str, anyio.Event] = {}
        """By unlock, the end of the delivery that the next one waits for: revisions go out in order."""
        self._digests: dict[tuple[str, str, str, int], list[Message]] = {}
        """Digests that are being delivered, with all their announcements that are at hand."""
        self._delivered: OrderedDict[tuple[str, str, str, int], frozenset[int]] = OrderedDict()
        """The sequences of what was delivered of a window."""
        self._paused_until = 0.0
        self._ack_seconds = FETCH_SECONDS
        """After which the broker delivers again what it hears nothing of, by its own word."""
        self._stopping = anyio.Event()
        self.ready = False
        """Whether it has a consumer, as far as is known."""
        self.readied = anyio.Event()
        """Set once it has one."""

    def stop(self) -> None:
        """Begin no further delivery; `run` ends when those under way have."""
        self._stopping.set()
        self._room.set()

    async def run(self) -> None:
        """Deliver until stopped. A broker that is away is waited for."""
        async with anyio.create_task_group() as company:
            company.start_soon(self._keep_company)
            async with anyio.create_task_group() as sending:
                await self._serve(sending)
            company.cancel_scope.cancel()
        await self._channel.aclose()

    async def _serve(self, sending: TaskGroup) -> None:
        pauses = delays()
        said = ""
        while not self._stopping.is_set():
            try:
                state = await self._consumer.ensure()
                self._health.learn(state.metadata)
                self._ack_seconds = state.ack_seconds
                said, pauses, self.ready = "", delays(), True
                self.readied.set()
                while not self._stopping.is_set():
                    await self._round(sending)
            except BrokerAwayError as error:
                self.ready = False
                if str(error) != said:
                    said = str(error)
                    log.warning("no announcements", endpoint=self._endpoint.name, said=said)
                await self._rest(next(pauses))

    async def _round(self, sending: TaskGroup) -> None:
        """Take some announcements, and begin with their deliveries."""
        if self._health.disabled:
            await self._rest(LOOK_SECONDS)
            state = await self._consumer.ensure()
            self._health.learn(state.metadata)
            return
        pause = self._paused_until - monotonic()
        if pause > 0:
            await self._rest(pause)
            return
        if len(self._held) >= HELD:
            # Many at a time: a request for each place that becomes free costs more than the delivery before it.
            while len(self._held) > HELD // 2 and not self._stopping.is_set():
                self._room = anyio.Event()
                await self._room.wait()
            return
        for message in await self._fetch(HELD - len(self._held)):
            await self._begin(message, sending)

    async def _fetch(self, most: int) -> Sequence[Message]:
        found: Sequence[Message] = ()
        failure: BrokerAwayError | None = None
        async with anyio.create_task_group() as tasks:

            async def until_stopped() -> None:
                await self._stopping.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(until_stopped)
            try:
                found = await self._consumer.fetch(most, FETCH_SECONDS)
            except BrokerAwayError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return found

    async def _rest(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._stopping.wait()

    # -- one announcement ----------------------------------------------------------------------------------------------

    async def _begin(self, message: Message, sending: TaskGroup) -> None:
        item = read_item(message, self._around.prefix)
        if item is None:
            self._stats.unreadable += 1
            log.warning("no announcement", endpoint=self._endpoint.name, seq=message.seq)
            await self._consumer.ack(message)
        elif not is_wanted(item.announced, self._endpoint.wanted):
            self._stats.passed_over += 1
            await self._consumer.ack(message)
        elif self._endpoint.digest and (wait := self._until_digest(item)) > 0:
            await self._consumer.delay(message, wait)
        else:
            self._held[message.reply] = message
            done = anyio.Event()
            before = self._last.get(item.announced.unlock_id)
            self._last[item.announced.unlock_id] = done
            sending.start_soon(self._deliver, message, item, before, done)

    def _until_digest(self, item: Item) -> int:
        """Return the milliseconds until the window of an announcement is over."""
        _, end = window_of(item, self._endpoint.digest)
        return end // 1000 + DIGEST_SLACK - self._around.now()

    async def _deliver(self, message: Message, item: Item, before: anyio.Event | None, done: anyio.Event) -> None:
        try:
            if before is not None:
                await before.wait()
            async with self._slots:
                # A burst of unlocks may overwhelm neither the receiver nor the machine.
                if (wait := self._pace.wait(monotonic())) > 0:
                    await self._rest(wait)
                # At hand meanwhile: each delivery of the broker's counts as an attempt.
                while (pause := self._paused_until - monotonic()) > 0 and not self._stopping.is_set():
                    await self._rest(pause)
                if self._stopping.is_set() or self._health.disabled:
                    await self._consumer.delay(message, 0)
                elif self._endpoint.digest:
                    await self._deliver_digest(message, item)
                else:
                    delivery = single(item, self._endpoint.languages)
                    await self._settle([message], await self._attempt(delivery, message.deliveries))
        finally:
            done.set()
            if self._last.get(item.announced.unlock_id) is done:
                del self._last[item.announced.unlock_id]
            self._let_go(message)

    def _let_go(self, message: Message) -> None:
        self._held.pop(message.reply, None)
        self._room.set()

    async def _settle(self, messages: Sequence[Message], decision: Decision) -> None:
        """Tell the broker what becomes of announcements."""
        for message in messages:
            if decision.done:
                await self._consumer.ack(message)
            else:
                await self._consumer.delay(message, decision.delay)

    # -- digests -------------------------------------------------------------------------------------------------------

    async def _deliver_digest(self, message: Message, item: Item) -> None:
        """Deliver all of the window that an announcement is in. The stream says what that is, and not this process."""
        begin, end = window_of(item, self._endpoint.digest)
        key = (*item.subject, begin)
        if item.seq in self._delivered.get(key, ()):
            await self._consumer.ack(message)
            return
        if key in self._digests:
            # Kept at hand until the one that is under way has ended.
            self._digests[key].append(message)
            return
        messages = self._digests[key] = [message]
        try:
            # It was delayed once, for the end of the window.
            decision = await self._send_window(
                key, await self._window(item, begin, end), max(1, message.deliveries - 1)
            )
        except BrokerAwayError as error:
            log.warning("no digest", endpoint=self._endpoint.name, said=str(error))
            decision = Decision(done=False, delay=SECOND)
        finally:
            del self._digests[key]
        done = self._delivered.get(key, frozenset())
        for each in messages:
            await self._settle([each], Decision(done=True) if each.seq in done else decision)

    async def _send_window(self, key: tuple[str, str, str, int], items: Sequence[Item], number: int) -> Decision:
        """Deliver the announcements of a window in digests of at most MOST_ITEMS; stop at the first that fails."""
        decision = Decision(done=True)
        for begin in range(0, len(items), MOST_ITEMS):
            some = items[begin : begin + MOST_ITEMS]
            seqs = frozenset(one.seq for one in some)
            if seqs <= self._delivered.get(key, frozenset()):
                continue
            decision = await self._attempt(digest(some, self._endpoint.languages), number)
            if not decision.done:
                break
            self._delivered[key] = self._delivered.get(key, frozenset()) | seqs
            if len(self._delivered) > REMEMBERED:
                self._delivered.popitem(last=False)
        return decision

    async def _window(self, item: Item, begin: int, end: int) -> list[Item]:
        """Return the announcements of a window, this one included, in the order of the stream."""
        said = item.announced
        subjects = f"{self._around.prefix}.{token(said.tenant_id)}.{token(said.subject)}.>"
        found = {item.seq: item}
        async with aclosing(self._around.read_since(subjects, begin)) as messages:
            async for message in messages:
                if message.sent_at >= end:
                    break
                other = read_item(message, self._around.prefix)
                if (
                    other is not None
                    and begin <= other.stored_at
                    and other.subject == item.subject
                    and is_wanted(other.announced, self._endpoint.wanted)
                ):
                    found[other.seq] = other
        return [one for _, one in sorted(found.items())]

    # -- one attempt ---------------------------------------------------------------------------------------------------

    async def _attempt(self, delivery: Delivery, number: int) -> Decision:
        """Make one attempt, account for it, and return what follows."""
        began, now = monotonic(), self._around.now()
        spans = self._traces.begin(delivery, number)
        try:
            attempt = await self._channel.send(delivery, spans.trace)
        except Exception as error:  # noqa: BLE001 - a defect in one channel may not end the others
            # The type alone: what it says may quote a URL or a secret.
            kind = type(error).__name__
            log.warning("a delivery has failed in an unforeseen way", endpoint=self._endpoint.name, error=kind)
            attempt = Attempt(Outcome.FAILED, detail=kind)
        seconds = monotonic() - began
        spans.end(attempt)
        self._stats.attempts[attempt.outcome] += 1
        self._stats.seconds.observe(seconds)
        self._account(delivery, attempt, number, (now, seconds))
        return await self._decide(attempt, number)

    async def _decide(self, attempt: Attempt, number: int) -> Decision:
        now = self._around.now()
        worked = attempt.outcome in {Outcome.DELIVERED, Outcome.ABORTED}
        if worked:
            await self._health.succeeded()
        said = attempt.detail or (f"HTTP {attempt.status}" if attempt.status else "")
        decision = decide(
            attempt,
            number,
            self._endpoint.schedule,
            failing_for=0 if worked else self._health.failed(now, said=said),
            disable_after=self._endpoint.disable_after,
        )
        if decision.pause:
            self._paused_until = max(self._paused_until, monotonic() + decision.pause / SECOND)
        if decision.disable and not self._health.disabled:
            await self._health.disable(decision.disable, now)
        return decision

    def _account(self, delivery: Delivery, attempt: Attempt, number: int, when: tuple[int, float]) -> None:
        tenant, scope, subject = delivery.user or (None, None, None)
        now, seconds = when
        self._around.log(
            Logged(
                self._endpoint.name,
                delivery.id,
                delivery.type,
                tenant,
                scope,
                subject,
                number,
                now * 1000,
                attempt.outcome,
                attempt.status,
                int(seconds * SECOND),
                attempt.detail,
            )
        )

    # -- company -------------------------------------------------------------------------------------------------------

    async def _keep_company(self) -> None:
        """Keep the broker from delivering again what is at hand, and ask it how much waits."""
        looked = 0.0
        while True:
            await anyio.sleep(min(LOOK_SECONDS, self._ack_seconds / 3))
            at_hand = {one.reply: one for one in self._held.values()}
            at_hand |= {one.reply: one for messages in self._digests.values() for one in messages}
            await self._consumer.working(at_hand.values())
            if monotonic() - looked >= LOOK_SECONDS:
                looked = monotonic()
                await self._look()

    async def _look(self) -> None:
        try:
            state = await self._consumer.state()
        except BrokerAwayError:
            return
        if state is not None:
            self._stats.waiting, self._stats.retrying = state.waiting, state.unacknowledged
            self._health.learn(state.metadata)
        await self._health.keep(self._around.now())

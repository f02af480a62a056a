"""What an operator does about endpoints: look, test, replay, enable."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import anyio
import msgspec

from dsl.calendar import format_instant
from worker.broker.durable import read_since
from worker.notify.health import DISABLED, FAILING
from worker.notify.message import Announced, Delivery, Item, is_wanted, read_item, single
from worker.notify.schedule import SECOND, Outcome
from worker.notify.service import channel_of, consumer_of, now_milliseconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from worker.broker.durable import ClientNow, ConsumerState
    from worker.notify.channel import Channel
    from worker.notify.endpoints import Endpoint
    from worker.notify.http_client import Resolve
    from worker.notify.schedule import Attempt
    from worker.settings import Settings

REPLAY_DELAYS: Final = (1 * SECOND, 5 * SECOND, 15 * SECOND)
"""Between the attempts of a replay: it is a command that ends."""


class Replayed(NamedTuple):
    """What became of a replay."""

    delivered: int
    aborted: int
    failed: int
    """It stopped at the first that failed, so this is 0 or 1."""
    passed_over: int
    """Announcements that the endpoint does not want."""
    last: int
    """When the last one that was delivered had been announced, microseconds since the epoch; 0 for none."""
    detail: str
    """Why one has failed."""


async def states(client: ClientNow, settings: Settings, endpoints: Sequence[Endpoint]) -> list[ConsumerState | None]:
    """Return what the broker knows of endpoints; None of one that no notifier has served yet.

    Raises:
        BrokerAwayError: the broker is away, or has no stream of announcements.
    """
    return [await consumer_of(client, settings, one.name).state() for one in endpoints]


async def enable(client: ClientNow, settings: Settings, endpoint: str) -> bool:
    """Enable an endpoint; return whether it was disabled.

    Raises:
        BrokerAwayError: as `states` does.
    """
    consumer = consumer_of(client, settings, endpoint)
    state = await consumer.state()
    if state is None or not {DISABLED, FAILING} & {*state.metadata}:
        return False
    await consumer.remember({DISABLED: "", FAILING: ""})
    return DISABLED in state.metadata


async def try_out(endpoint: Endpoint, resolver: Resolve | None = None) -> tuple[Delivery, Attempt]:
    """Send one sample of an unlock that does not exist; return it, and what became of it."""
    delivery = sample(now_milliseconds() * 1000)
    channel = channel_of(endpoint, resolver)
    try:
        return delivery, await channel.send(delivery)
    finally:
        await channel.aclose()


def sample(now: int) -> Delivery:
    """Return a delivery that looks like a grant, of the type `unlock.test`. `now` in microseconds."""
    name = f"test_{uuid4()}"
    moment = format_instant(now)
    data = {
        "kind": "granted",
        "revision": 1,
        "unlock_id": name,
        "tenant_id": "test",
        "scope": "user",
        "subject": "test",
        "user_id": "test",
        "achievement": "test",
        "tier": None,
        "occurrence": None,
        "status": "granted",
        "version": 1,
        "origin": "live",
        "by_hand": False,
        "earned_at": moment,
        "granted_at": moment,
        "event_id": None,
        "reward": {},
        "title": {"und": "A test of this endpoint"},
        "about": None,
        "family": None,
        "final": False,
    }
    encoded = msgspec.json.encode(data)
    item = Item(msgspec.json.decode(encoded, type=Announced), encoded, now, 0)
    body = msgspec.json.encode({"type": "unlock.test", "timestamp": moment, "data": data})
    return Delivery(name, "unlock.test", body, (item,))


async def replay(
    client: ClientNow,
    settings: Settings,
    endpoint: Endpoint,
    since: int,
    *,
    on_progress: Callable[[], None] = lambda: None,
    resolver: Resolve | None = None,
) -> Replayed:
    """Send again what was announced at `since` (microseconds) or later and the endpoint wants, in its order.

    Ids and bodies are those of the first time; digests are not made. It stops at the first that cannot be delivered.

    Raises:
        BrokerAwayError: the broker is away, or has no stream of announcements.
    """
    channel = channel_of(endpoint, resolver)
    try:
        async with aclosing(_items(client, settings, since)) as items:
            return await _replay(channel, endpoint, items, on_progress)
    finally:
        await channel.aclose()


async def _replay(
    channel: Channel, endpoint: Endpoint, items: AsyncIterator[Item], on_progress: Callable[[], None]
) -> Replayed:
    counted = Replayed(0, 0, 0, 0, 0, "")
    async for item in items:
        if not is_wanted(item.announced, endpoint.wanted):
            counted = counted._replace(passed_over=counted.passed_over + 1)
            continue
        attempt = await _persist(channel, single(item, endpoint.languages))
        if attempt.outcome is Outcome.DELIVERED:
            counted = counted._replace(delivered=counted.delivered + 1, last=item.stored_at)
        elif attempt.outcome is Outcome.ABORTED:
            counted = counted._replace(aborted=counted.aborted + 1, last=item.stored_at)
        else:
            detail = attempt.detail or f"HTTP {attempt.status}"
            return counted._replace(failed=1, detail=detail)
        on_progress()
    return counted


async def _items(client: ClientNow, settings: Settings, since: int) -> AsyncGenerator[Item]:
    async with aclosing(read_since(client, settings.unlock_stream, f"{settings.unlock_prefix}.>", since)) as messages:
        async for message in messages:
            item = read_item(message, settings.unlock_prefix)
            if item is not None:
                yield item


async def _persist(channel: Channel, delivery: Delivery) -> Attempt:
    """Attempt a delivery a few times; return what became of the last attempt."""
    attempt = await channel.send(delivery)
    for delay in REPLAY_DELAYS:
        if attempt.outcome is not Outcome.FAILED:
            return attempt
        await anyio.sleep((attempt.retry_after or delay) / SECOND)
        attempt = await channel.send(delivery)
    return attempt

"""How soon: what is carried while it is published, and how long unlocks take at a load.

A stream that was published in advance is drained faster than it could be while somebody publishes, for that takes the
broker and the publisher as much as a consumer takes, and all of them share one machine. Full load is what is carried
while it is published, and half load the half of that.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

from bench.drain import Watch, check
from bench.publish import publish_as_taken, publish_paced
from bench.runs import look_of, pulling, start
from worker.engine.stats import percentile

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.msg import Msg

    from bench.contestants import Contestant
    from bench.rig import Rig
    from bench.runs import Load

WINDOW: Final = 16_000
"""Events that wait, at the most, where as much is published as is carried: two of the worker's batches."""
WINDOW_SHARE: Final = 6
"""The part of all events that wait at the most."""
WARM_SHARE: Final = 0.3
"""Of the events: what is carried counts from here on."""
WARM_SECONDS: Final = 3.0
"""Of a run for latency, which do not count: until then everybody does something for the first time."""
LAST_SECONDS: Final = 3.0
"""After the last event, until its unlock counts as lost."""


class Latency(msgspec.Struct, frozen=True):
    """From publishing the event that earns to the announcement of the unlock, in seconds."""

    rate: float
    """Events published per second."""
    unlocks: int
    p50: float | None
    p99: float | None
    missing: int
    """Unlocks that were never announced."""


async def carried(rig: Rig, who: Contestant, load: Load, per: int, folder: Path) -> float:
    """Publish as much as the peer takes, and return how many events per second that is.

    Raises:
        BenchError: the peer failed, or takes nothing any more.
    """
    bodies = load.messages(per, who.lanes)
    window = max(1, min(WINDOW, len(load.events) // WINDOW_SHARE) // per)
    async with rig.arena(who.lanes) as arena:
        await who.prepare(arena)
        peers = start(arena, who, per, folder)
        watch = Watch(arena, peers, look_of(arena, who, per))

        async def taken(sent: int) -> int:
            check(peers)
            return await watch.done(sent)

        try:
            await pulling(arena, peers)
            marks = await publish_as_taken(arena, bodies, window, taken)
        finally:
            for peer in peers:
                peer.end()
    first = next((mark for mark in marks if mark.done >= WARM_SHARE * len(bodies)), marks[0])
    return (marks[-1].done - first.done) * per / (marks[-1].time - first.time)


async def latency(rig: Rig, who: Contestant, load: Load, per: int, rate: float, folder: Path) -> Latency:
    """Publish at `rate` events per second whatever happens, and time the announcements.

    Raises:
        BenchError: the peer failed.
    """
    heard: dict[tuple[str, str], float] = {}
    # Worked out beforehand: it takes seconds, in which nobody would be heard.
    wanted, bodies = load.expected.granted_by, load.messages(per, who.lanes)

    async def on_unlock(msg: Msg) -> None:
        # unlocks.TENANT.USER.ACHIEVEMENT and whatever follows
        _, _, user, achievement, *_ = msg.subject.split(".")
        heard.setdefault((user, achievement), perf_counter())

    async with rig.arena(who.lanes) as arena:
        await who.prepare(arena)
        subscription = await arena.client.subscribe("unlocks.>", cb=on_unlock)
        peers = start(arena, who, per, folder)
        try:
            await pulling(arena, peers)
            sent = await publish_paced(arena, bodies, rate)
            end = perf_counter() + LAST_SECONDS
            while len(heard) < len(wanted) and perf_counter() < end:
                check(peers)
                await asyncio.sleep(0.05)
        finally:
            for peer in peers:
                peer.end()
            await subscription.unsubscribe()
    times = {event.id: at for one, at in zip(bodies, sent, strict=True) for event in one.events}
    counted = {key: times[event] for key, event in wanted.items() if times[event] - sent[0] > WARM_SECONDS}
    seconds = [heard[key] - at for key, at in counted.items() if key in heard and heard[key] >= at]
    missing = sum(key not in heard for key in counted)
    return Latency(rate, len(seconds), percentile(seconds, 0.5), percentile(seconds, 0.99), missing)

"""One measured run: what waits in the stream is worked off by processes that were started just now.

Counting begins once a tenth is done: starting an interpreter, connecting and filling caches is nobody's throughput.
From there to the last acknowledgement (and the last announcement, where unlocks are announced) everything counts.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from bench.processes import BenchError, Peer, cpu_seconds, peak_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from bench.rig import Arena, Cpu

WARM: Final = 0.1
"""Share of the events after which counting begins."""
LOOK_SECONDS: Final = 0.01
"""Between two questions to the broker how far things are, at first."""
LOOK_SHARE: Final = 0.01
"""Of the time that has passed, between two questions later: a slow peer should not pay for many of them."""
STALLED_SECONDS: Final = 45.0
"""Without any progress, after which a run counts as failed."""


class Drained(msgspec.Struct, frozen=True):
    """What a run took; the rates are per event, and bytes of memory are the sum over the peer's processes."""

    events_per_second: float
    worker_cpu: float
    """CPU seconds per million events, as the two below."""
    database_cpu: float
    broker_cpu: float
    wal_bytes: float
    """Per event."""
    table_bytes: float
    """Per event, indexes and all."""
    peak_bytes: int
    seconds: float
    """From the start of the processes, nothing left out."""


class Mark(NamedTuple):
    """What had been used when so many events were done."""

    time: float
    events: float
    worker: float
    servers: Cpu
    wal: int


async def settled() -> bool:
    """Tell that there is nothing to wait for beyond the last acknowledgement."""
    return True


async def drain(
    arena: Arena,
    commands: Sequence[Sequence[str]],
    log: Path,
    *,
    per: int,
    done: Callable[[], Awaitable[bool]] = settled,
    look: Callable[[], Awaitable[int]] | None = None,
) -> Drained:
    """Start a process for each lane, wait until the streams are worked off, measure, and end them.

    `per` is the number of events in a message; `done` tells, once all is acknowledged, whether all is done;
    `look` tells how many messages are done, where that is not how many are acknowledged.

    Raises:
        BenchError: a process failed, or nothing moves any more.
    """
    backlog = await arena.backlog()
    total = backlog.waiting + backlog.unacked
    tables = await arena.table_bytes()
    began = perf_counter()
    peers = [Peer(command, own, log) for command, own in zip(commands, arena.environments, strict=True)]
    try:
        pids = [peer.pid for peer in peers]

        async def mark(messages: int) -> Mark:
            now = perf_counter()
            return Mark(now, messages * per, cpu_seconds(pids), arena.cpu(), await arena.wal())

        start = await mark(0)
        first = await mark(await reached(arena, peers, int(total * WARM), total, look))
        if first.events >= total * per:  # one batch took everything
            first = start
        await reached(arena, peers, total, total, look)
        while not await done():
            check(peers)
            await asyncio.sleep(LOOK_SECONDS)
        last = await mark(total)
        peak = peak_bytes(pids)
    finally:
        for peer in peers:
            peer.end()
    events = last.events - first.events
    million = events / 1_000_000
    return Drained(
        events_per_second=events / (last.time - first.time),
        worker_cpu=(last.worker - first.worker) / million,
        database_cpu=(last.servers.database - first.servers.database) / million,
        broker_cpu=(last.servers.broker - first.servers.broker) / million,
        wal_bytes=(last.wal - first.wal) / events,
        table_bytes=(await arena.table_bytes() - tables) / (total * per),
        peak_bytes=peak,
        seconds=last.time - began,
    )


class Watch:
    """How far peers have come with messages, and whether they still move."""

    def __init__(self, arena: Arena, peers: Sequence[Peer], look: Callable[[], Awaitable[int]] | None = None) -> None:
        self._arena = arena
        self._peers = peers
        self._look = look
        self._moved = perf_counter()
        self._before = -1

    async def done(self, total: int) -> int:
        """Return how many of `total` messages are acknowledged, or done by what `look` says.

        Raises:
            BenchError: nothing moves any more.
        """
        if self._look is None:
            backlog = await self._arena.backlog()
            done = total - backlog.waiting - backlog.unacked
        else:
            done = await self._look()
        if done != self._before:
            self._moved, self._before = perf_counter(), done
        if perf_counter() - self._moved > STALLED_SECONDS:
            log = "\n".join(peer.log() for peer in self._peers)
            raise BenchError(f"stalled with {done:,} of {total:,} messages done:\n{log}")
        return done


async def reached(
    arena: Arena, peers: Sequence[Peer], wanted: int, total: int, look: Callable[[], Awaitable[int]] | None = None
) -> int:
    """Wait until so many of `total` messages are acknowledged, or done by what `look` says; return how many are.

    Raises:
        BenchError: a process failed, or nothing moves any more.
    """
    began, watch = perf_counter(), Watch(arena, peers, look)
    while (done := await watch.done(total)) < max(wanted, 1):
        check(peers)
        await asyncio.sleep(max(LOOK_SECONDS, (perf_counter() - began) * LOOK_SHARE))
    return done


def check(peers: Sequence[Peer]) -> None:
    """Make sure that processes live.

    Raises:
        BenchError: one has failed.
    """
    for peer in peers:
        peer.check()

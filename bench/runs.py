"""The runs: how fast and at what cost, and whether right after a kill and after duplicates. How soon: soon.py."""

from __future__ import annotations

import asyncio
import signal
from functools import cached_property, partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

from bench.drain import Drained, check, drain, reached
from bench.events import Shape, make, messages
from bench.expected import compare, expect
from bench.processes import BenchError, Peer, cpu_seconds, peak_bytes
from bench.publish import publish_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from bench.contestants import Contestant
    from bench.events import Event, Message
    from bench.expected import Expected
    from bench.rig import Arena, Rig

KILL_AT: Final = 0.4
"""Share of the messages that are acknowledged when the peer is killed."""
KILL_ACK_WAIT: Final = 2
"""Seconds after which the broker delivers again what the killed one had."""
MAX_SECONDS: Final = 120.0
"""For a peer that reads a file."""


class Load:
    """Events with what must come of them, made when they are first asked for."""

    def __init__(self, shape: Shape) -> None:
        self.shape: Final = shape

    @cached_property
    def events(self) -> list[Event]:
        """In the order of publishing."""
        return make(self.shape)

    @cached_property
    def expected(self) -> Expected:
        """What must come out."""
        return expect(self.events)

    def messages(self, per: int, lanes: int = 1) -> list[Message]:
        """Return the events in messages of `per`, in so many lanes."""
        return messages(self.events, per, lanes)


class Speed(msgspec.Struct, frozen=True):
    """A run that drains what was published in advance."""

    drained: Drained
    publish_per_second: float
    """Events, while nobody consumed."""
    differs: str
    """How the unlocks differ from the expected ones, "none" where they do not."""
    unlocks: int


class Verdict(msgspec.Struct, frozen=True):
    """Whether a state is right."""

    right: bool
    said: str


async def speed(rig: Rig, who: Contestant, load: Load, per: int, folder: Path) -> Speed:
    """Publish everything, then measure how it is worked off.

    Raises:
        BenchError: it was not.
    """
    async with rig.arena(who.lanes) as arena:
        await who.prepare(arena)
        log = folder / f"{who.key}.log"
        if who.file:
            rate, drained = 0.0, await _read_file(arena, who, load, per, folder)
        else:
            rate = len(load.events) / await publish_all(arena, load.messages(per, who.lanes))
            commands = [who.command(per)] * who.lanes
            done, look = partial(who.done, arena), look_of(arena, who, per)
            drained = await drain(arena, commands, log, per=per, done=done, look=look)
        found = await who.found(arena)
        difference = "none" if who.unlocks is None else str(compare(load.expected.unlocks, found))
        return Speed(drained, rate, difference, len(found))


def look_of(arena: Arena, who: Contestant, per: int) -> Callable[[], Awaitable[int]] | None:
    """Return what tells how many messages are done; None where it is how many are acknowledged."""

    async def look() -> int:
        return -(-(await arena.connection.fetchval(who.kept)) // per)

    return look if who.acknowledges_early else None


async def _read_file(arena: Arena, who: Contestant, load: Load, per: int, folder: Path) -> Drained:
    # Looked at first: once it is started, a busy machine may let it end before it answers.
    before, wal, tables = arena.cpu(), await arena.wal(), await arena.table_bytes()
    peer = _reader(arena, who, load, per, folder)
    began = perf_counter()
    worker, peak = 0.0, 0
    # A process that has ended tells nothing any more; the last look before that is some milliseconds old.
    while peer.code is None:
        worker, peak = max(worker, cpu_seconds([peer.pid])), max(peak, peak_bytes([peer.pid]))
        if perf_counter() - began > MAX_SECONDS:
            peer.end()
            raise BenchError(f"{who.key} has not come to an end: {peer.log()}")
        await asyncio.sleep(0.01)
    peer.check()
    seconds, after, number = perf_counter() - began, arena.cpu(), len(load.events)
    million = number / 1_000_000
    return Drained(
        events_per_second=number / seconds,
        worker_cpu=worker / million,
        database_cpu=(after.database - before.database) / million,
        broker_cpu=0.0,
        wal_bytes=(await arena.wal() - wal) / number,
        table_bytes=(await arena.table_bytes() - tables) / number,
        peak_bytes=peak,
        seconds=seconds,
    )


def _reader(arena: Arena, who: Contestant, load: Load, per: int, folder: Path) -> Peer:
    path = folder / "events.jsonl"
    path.write_bytes(b"".join(one.body + b"\n" for one in load.messages(per)))
    return Peer((*who.command(per)[:-1], str(path)), arena.environments[0], folder / f"{who.key}.log")


async def pulling(arena: Arena, peers: list[Peer]) -> None:
    """Wait until somebody asks for messages."""
    began = perf_counter()
    while not await arena.pulled():
        check(peers)
        if perf_counter() - began > MAX_SECONDS:
            raise BenchError(f"nobody asks for messages: {peers[0].log()}")
        await asyncio.sleep(0.05)


# -- whether right -----------------------------------------------------------------------------------------------------


async def killed(rig: Rig, who: Contestant, load: Load, folder: Path, *, seconds: float) -> Verdict:
    """Kill the peer in mid-run, start it again, and judge what it ends with.

    `seconds` is how long one that reads a file takes: it is killed half-way.
    """
    async with rig.arena(who.lanes, ack_wait=KILL_ACK_WAIT) as arena:
        await who.prepare(arena)
        if who.file:
            peer = _reader(arena, who, load, 1, folder)
            await asyncio.sleep(seconds / 2)
            await _end_at_once([peer])
            await _to_end(_reader(arena, who, load, 1, folder))
        else:
            await publish_all(arena, load.messages(1, who.lanes))
            peers = start(arena, who, 1, folder)
            try:
                number = len(load.events)
                await reached(arena, peers, int(number * KILL_AT), number, look_of(arena, who, 1))
            finally:
                await _end_at_once(peers)
            try:
                await _work_off(arena, who, load, folder)
            except BenchError as error:  # it does not come back to its feet: that is what is to be told
                return Verdict(right=False, said=str(error).partition("\n")[0])
        return await _judge(arena, who, load)


async def duplicated(rig: Rig, who: Contestant, load: Load, folder: Path) -> Verdict:
    """Let the peer work off a stream in which events come twice, and judge what it ends with."""
    async with rig.arena(who.lanes) as arena:
        await who.prepare(arena)
        if who.file:
            await _to_end(_reader(arena, who, load, 1, folder))
        else:
            await publish_all(arena, load.messages(1, who.lanes))
            await _work_off(arena, who, load, folder)
        return await _judge(arena, who, load)


def start(arena: Arena, who: Contestant, per: int, folder: Path) -> list[Peer]:
    """Start a process for each lane, for messages of `per` events."""
    return [Peer(who.command(per), own, folder / f"{who.key}.log") for own in arena.environments]


async def _end_at_once(peers: list[Peer]) -> None:
    for peer in peers:
        await asyncio.to_thread(peer.end, signal.SIGKILL)


async def _to_end(peer: Peer) -> None:
    began = perf_counter()
    while peer.code is None and perf_counter() - began < MAX_SECONDS:  # noqa: ASYNC110 - a process tells nobody
        await asyncio.sleep(0.02)
    peer.check()
    peer.end()


async def _work_off(arena: Arena, who: Contestant, load: Load, folder: Path) -> None:
    peers = start(arena, who, 1, folder)
    try:
        number = load.expected.events if who.acknowledges_early else len(load.events)
        await reached(arena, peers, number, number, look_of(arena, who, 1))
        while not await who.done(arena):
            check(peers)
            await asyncio.sleep(0.02)
    finally:
        await _end_at_once(peers)


async def _judge(arena: Arena, who: Contestant, load: Load) -> Verdict:
    said: list[str] = []
    kept = await arena.connection.fetchval(who.kept)
    if kept != load.expected.events:
        said.append(f"{kept:,} events kept of {load.expected.events:,}")
    if who.unlocks is not None:
        found = await who.found(arena)
        difference = compare(load.expected.unlocks, found)
        if difference:
            said.append(f"unlocks: {difference}")
        announced = await arena.announced()
        if who.announces and announced != len(found):
            said.append(f"{announced:,} announcements of {len(found):,} unlocks")
    return Verdict(not said, "; ".join(said))

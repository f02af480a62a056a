"""A recording that is too large for the memory: spilled to a temporary file by users, and folded shard by shard.

Several processes fold, where there are several cores. What is done in which order: worker/engine/shards.py.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from dsl.outcome import hash_of, unlock_line
from worker.commands.replay.request import SKEW, ProcessDiedError, new_mark
from worker.commands.replay.spill import Extent, Spill
from worker.contract.strict_reader import Rejected
from worker.engine import shards
from worker.engine.replay import Buried, Counts, Result, in_order
from worker.engine.shards import Ground
from worker.pipeline.sorted_lines import SortedLines
from worker.recording import size_of
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from dsl.compile import Program
    from dsl.outcome import Unlock
    from dsl.schema import Rules
    from worker.commands.replay.request import Request
    from worker.engine.shards import Id, ShardResult

T = TypeVar("T")

SHARDS: Final = 64
SHARD_BYTES: Final = 8 * 1024 * 1024
"""Of a recording, for each shard, if it is so large that it needs more than SHARDS."""
MOST_SHARDS: Final = 1024
PART_BYTES: Final = 128 * 1024 * 1024
"""Of a recording, for each part in which hashes of ids are compared. They take some 40 MB."""
MOST_PARTS: Final = 128
PARTS_OF_UNKNOWN: Final = 8
WAITING_BYTES: Final = 32 * 1024 * 1024
"""Of messages that wait in memory to be spilled."""


def shards_for(size: int) -> int:
    """Return into how many shards a recording of so many bytes is divided."""
    return min(max(SHARDS, size // SHARD_BYTES), MOST_SHARDS)


def parts_for(size: int) -> int:
    """Return in how many parts hashes of ids are compared; a recording of unknown size (0) may be a large one."""
    return min(1 + size // PART_BYTES, MOST_PARTS) if size else PARTS_OF_UNKNOWN


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Task(NamedTuple):
    """One shard of one step, as a process is asked for it."""

    shard: int
    extents: Sequence[Extent]
    foreign: frozenset[Id] = frozenset()
    latest: int = 0
    hashes: frozenset[int] = frozenset()


class _Users(NamedTuple):
    """What a process says of the users of a shard."""

    events: int
    latest: int
    ids: bytes
    result: bytes


class _Desk:
    """What every process has: the ground, and the files that were opened before it was made."""

    def __init__(self, ground: Ground, messages: Spill, ids: Spill, others: Spill) -> None:
        self.ground = ground
        self.messages, self.ids, self.others = messages, ids, others

    def fold_users(self, task: _Task) -> _Users:
        blocks = map(shards.block_of, self.messages.read(task.extents))
        result, ids, latest = shards.fold_users(self.ground, blocks, task.foreign, task.latest)
        counts = result.counts
        taken = counts.events + counts.duplicates + counts.dead
        return _Users(taken, latest, ids, shards.result_packed(result))

    def fold_others(self, task: _Task) -> bytes:
        blocks = map(shards.block_of, self.others.read(task.extents))
        return shards.result_packed(shards.fold_others(self.ground, blocks, task.shard, task.latest))

    def shared_ids(self, task: _Task) -> set[int]:
        return shards.shared_ids([*self.ids.read(task.extents)])

    def claims(self, task: _Task) -> list[tuple[int, Id]]:
        blocks = map(shards.block_of, self.messages.read(task.extents))
        return shards.claims_of(self.ground, blocks, task.hashes)


_here: list[_Desk] = []
"""The desk of a process that folds."""


def _sit_down(desk: _Desk) -> None:
    # The first process handles Ctrl-C for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow_first_process, daemon=True).start()
    _here.append(desk)


def _follow_first_process() -> None:
    """End with the process that hands out tasks, however that ends: nothing else would."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def _do(step: str, task: _Task) -> object:
    return getattr(_here[0], step)(task)


class _Workshop:
    """Has tasks done: by other processes, or by this one where there is one core."""

    def __init__(self, desk: _Desk, pool: ProcessPoolExecutor | None) -> None:
        self._desk = desk
        self._pool = pool

    def each(self, step: Callable[[_Task], T], tasks: Sequence[_Task]) -> Iterator[tuple[int, T]]:
        """Yield what comes of each task, with its shard, in their order.

        Raises:
            ProcessDiedError: a process was killed.
        """
        if self._pool is None:
            yield from ((task.shard, step(task)) for task in tasks)
            return
        try:
            waiting = [self._pool.submit(_do, step.__name__, task) for task in tasks]
            for task, one in zip(tasks, waiting, strict=True):
                yield task.shard, cast("T", one.result())
        except BrokenProcessPool as error:
            raise ProcessDiedError from error


@contextmanager
def _workshop(desk: _Desk, processes: int) -> Generator[_Workshop]:
    """Yield a workshop whose processes are there already: no thread of this one runs yet, which they would lack."""
    if processes == 1 or "fork" not in multiprocessing.get_all_start_methods():
        yield _Workshop(desk, None)
        return
    fork = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, mp_context=fork, initializer=_sit_down, initargs=(desk,))
    try:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ProcessDiedError from error
        yield _Workshop(desk, pool)
    finally:
        pool.shutdown(cancel_futures=True)


def run_large(
    rules: Rules, program: Program, waiting: Iterable[list[bytes]], request: Request
) -> tuple[Result, list[Rejected]]:
    """Replay a recording, given piece by piece.

    Raises:
        RecordingError: it cannot be read.
        OSError: there is no room for it on the disk.
        ProcessDiedError: a process was killed.
    """
    size = size_of(request.streams)
    ground = Ground(
        rules,
        program,
        shards_for(size),
        now=request.now,
        skew=SKEW,
        mark=new_mark(),
        until=request.until,
        parts=parts_for(size),
    )
    # Its processes are made before the first thread is, which draws the progress.
    with large_replay(ground, request.jobs or cores()) as work:
        total = 0
        with screen.progress("reading", quiet=request.quiet) as move:
            for piece in waiting:
                work.take(piece)
                total += len(piece)
                move(len(piece), "")
        with screen.progress("folding", total, quiet=request.quiet) as move:
            return work.result(lambda events: move(events, ""))


@contextmanager
def large_replay(ground: Ground, processes: int) -> Generator[LargeReplay]:
    """Yield what replays a large recording.

    Raises:
        OSError: a temporary file cannot be made.
    """
    with ExitStack() as files:
        messages, ids, others, results = (files.enter_context(Spill()) for _ in range(4))
        desk = _Desk(ground, messages, ids, others)
        workshop = files.enter_context(_workshop(desk, processes))
        yield LargeReplay(desk, results, workshop)


class LargeReplay:
    """Takes the messages of a recording, and folds them once it has all."""

    def __init__(self, desk: _Desk, results: Spill, workshop: _Workshop) -> None:
        self._desk = desk
        self._results = results
        self._workshop = workshop
        self._router = shards.Router(desk.ground)
        self._parts = desk.ground.parts
        self._ids: dict[int, list[Extent]] = {}
        """By shard, where the hashes of each part lie."""
        self._latest: dict[int, int] = {}
        """By shard, the instant of its latest event."""

    def take(self, bodies: Sequence[bytes]) -> None:
        """Take messages, in the order of arrival.

        Raises:
            OSError: there is no room for them on the disk.
        """
        self._router.route(bodies)
        self._spill(rest=self._router.bytes > WAITING_BYTES)

    def _spill(self, *, rest: bool) -> None:
        for shard, block in self._router.blocks(rest=rest):
            self._desk.messages.add(shard, shards.bytes_of(block))

    def result(self, folded: Callable[[int], None]) -> tuple[Result, list[Rejected]]:
        """Return what comes out, and the dead letters; `folded` is called with how many messages more are done.

        Raises:
            OSError: there is no room on the disk.
            ProcessDiedError: a process was killed.
        """
        self._spill(rest=True)
        tasks = {shard: _Task(shard, extents) for shard, extents in self._desk.messages.extents.items()}
        self._fold(tasks.values(), folded)
        foreign = self._foreign(tasks)
        tasks |= {shard: tasks[shard]._replace(foreign=keys) for shard, keys in foreign.items()}
        self._fold([tasks[shard] for shard in foreign], lambda _: None)
        latest = max(self._latest.values(), default=0)
        self._fold([tasks[shard]._replace(latest=latest) for shard in self._behind(latest)], lambda _: None)
        with SortedLines() as lines:
            return self._sum(lines, latest)

    def _behind(self, latest: int) -> list[int]:
        """Return the shards that were folded before it was known which versions have begun."""
        clock = self._desk.ground.clock
        return [
            shard for shard, own in self._latest.items() if self._desk.ground.begins_between(clock(own), clock(latest))
        ]

    def _fold(self, tasks: Iterable[_Task], folded: Callable[[int], None]) -> None:
        for shard, users in self._workshop.each(self._desk.fold_users, [*tasks]):
            self._results.put(shard, users.result)
            self._latest[shard] = users.latest
            self._desk.ids.put(shard, users.ids)
            (whole,) = self._desk.ids.extents[shard]
            self._ids[shard] = [
                Extent(whole.at + begin, size) for begin, size in shards.parts_of(users.ids, self._parts)
            ]
            folded(users.events)

    def _foreign(self, tasks: Mapping[int, _Task]) -> dict[int, frozenset[Id]]:
        """Return by shard the ids that stand for events of other shards."""
        asked = [_Task(part, [theirs[part] for theirs in self._ids.values()]) for part in range(self._parts)]
        shared = frozenset[int]().union(*[found for _, found in self._workshop.each(self._desk.shared_ids, asked)])
        if not shared:
            return {}
        again = [task._replace(hashes=shared) for task in tasks.values()]
        return shards.foreign_ids(dict(self._workshop.each(self._desk.claims, again)))

    def _sum(self, lines: SortedLines, latest: int) -> tuple[Result, list[Rejected]]:
        counts, clock = Counts(), self._desk.ground.clock(latest)
        unlocks: list[tuple[int, Unlock]] = []
        buried = [*self._router.buried]
        counts.dead = len(buried)
        for result in self._all_results(latest):
            counts.add(result.counts)
            unlocks += result.unlocks
            buried += [Buried(place, 0, Rejected(why, detail, body)) for place, why, detail, body in result.buried]
            lines.add(result.lines)
        granted = sorted([unlock for due, unlock in unlocks if due <= clock], key=lambda unlock: unlock.order)
        lines.add(map(unlock_line, granted))
        return Result(hash_of(lines), granted, [], counts), in_order(buried)

    def _all_results(self, latest: int) -> Iterator[ShardResult]:
        """Yield what came of users, shard by shard, then of all other subjects."""
        for extents in self._results.extents.values():
            for result in map(shards.result_unpacked, self._results.read(extents)):
                yield result
                for shard, block in result.handed_on.items():
                    self._desk.others.add(shard, shards.bytes_of(block))
        tasks = [_Task(shard, extents, latest=latest) for shard, extents in self._desk.others.extents.items()]
        for _, data in self._workshop.each(self._desk.fold_others, tasks):
            yield shards.result_unpacked(data)

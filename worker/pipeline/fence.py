"""The fence: a transaction that writes a subject locks the row of its partition first, and leaves a mark there.

A row of `partition` carries three things: a generation, an owner, and the epoch of the rules in force.

    who                     locks                         generation   owner           epoch
    a batch, long way       the partitions of all its     + 1          the worker      must be that of the batch
                            subjects, in order
    a batch, fast path      those of its users, in        + 1 where    must be the     must be that of the batch
                            `commit_fast`                 as we left   worker
    backfill, erasure,      those of their subjects       + 1          NO_OWNER        must be theirs (backfill, grant)
    grant by hand
    `ach apply`             all                           + 1          NO_OWNER        becomes the new one
    dead letters alone      one, to look (shared)         as it is     as it is        must be that of the batch

What must change together: a transaction that writes progress, checkpoints, events or unlocks of a subject raises the
generation of its partition. Two things move rows of `unlock` alone: a revocation, and the relay, which grants what has
settled and marks what is announced. So a statement that amends, contests or withdraws an unlock looks at its row again,
under the lock of the row.

Why it is safe: a worker believes what it remembers of a partition only while generation and owner are those
that it wrote itself (worker/engine/state_cache.py), and the database compares them under the row's lock. Locks
are taken in the order of partitions, so that two transactions never wait for each other. New rules wait for all
batches, and a batch that was decoded under old ones finds another epoch, and is decoded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from worker.contract.partition import PARTITIONS, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.engine.batch import Batch
    from worker.engine.state_cache import Hold, StateCache
    from worker.store import Session


NO_OWNER: Final = ""
"""The owner that transactions of no worker leave: they remember nothing."""


class RulesMovedError(Exception):
    """Other rules are in force than those that the batch was decoded under."""


class Held(NamedTuple):
    """A partition as it was found."""

    partition_id: int
    generation: int
    owner: str
    rules_epoch: int


async def take_partitions(session: Session, batch: Batch, cache: StateCache, hold: Hold) -> None:
    """Lock the partitions of all subjects of the batch, in order, until the transaction ends; leave our name there.

    Raises:
        RulesMovedError: decode the batch again; new rules have come into force, after all batches before.
    """
    wanted = {partition_of(*subject) for subject in batch.subjects}
    if not wanted:
        await _check_rules(session, batch)
        return
    held = await session.rows(Held, "take_partitions", partitions=sorted(wanted), owner=cache.owner)
    if any(row.rules_epoch != batch.rules.epoch for row in held):
        raise RulesMovedError
    for row in held:
        cache.locked(hold, row.partition_id, row.generation, row.owner)


async def hold_partitions(session: Session, partitions: Iterable[int], *, epoch: int | None) -> list[Held]:
    """Lock partitions in order, until the transaction ends, for a transaction that remembers nothing.

    Return them as they were found.

    Raises:
        RulesMovedError: the rules in force are not those of `epoch`; None stands for any rules.
    """
    held = await session.rows(Held, "take_partitions", partitions=sorted(partitions), owner=NO_OWNER)
    if epoch is not None and any(row.rules_epoch != epoch for row in held):
        raise RulesMovedError
    return held


async def _check_rules(session: Session, batch: Batch) -> None:
    """Make sure of the rules for a batch of dead letters alone, which writes no subject and takes no partition.

    No other rules are applied before its end: that takes every partition. Other batches are not held up.
    """
    if not batch.letters:
        return
    partition = batch.letters[0].message.seq % PARTITIONS
    if await session.value(int, "rules_epoch_of_partition", partition=partition) != batch.rules.epoch:
        raise RulesMovedError

"""The first stage: take the partitions of everybody concerned, until the end of the transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from worker.contract.partition import PARTITIONS, partition_of

if TYPE_CHECKING:
    from worker.engine.batch import Attempt
    from worker.engine.state_cache import StateCache
    from worker.store import Session


NOBODY: Final = ""
"""The owner that those leave behind who remember nothing."""


class RulesMovedError(Exception):
    """Other rules are in force than those that the batch was decoded under."""


class Held(NamedTuple):
    """A partition as it was found."""

    partition_id: int
    generation: int
    owner: str
    rules_epoch: int


async def take_partitions(session: Session, attempt: Attempt, memory: StateCache) -> None:
    """Lock the partition of every subject and of every user of the batch, in order, and leave our name there.

    Raises:
        RulesMovedError: decode the batch again; whoever applied the new rules has waited for all batches before.
    """
    wanted = {partition_of(*subject) for subject in attempt.subjects}
    if not wanted:
        await _look_at_the_rules(session, attempt)
        return
    held = await session.rows(Held, "take_partitions", partitions=sorted(wanted), owner=memory.owner)
    if any(row.rules_epoch != attempt.batch.rules.epoch for row in held):
        raise RulesMovedError
    for row in held:
        memory.locked(attempt.hold, row.partition_id, row.generation, row.owner)


async def _look_at_the_rules(session: Session, attempt: Attempt) -> None:
    """Make sure of the rules for a batch of dead letters alone, which writes no subject and takes no partition.

    Nobody applies others before its end: who does holds every partition. Others are not held up, and forget nothing.
    """
    if not attempt.letters:
        return
    partition = attempt.letters[0].message.seq % PARTITIONS
    if await session.value(int, "rules_epoch_of_partition", partition=partition) != attempt.batch.rules.epoch:
        raise RulesMovedError

"""The fast path: one statement commits a batch about which everything is taken to be known.

Most events are of users whose states this worker remembers, and later than all that is known of them. So states
come from memory, events that are later than all known ones are taken to be new (a copy lies where its original
lies), late ones are too as long as that proves right (`Trust`), and unlocks are taken to be the first ones.
`commit_fast` checks what was taken for granted, and does everything or nothing; then the batch takes the long
way, which takes nothing for granted.

The states of a batch, and of a user in it:

    from          on                                                       to
    batch         a user is unknown in a partition that is ours            looked up without a lock, or unknown still
    user          memory does not suffice (`LongWay`, first part)          the rest, which goes the long way afterwards
    user          events in order                                          stepped, in place
    user          late events that provably move no grant                  absorbed, in place
    user          late events that may move one, of a few users            folded again from a past that is looked up
    batch         less than half of the events can go                      the long way, whole; nothing has moved
    chosen        something is contested or withdrawn, a past is too long  the long way, whole; its states are void
    chosen        the statement finds a partition, an event or an          the long way, whole; its states are void
                  unlock otherwise, or fails
    chosen        the statement succeeds                                   committed; generations are one higher

What must change together: the states that `first_look` has moved, and the hold on their partitions in the cache, which
ends as committed or failed on every way out of `Pipeline._commit_fast`. In the statement: partitions, events, progress,
checkpoints, unlocks, corrections and evaluations.

Why it is safe: whatever was read, from memory or without a lock, belongs to partitions whose generation and
owner the statement compares under their locks (worker/pipeline/fence.py), together with the epoch of the rules.
The three things that no generation covers are asked by key: an event that is there violates the ledger's key, one
that may be archived is looked up (worker/engine/reach.py), and an unlock that an operator has revoked is not amended,
which the statement counts.

Progress is saved once in `SAVE_EVERY` events that come in order: its readers find later ones in the
ledger, behind the mark of the state, and fold them on top. What came late is not found there, and is saved at
once.

Measured and tried: docs/decisions/0008-hot-path/fast-path.md, plain-insert.md, partition-locks.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.engine.arrivals import Arrivals
from worker.engine.decide import Facts, decide
from worker.engine.long_way import LongWay, LongWayError
from worker.engine.reach import suspects
from worker.pipeline.lookup import look_up_pasts
from worker.pipeline.write import write_guarded

if TYPE_CHECKING:
    from worker.engine.decide import Writes
    from worker.engine.fast_users import FastBatch
    from worker.engine.state_cache import StateCache
    from worker.pipeline.stopwatch import Stopwatch
    from worker.store import Session

SAVE_EVERY: Final = 32
"""Events of one user that are folded before the progress is written: with each batch, that would be half of what a
small one costs."""


async def commit_fast(session: Session, fast: FastBatch, cache: StateCache, *, clock: int, watch: Stopwatch) -> Writes:
    """Decide and commit what takes the fast path; `clock` in microseconds, as in `decide`; `watch` times the deciding.

    Raises:
        LongWayError: something is taken away from a user, or too much is to be read; nothing has happened.
        OvertakenError: something was not as it was taken to be, and nothing has happened.
        UnfoldableError: the fold failed on an event.
    """
    batch, look = fast.batch, fast.look
    facts = Facts(Arrivals(batch.groups, batch.size, regions=batch.regions), fast.states, look)
    if look.refolds:
        refolds, stored = await look_up_pasts(session, batch.rules, look.refolds, fast.events)
        facts = facts._replace(refolds=refolds, stored=stored)
    with watch:
        writes = decide(batch.rules, facts, now=batch.now, clock=clock, save_every=SAVE_EVERY)
    if writes.contested or writes.withdrawn:
        raise LongWayError(LongWay.REVOKES)
    doubtful = suspects(cache.reach, batch.groups)
    await write_guarded(session, batch.rules, writes, fast.hold.generations, cache.owner, doubtful)
    return writes

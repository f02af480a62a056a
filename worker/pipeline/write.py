"""Write what was decided: statement by statement under locks, or all in one that checks what it relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.engine.columns import (
    all_columns,
    amendment_columns,
    contested_columns,
    evaluation_columns,
    named_columns,
    names_users,
    saved_columns,
    subject_columns,
    unlock_columns,
)
from worker.pipeline.dead_letters import bury

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.engine.decide import Writes
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session


async def write(session: Session, settings: Settings, rules: Deployed, writes: Writes) -> Writes:
    """Write everything but events, which are there; return what was written: erased users' dead letters were not."""
    now = writes.now
    if writes.forgotten:
        await session.run("forget_progress", **subject_columns(writes.forgotten))
    if writes.progress:
        await session.run("save_progress", **saved_columns(writes))
    if writes.unlocks:
        columns = unlock_columns(rules, writes.unlocks)
        if await session.rows(int, "grant_unlocks", **columns, now=now, clock=writes.clock) != [len(writes.unlocks)]:
            raise AssertionError("an unlock was inserted under the lock of another's partition")
    if writes.amended:
        await session.run("amend_unlocks", **amendment_columns(writes), now=now)
    if writes.contested:
        await session.run("contest_unlocks", **contested_columns(writes), now=now)
    if writes.withdrawn:
        await session.run("withdraw_unlocks", unlock_ids=writes.withdrawn)
    if writes.evaluations:
        await session.run("insert_evaluations", **evaluation_columns(rules, writes.evaluations), now=now)
    arrivals = writes.arrivals
    buried = await bury(session, settings, arrivals.letters, rules.program.roles.fields, now=now)
    kept = arrivals._replace(letters=buried.letters, erased=arrivals.erased + buried.erased)
    return writes._replace(arrivals=kept)


async def write_guarded(
    session: Session,
    rules: Deployed,
    writes: Writes,
    generations: Mapping[int, int],
    owner: str,
    doubtful: Sequence[tuple[str, str]] = (),
) -> None:
    """Write everything, in one statement that is a transaction by itself; nothing may be taken from what is stored.

    `generations` are those that we left partitions with, by partition; `doubtful` ids and tenants of events that may be
    archived.

    Raises:
        OvertakenError: something is not as it was taken to be, and nothing has happened.
    """
    held, arrivals = sorted(generations.items()), writes.arrivals
    asked = {
        "partitions": [partition for partition, _ in held],
        "generations": [generation for _, generation in held],
        "owner": owner,
        "epoch": rules.epoch,
        "suspects.event_id": [one for one, _ in doubtful],
        "suspects.tenant_id": [one for _, one in doubtful],
        **all_columns(rules, writes),
    }
    if names_users(arrivals):
        await session.run("commit_fast_with_members", **asked, **named_columns(arrivals.groups))
    else:
        await session.run("commit_fast", **asked)

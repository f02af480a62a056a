"""Gather the facts about a batch, under the locks of its partitions: the long way, which takes nothing for granted.

What is new is what an insert returns, so events are inserted here already. What has to be read beyond that depends on a
first look: who has to be folded again, and what was earned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.engine.arrivals import arrivals_of, screen
from worker.engine.decide import Facts, first_look, latest_known
from worker.engine.reconcile import unlock_id
from worker.engine.subject_events import events_of_subjects
from worker.pipeline.archive import known_in_archive
from worker.pipeline.fence import take_partitions
from worker.pipeline.ledger import insert_events, insert_members, states_of, unlocks_of, unlocks_of_keys
from worker.pipeline.refold import refold

if TYPE_CHECKING:
    from dsl.outcome import Subject
    from worker.engine.batch import Batch
    from worker.engine.state_cache import Hold, StateCache, SubjectState
    from worker.pipeline.stopwatch import Stopwatch
    from worker.store import Session


async def gather(session: Session, batch: Batch, cache: StateCache, hold: Hold, watch: Stopwatch) -> Facts:
    """Return all that is to be known of a batch; `watch` times the stepping.

    States have moved in place, and events are inserted.

    Raises:
        RulesMovedError: decode the batch again.
        UnfoldableError: the fold failed on an event.
    """
    rules = batch.rules
    await take_partitions(session, batch, cache, hold)
    states = await _states(session, batch, cache, hold)
    screened = screen(batch.items, states)
    known = await known_in_archive(session, cache, screened.firsts) if screened.firsts else {}
    fresh = [item for key, item in screened.firsts.items() if key not in known]
    known.update(await insert_events(session, fresh, now=batch.now))
    items, arrivals = arrivals_of(batch, screened, known)
    await insert_members(session, items)
    events = events_of_subjects(items)
    for subject, own in events.items():
        own.put_in_order(latest_known(states[subject]))
    with watch:
        look = first_look(rules, events, states)
    refolds = await refold(session, rules, look.refolds, states)
    stored = await unlocks_of(session, refolds)
    stored.update(await unlocks_of_keys(session, [unlock_id(*earned) for earned in look.earned]))
    return Facts(arrivals, states, look, refolds, stored)


async def _states(session: Session, batch: Batch, cache: StateCache, hold: Hold) -> dict[Subject, SubjectState]:
    """Return the states of all users and subjects of the batch, before anything of it is written."""
    states: dict[Subject, SubjectState] = {}
    missing: list[Subject] = []
    for subject in batch.subjects:
        state = cache.locked_state(hold, subject)
        if state is None:
            missing.append(subject)
        else:
            states[subject] = state
    for subject, state in (await states_of(session, batch.rules, missing)).items():
        cache.add_locked(hold, subject, state)
        states[subject] = state
    return states

"""Gather the facts about a batch, under the locks of its partitions: the long way, which takes nothing for granted.

What is new is what an insert returns, so events are inserted here already. What has to be read beyond that depends on a
first look: who has to be folded again, and what was earned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.engine.arrivals import arrivals_of, screen
from worker.engine.decide import Facts, first_look, latest_known
from worker.engine.pseudonyms import rename
from worker.engine.subject_events import events_of_subjects
from worker.pipeline.archive import known_in_archive
from worker.pipeline.fence import take_partitions
from worker.pipeline.ledger import (
    insert_events,
    insert_members,
    pseudonyms_of,
    record_renamed,
    states_of,
    unlocks_of,
    unlocks_of_keys,
)
from worker.pipeline.refold import refold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.outcome import Subject
    from worker.engine.arrivals import Screened
    from worker.engine.batch import Batch, Item
    from worker.engine.rule_set import Deployed
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
    renamed = await _rename(session, rules, screened, states)
    known = await known_in_archive(session, cache, screened.firsts) if screened.firsts else {}
    fresh = [renamed.get(key, item) for key, item in screened.firsts.items() if key not in known]
    known.update(await insert_events(session, fresh, now=batch.now))
    items, arrivals = arrivals_of(batch, screened, known, renamed)
    if rules.follows_stream:
        arrivals = arrivals._replace(latest=await session.value(int, "latest_instant") or 0)
    await insert_members(session, items)
    await record_renamed(session, items)
    events = events_of_subjects(items)
    for subject, own in events.items():
        own.put_in_order(latest_known(states[subject]))
    with watch:
        look = first_look(rules, events, states, clock=arrivals.latest if rules.follows_stream else batch.now)
    refolds = await refold(session, rules, look.refolds, states)
    stored = await unlocks_of(session, refolds)
    stored.update(await unlocks_of_keys(session, look.earned))
    return Facts(arrivals, states, look, refolds, stored)


async def _rename(
    session: Session, rules: Deployed, screened: Screened, states: Mapping[Subject, SubjectState]
) -> dict[tuple[str, str], Item]:
    """Return events that name erased users, or are theirs and name others, with pseudonyms in the place of these."""
    erased = sorted(subject for subject, state in states.items() if state.erased)
    concerned = (
        [item for item in screened.firsts.values() if any(states[one].erased for one in item.audience.members)]
        if erased
        else []
    )
    if not concerned:
        return {}
    pseudonyms = await pseudonyms_of(session, erased)
    return {item.key: rename(rules.program.roles, item, pseudonyms) for item in concerned}


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

"""Facts for the fast path that memory does not have, looked up without a lock: states, and the past of late users.

Measured and tried: docs/decisions/0008-hot-path/lookup-without-lock.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.compile import USER
from dsl.event import Position
from dsl.outcome import canonical_order
from dsl.progress import decode
from worker.engine.folding import Refold
from worker.engine.long_way import LongWay, LongWayError
from worker.engine.reconcile import Stored
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import in_roles, positions_heard, seen_events, states_of_users

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.outcome import Subject
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import StateCache
    from worker.engine.subject_events import SubjectEvents
    from worker.pipeline.ledger import EventRow
    from worker.store import Session

MOST_AHEAD: Final = 1000
"""Events of one user that are read ahead of a batch, less one."""


async def look_up_states(session: Session, rules: Deployed, unknown: Mapping[Subject, int], cache: StateCache) -> None:
    """Look up the states of users in partitions that we left with a generation.

    Generations say, now and at the commit, whether what was read still holds.
    """
    for user, state in (await states_of_users(session, rules, sorted(unknown))).items():
        cache.add_unlocked(user, state, unknown[user])


async def look_up_pasts(
    session: Session, rules: Deployed, late: Mapping[Subject, Position], events: Mapping[Subject, SubjectEvents]
) -> tuple[dict[Subject, Refold], dict[Subject, Sequence[Stored]]]:
    """Fold users again from the last state that is known of each before a position, with events that are new.

    Should the ledger have one of these after all, inserting it will fail. Return the refolds, and the unlocks that each
    user has. What is read holds at the commit: every other write of it raises the generation of the user's partition,
    but for the revocation of an unlock, which `commit_fast` looks at by itself.

    Raises:
        LongWayError: too much lies there, or a state cannot be read.
        UnfoldableError: the fold failed on an event.
    """
    subjects = sorted(late)
    refolds: dict[Subject, Refold] = {}
    stored: dict[Subject, Sequence[Stored]] = {}

    def past(  # noqa: PLR0913, PLR0917 - the columns of a row
        n: int,
        at: int | None,
        name: str | None,
        text: str | None,
        archived: bool,  # noqa: FBT001 - a column
        behind: Sequence[EventRow],
        unlocks: Sequence[tuple[object, ...]],
    ) -> None:
        user, state, since = subjects[n - 1], None, BEGINNING
        if at is not None and name is not None and text is not None:
            state, since = decode(text.encode()), Position(at, name)
            if state is None:
                raise LongWayError(LongWay.UNREADABLE_CHECKPOINT)
        if archived:
            raise LongWayError(LongWay.ARCHIVED)
        if len(behind) == MOST_AHEAD:
            raise LongWayError(LongWay.LONG_HISTORY)
        refold = refolds[user] = Refold(rules, user, state, since)
        known = seen_events(rules, rules.program.scopes[USER], user.subject, behind)
        refold.feed(sorted([*known, *events[user].heard], key=canonical_order))
        stored[user] = [*map(Stored._make, unlocks)]

    asked = positions_heard(rules, USER, late)
    query = "pasts_of_users_in_roles" if in_roles(rules, USER) else "pasts_of_users"
    await session.rows(past, query, **asked, stamp=rules.stamps[USER], limit=MOST_AHEAD)
    return refolds, stored

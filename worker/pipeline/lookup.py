"""What users are folded anew from by the express way: looked up in one go, without a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dsl.compile import USER
from dsl.event import Event, Position
from dsl.progress import State, decode
from worker.engine.reconcile import Stored
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import event_of, positions_heard
from worker.store import OvertakenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.outcome import Subject
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session

MOST_AHEAD: Final = 1000
"""Events of one user that are read ahead of a batch, less one."""


class Past(msgspec.Struct, frozen=True):
    """One user before a batch: a state and where it stood, all that was heard behind it, and what is unlocked."""

    state: State | None
    since: Position
    events: list[Event]
    unlocks: list[Stored]


async def pasts_of(session: Session, rules: Deployed, late: Mapping[Subject, Position]) -> dict[Subject, Past]:
    """Return what lies behind the last state that is known of each user before a position.

    What is read holds at the commit: whoever writes any of it meanwhile raises the generation of the user's partition,
    but for an operator who revokes an unlock, which `commit_fast` looks at by itself.

    Raises:
        OvertakenError: too much lies there, or a state cannot be read.
    """
    subjects = sorted(late)

    def past(
        n: int,
        at: int | None,
        name: str | None,
        text: str | None,
        events: Sequence[EventRow],
        unlocks: Sequence[tuple[object, ...]],
    ) -> tuple[Subject, Past]:
        state, since = None, BEGINNING
        if at is not None and name is not None and text is not None:
            state, since = decode(text.encode()), Position(at, name)
            if state is None:
                raise OvertakenError("a checkpoint cannot be read")
        if len(events) == MOST_AHEAD:
            raise OvertakenError("too much has happened since")
        told = Past(state, since, [event_of(rules, *row) for row in events], [*map(Stored._make, unlocks)])
        return subjects[n - 1], told

    asked = positions_heard(rules, USER, late)
    return dict(await session.rows(past, "pasts_of_users", **asked, stamp=rules.stamps[USER], limit=MOST_AHEAD))

"""Fold subjects again from the ledger, each from the last past state that serves."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from dsl.outcome import Subject
from dsl.progress import decode
from worker.engine.columns import position_columns
from worker.engine.folding import Refold
from worker.engine.state_cache import BEGINNING, Checkpoint
from worker.pipeline.ledger import runs_back
from worker.pipeline.past_states import PastState, refolds_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsl.event import Position
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import SubjectState
    from worker.pipeline.ledger import Read
    from worker.store import Session


async def refold(
    session: Session,
    rules: Deployed,
    late: Mapping[Subject, Position],
    states: Mapping[Subject, SubjectState],
) -> dict[Subject, Refold]:
    """Fold subjects again, each from its last state before a position; checkpoints behind it are forgotten.

    That is its state in `states` where it stands before the position, though other rules have folded it, or else a
    checkpoint. Events are read through a cursor and folded page by page: a long history costs time, not memory.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    refolds = await _from_past_states(session, rules, late, states)
    await feed_behind(session, rules, refolds)
    return refolds


async def feed_behind(
    session: Session, rules: Deployed, refolds: Mapping[Subject, Refold], read: Read = runs_back
) -> None:
    """Fold all events behind the past states of subjects, which `read` reads.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    for scope, subjects in groupby(sorted(refolds, key=_scope_first), key=itemgetter(1)):
        after = {subject: refolds[subject].since for subject in subjects}
        async for page in read(session, rules, scope, after):
            for subject, events in page:
                refolds[subject].feed(events)


def _scope_first(subject: Subject) -> tuple[str, ...]:
    return (subject.scope, *subject)


async def _from_past_states(
    session: Session, rules: Deployed, late: Mapping[Subject, Position], states: Mapping[Subject, SubjectState]
) -> dict[Subject, Refold]:
    """Return each subject at the last state that is known before a position; what is kept of behind it is forgotten."""
    pasts = {subject: past for subject in late if (past := _own(states.get(subject), late[subject])) is not None}
    others = {subject: position for subject, position in late.items() if subject not in pasts}
    rows = await session.rows(Checkpoint, "checkpoints_before", **position_columns(others)) if others else ()
    for point in rows:
        state = decode(point.state.encode())
        if state is not None:
            pasts[Subject(point.tenant_id, point.scope, point.subject)] = PastState(point.stamp, state)
    refolds = {subject: Refold(rules, subject, None, BEGINNING) for subject in late}
    refolds.update(await refolds_from(session, rules, pasts))
    void = {subject: BEGINNING for subject in pasts.keys() - others.keys() if refolds[subject].since == BEGINNING}
    if void:
        await session.run("forget_checkpoints", **position_columns(void))
    return refolds


def _own(known: SubjectState | None, position: Position) -> PastState | None:
    """Return the state of a subject where it stands before a position."""
    if known is None or known.state is None or known.state.mark is None or known.state.mark >= position:
        return None
    return PastState(known.stamp, known.state, known.folded)

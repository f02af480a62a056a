"""The judging stages: step where events come in order, fold anew from the ledger where they do not."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from dsl.event import Position
from dsl.fold import start, step
from dsl.outcome import canonical_order
from dsl.progress import State, encode
from worker.ledger import read_back

if TYPE_CHECKING:
    from dsl.compile import Plan
    from dsl.event import Event
    from dsl.outcome import Subject
    from dsl.progress import Grant
    from worker.batch import Attempt
    from worker.deployed import Deployed
    from worker.standing import Standing
    from worker.store import Session


class UnfoldableError(Exception):
    """The fold itself failed on somebody's events: a defect of ours, which must not stop everybody else."""


async def judge(session: Session, attempt: Attempt) -> None:
    """Move every subject that the new events concern, and collect what it has earned."""
    rules = attempt.batch.rules
    again: defaultdict[str, list[Subject]] = defaultdict(list)
    for subject, events in _by_subject(attempt).items():
        plan, standing = rules.program.scopes[subject.scope], attempt.standings[subject]
        events.sort(key=canonical_order)
        stamp = rules.stamps[subject.scope]
        if _in_order(stamp, standing, events[0]):
            attempt.stepped.extend((subject, grant) for grant in _walk(plan, stamp, standing, events))
        else:
            again[subject.scope].append(subject)
        standing.known = True
        attempt.touched.append(subject)
    for scope, subjects in again.items():
        attempt.refolded += len(subjects)
        folded = await refold(session, rules, scope, sorted(subjects))
        for subject, (state, grants) in folded.items():
            standing = attempt.standings[subject]
            standing.state, standing.stamp = state, rules.stamps[scope]
            attempt.supported[subject] = grants


def _by_subject(attempt: Attempt) -> dict[Subject, list[Event]]:
    concerned: defaultdict[Subject, list[Event]] = defaultdict(list)
    for item in attempt.fresh:
        for subject in item.subjects:
            concerned[subject].append(item.accepted.event)
    return concerned


def _in_order(stamp: str, standing: Standing, first: Event) -> bool:
    """Tell whether the fast path applies: nothing known, or a valid state that lies before all new events."""
    if standing.state is None or standing.stamp != stamp:
        return not standing.known
    mark = standing.state.mark
    return mark is None or mark < Position(first.at, first.id)


def _walk(plan: Plan, stamp: str, standing: Standing, events: list[Event]) -> list[Grant]:
    if standing.state is None or standing.stamp != stamp:
        standing.state, standing.stamp = start(plan), stamp
    grants: list[Grant] = []
    for event in events:
        grants.extend(_step(plan, standing.state, event))
    return grants


def _step(plan: Plan, state: State, event: Event) -> list[Grant]:
    try:
        return step(plan, state, event)
    except Exception as error:
        raise UnfoldableError(f"{plan.scope} {event.tenant}:{event.id}: {type(error).__name__}: {error}") from error


async def refold(
    session: Session, rules: Deployed, scope: str, subjects: list[Subject]
) -> dict[Subject, tuple[State, list[Grant]]]:
    """Fold subjects of one scope from the ledger; return state and everything earned of each.

    Events are read through a cursor and folded as they come: a long history costs time, not memory.
    """
    plan = rules.program.scopes[scope]
    folded: dict[Subject, tuple[State, list[Grant]]] = {subject: (start(plan), []) for subject in subjects}
    async for subject, event in read_back(session, rules, scope, subjects):
        state, grants = folded[subject]
        grants.extend(_step(plan, state, event))
    return folded


async def save_progress(session: Session, attempt: Attempt) -> None:
    """Write where the subjects touched stand now."""
    standings = {subject: attempt.standings[subject] for subject in attempt.touched}
    await write_progress(session, standings, now=attempt.batch.now)


async def write_progress(session: Session, standings: dict[Subject, Standing], *, now: int) -> None:
    """Write states, sorted by key; whoever has heard nothing has none."""
    rows = sorted(
        (*subject, standing.stamp, *standing.state.mark, encode(standing.state).decode())
        for subject, standing in standings.items()
        if standing.state is not None and standing.state.mark is not None
    )
    if rows:
        await session.run("upsert_progress", *(list(column) for column in zip(*rows, strict=True)), now)

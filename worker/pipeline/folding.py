"""The judging stages: step where events come in order, fold anew from the ledger where they do not.

A busy subject leaves a checkpoint of its state every so many events, so that a late event costs what lies behind it and
not the whole history. A checkpoint is valid as long as nothing has arrived before its mark, and is forgotten then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from itertools import chain, groupby
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dsl.compile import USER
from dsl.event import Position
from dsl.fold import absorb, start, walk
from dsl.outcome import Subject, canonical_order
from dsl.progress import Grant, State, decode, encode
from worker.contract.packing import pack, pack_ints
from worker.engine.state_cache import BEGINNING, Checkpoint, Refolded
from worker.pipeline.ledger import read_back
from worker.store import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.compile import Plan
    from dsl.event import Event
    from worker.engine.batch import Attempt, Concern
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import SubjectState
    from worker.pipeline.lookup import Past
    from worker.store import Session


CHECKPOINT_EVERY: Final = 64
"""Events of one subject between two checkpoints, at least."""
CHECKPOINT_BYTES: Final = 32
"""Bytes that a checkpoint may take for each event since the one before: a large state is written down less often."""
CHECKPOINTS_KEPT: Final = 16
"""Of one subject. What comes later than all of them is folded from the beginning."""


class UnfoldableError(Exception):
    """The fold itself failed on somebody's events: a defect of ours, which must not stop everybody else."""


async def judge(session: Session, attempt: Attempt) -> None:
    """Move every subject that the new events concern, and collect what it has earned."""
    rules = attempt.batch.rules
    for scope, subjects in move_in_place(attempt, _by_subject(attempt)).items():
        attempt.refolded.update(await refold(session, rules, scope, subjects, attempt.checkpoints))
    for subject, anew in attempt.refolded.items():
        standing = attempt.standings[subject]
        standing.state, standing.folded = anew.state, anew.folded
        standing.stamp = rules.stamps[subject.scope]


def move_in_place(
    attempt: Attempt, heard: Mapping[Subject, list[Event]], *, in_time: bool = False
) -> Mapping[str, Mapping[Subject, Position]]:
    """Move whoever can be moved by the events heard; return per scope whom to fold anew, and from where.

    `in_time` says that all of them are in order, and behind whatever was folded.
    """
    rules = attempt.batch.rules
    anew: defaultdict[str, dict[Subject, Position]] = defaultdict(dict)
    for subject, events in heard.items():
        standing = attempt.standings[subject]
        plan, stamp = rules.program.scopes[subject.scope], rules.stamps[subject.scope]
        if len(events) > 1 and not in_time:
            events.sort(key=canonical_order)
        valid = standing.state is not None and standing.stamp == stamp
        late = 0 if in_time else late_among(standing, events, valid=valid)
        first = Position(events[0].at, events[0].id) if late else BEGINNING
        if not valid and standing.known:
            anew[subject.scope][subject] = BEGINNING
            attempt.replanned.add(subject)
        elif late and not take_late(plan, standing, events[:late]):
            anew[subject.scope][subject] = first
        else:
            if late:
                attempt.absorbed[subject] = first
            if standing.state is None or not valid:
                standing.state, standing.stamp, standing.folded = start(plan), stamp, 0
            grants, points = _walk(plan, subject, stamp, standing, events[late:] if late else events)
            attempt.stepped.extend([(subject, grant) for grant in grants])
            attempt.checkpoints.extend(points)
        standing.known = True
        attempt.touched.append(subject)
    return anew


def _by_subject(attempt: Attempt) -> dict[Subject, list[Event]]:
    concerned: defaultdict[Concern, list[Event]] = defaultdict(list)
    for item in attempt.fresh:
        concerned[item.concern].append(item.event)
    heard: defaultdict[Subject, list[Event]] = defaultdict(list)
    for concern, events in concerned.items():
        for subject in concern.subjects:
            heard[subject].extend(events)
    return heard


def late_among(standing: SubjectState, events: list[Event], *, valid: bool = True) -> int:
    """Return how many of the events, which are in canonical order, lie before the last one that was folded."""
    mark = standing.state.mark if valid and standing.state is not None else None
    if mark is None or (mark.at, mark.id) < canonical_order(events[0]):
        return 0
    return bisect_left(events, (mark.at, mark.id), key=canonical_order)


def take_late(plan: Plan, standing: SubjectState, late: list[Event]) -> bool:
    """Take late events in place; False where one moves a grant, or may: the state is as it was then.

    Raises:
        UnfoldableError: the fold failed on one of them, and the state is not to be used any more.
    """
    state = standing.state
    if state is None:
        return False
    try:
        return absorb(plan, state, late)
    except Exception as error:
        raise _unfoldable(plan, late[0].tenant, late[0].id, error) from error


def _walk(
    plan: Plan, subject: Subject, stamp: str, standing: SubjectState | Refolded, events: list[Event]
) -> tuple[list[Grant], list[Checkpoint]]:
    """Step through events that come in order; return what they earned, and the checkpoints that fall due."""
    grants: list[Grant] = []
    points: list[Checkpoint] = []
    state = standing.state
    if state is None:
        raise AssertionError("whoever walks has a state")
    for at in range(0, len(events), CHECKPOINT_EVERY):
        run = events[at : at + CHECKPOINT_EVERY]
        try:
            grants += walk(plan, state, run)
        except Exception as error:
            raise _unfoldable(plan, run[0].tenant, "" if state.mark is None else state.mark.id, error) from error
        before, standing.folded = standing.folded, standing.folded + len(run)
        due = standing.folded // CHECKPOINT_EVERY > before // CHECKPOINT_EVERY
        if due and (point := _checkpoint(subject, stamp, state, standing.folded)) is not None:
            points.append(point)
            standing.folded = 0
    return grants, points


def _unfoldable(plan: Plan, tenant: str, event_id: str, error: Exception) -> UnfoldableError:
    return UnfoldableError(f"{plan.scope} {tenant}:{event_id}: {type(error).__name__}: {error}")


# -- folding anew -----------------------------------------------------------------------------------------------------


async def refold(
    session: Session,
    rules: Deployed,
    scope: str,
    late: Mapping[Subject, Position],
    checkpoints: list[Checkpoint],
) -> dict[Subject, Refolded]:
    """Fold subjects of one scope from the ledger, each from its last checkpoint before a position.

    New checkpoints are appended to those given. Events are read through a cursor and folded as they come: a long
    history costs time, not memory.
    """
    plan, stamp = rules.program.scopes[scope], rules.stamps[scope]
    folded = await _last_folded(session, rules, scope, late)
    after = {subject: anew.since for subject, anew in folded.items()}
    points: defaultdict[Subject, deque[Checkpoint]] = defaultdict(lambda: deque(maxlen=CHECKPOINTS_KEPT))
    async for page in read_back(session, rules, scope, after):
        for subject, told in groupby(page, itemgetter(0)):
            anew = folded[subject]
            grants, due = _walk(plan, subject, stamp, anew, [event for _, event in told])
            anew.grants.extend(grants)
            points[subject].extend(due)
    checkpoints.extend(chain.from_iterable(points.values()))
    return folded


def fold_ahead(
    rules: Deployed, pasts: Mapping[Subject, Past], events: Mapping[Subject, list[Event]]
) -> tuple[dict[Subject, Refolded], list[Checkpoint]]:
    """Fold users from what was looked up, with events that the ledger does not have yet.

    Should it have one of them after all, recording that will fail. Returned with the new checkpoints.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    plan, stamp = rules.program.scopes[USER], rules.stamps[USER]
    folded: dict[Subject, Refolded] = {}
    points: list[Checkpoint] = []
    for subject, past in pasts.items():
        anew = folded[subject] = Refolded(past.state or start(plan), past.since)
        run = sorted([*past.events, *events[subject]], key=canonical_order)
        anew.grants, due = _walk(plan, subject, stamp, anew, run)
        points.extend(due[-CHECKPOINTS_KEPT:])
    return folded, points


async def _last_folded(
    session: Session, rules: Deployed, scope: str, late: Mapping[Subject, Position]
) -> dict[Subject, Refolded]:
    """Return the last state that is known of each before a position; what is kept of behind it is forgotten."""
    folded = {subject: Refolded(start(rules.program.scopes[scope]), BEGINNING) for subject in late}
    for point in await session.rows(Checkpoint, "checkpoints_before", **position_columns(late)):
        state = decode(point.state.encode())
        if state is not None and point.stamp == rules.stamps[scope]:
            subject = Subject(point.tenant_id, point.scope, point.subject)
            folded[subject] = Refolded(state, Position(point.mark_at, point.mark_id))
    return folded


def _checkpoint(subject: Subject, stamp: str, state: State, folded: int) -> Checkpoint | None:
    """Return a checkpoint of a state, where that is small enough for so many events since the one before."""
    if state.mark is None:
        raise AssertionError("a state that has folded events has a mark")
    text = encode(state).decode()
    if len(text) > CHECKPOINT_BYTES * folded:
        return None
    return Checkpoint(*subject, state.mark.at, state.mark.id, stamp, text)


# -- saving -----------------------------------------------------------------------------------------------------------


async def save_progress(session: Session, attempt: Attempt) -> None:
    """Write where the subjects touched stand now; checkpoints that have not seen what was absorbed are forgotten."""
    standings = {subject: attempt.standings[subject] for subject in attempt.touched}
    for standing in standings.values():
        standing.unsaved = 0
    await write_progress(session, standings, attempt.checkpoints, now=attempt.batch.now, absorbed=attempt.absorbed)


async def write_progress(
    session: Session,
    standings: Mapping[Subject, SubjectState],
    checkpoints: Sequence[Checkpoint],
    *,
    now: int,
    absorbed: Mapping[Subject, Position] = MappingProxyType({}),
) -> None:
    """Write states and checkpoints, sorted by key; what is left of a subject that has heard nothing goes."""
    unheard = sorted(subject for subject, standing in standings.items() if _heard_nothing(standing))
    if unheard:
        await session.run("forget_progress", **columns("subjects", Subject._fields, unheard))
    if len(unheard) < len(standings):
        await session.run(
            "save_progress",
            **progress_columns(standings),
            **checkpoint_columns(checkpoints),
            **position_columns(absorbed),
            now=now,
        )


def _heard_nothing(standing: SubjectState) -> bool:
    return standing.state is not None and standing.state.mark is None


def progress_columns(standings: Mapping[Subject, SubjectState]) -> dict[str, object]:
    """Return the `progress` of `upsert_progress`."""
    rows = [
        (subject, standing, standing.state, standing.state.mark)
        for subject, standing in sorted(standings.items(), key=itemgetter(0))
        if standing.state is not None and standing.state.mark is not None
    ]
    packed = pack(
        [subject.tenant_id for subject, _, _, _ in rows],
        [subject.scope for subject, _, _, _ in rows],
        [subject.subject for subject, _, _, _ in rows],
        [standing.stamp for _, standing, _, _ in rows],
        [mark.id for _, _, _, mark in rows],
        [encode(state).decode() for _, _, state, _ in rows],
    )
    return {
        "progress.separator": packed.separator,
        **dict(zip(_PACKED, packed.columns, strict=True)),
        "progress.mark_at": pack_ints([mark.at for _, _, _, mark in rows]),
        "progress.folded": pack_ints([standing.folded for _, standing, _, _ in rows]),
        "progress.rows": len(rows),
    }


_PACKED: Final = tuple(f"progress.{field}" for field in ("tenant_id", "scope", "subject", "stamp", "mark_id", "state"))


def checkpoint_columns(checkpoints: Sequence[Checkpoint]) -> dict[str, object]:
    """Return the arguments of `insert_checkpoints` and of `prune_checkpoints`."""
    points = sorted(checkpoints)
    new = sorted(Counter(point[:3] for point in points).items())
    return {
        **columns("checkpoints", Checkpoint._fields, points),
        **columns("pruned", (*Subject._fields, "new"), [(*subject, number) for subject, number in new]),
        "checkpoints_kept": CHECKPOINTS_KEPT,
    }


def position_columns(positions: Mapping[Subject, Position]) -> dict[str, list[object]]:
    """Return the `positions` of `forget_checkpoints` and `checkpoints_before`."""
    rows = sorted((*subject, position.at, position.id) for subject, position in positions.items())
    return columns("positions", (*Subject._fields, "at", "id"), rows)

"""Subjects folded from their first events, without a lock, and compared with what is stored of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

from dsl.event import Position
from dsl.outcome import Subject, canonical_order
from dsl.progress import decode
from worker.engine.folding import Refold
from worker.engine.reconcile import Complete, Stored, reconcile
from worker.engine.state_cache import BEGINNING, Checkpoint
from worker.pipeline.ledger import read_back, states_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.event import Event
    from dsl.progress import State
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import SubjectState
    from worker.store import Session, Store


class Anew(NamedTuple):
    """Subjects, folded up to the end of a snapshot."""

    folded: dict[Subject, Refold]
    odd: set[Subject]
    """Those whose rows are not what their events make of them, or were written by earlier rules."""
    spoilt: set[Subject]
    """Those of them with a checkpoint that their events do not make."""


async def fold_without_lock(store: Store, rules: Deployed, piece: Sequence[Subject]) -> Anew:
    """Fold subjects of one scope in a snapshot, and compare; nothing is locked or written.

    Raises:
        UnfoldableError: the fold failed on an event.
        UnavailableError: the database went away.
    """
    asked = dict(zip(("tenant_ids", "scopes", "subjects"), map(list, zip(*piece, strict=True)), strict=True))
    async with store.transaction(patient=True) as session:
        await session.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        states = await states_of(session, rules, piece)
        checked = _Checkpoints(rules, await session.rows(Checkpoint, "checkpoints_of_subjects", **asked))
        unlocks: defaultdict[Subject, list[Stored]] = defaultdict(list)
        for row in await session.rows(Stored, "all_unlocks_of_subjects", **asked):
            unlocks[Subject(*row[:3])].append(row)
        folded = await fold_from_the_beginning(session, rules, piece, checked)
    odd = {
        subject
        for subject, refold in folded.items()
        if not states[subject].erased
        and (
            subject in checked.odd
            or _is_former(rules, states[subject], refold)
            or differs(rules, states[subject], refold)
            or _is_decided_otherwise(rules, refold, unlocks[subject])
        )
    }
    return Anew(folded, odd, odd & checked.odd)


def differs(rules: Deployed, stored: SubjectState, refold: Refold) -> bool:
    """Tell whether a stored state is another one; one of earlier rules says nothing of that."""
    if stored.stamp != rules.stamps[refold.subject.scope]:
        return stored.stamp == "" and refold.state.mark is not None
    return stored.state is None or stored.state != refold.state


def _is_former(rules: Deployed, stored: SubjectState, refold: Refold) -> bool:
    return stored.stamp not in {"", rules.stamps[refold.subject.scope]}


def _is_decided_otherwise(rules: Deployed, refold: Refold, stored: Sequence[Stored]) -> bool:
    """Tell whether something would be decided about unlocks."""

    def still_ruled(achievement: str, tier: str) -> bool:
        return rules.rules_on(refold.subject.scope, achievement, tier)

    new, changes = reconcile(refold.subject, stored, refold.grants, Complete(BEGINNING, still_ruled))
    return bool(new or changes)


async def fold_from_the_beginning(
    session: Session, rules: Deployed, piece: Sequence[Subject], checked: _Checkpoints | None = None
) -> dict[Subject, Refold]:
    """Return subjects folded from their first events; stored checkpoints are compared on the way.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    folded = {subject: Refold(rules, subject, None, BEGINNING) for subject in sorted(piece)}
    await feed(session, rules, folded, dict.fromkeys(folded, BEGINNING), checked)
    if checked is not None:
        checked.end()
    return folded


async def feed(
    session: Session,
    rules: Deployed,
    folded: Mapping[Subject, Refold],
    after: Mapping[Subject, Position],
    checked: _Checkpoints | None = None,
) -> None:
    """Fold the events of subjects of one scope behind a position.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    async for page in read_back(session, rules, min(after).scope, after):
        events: defaultdict[Subject, list[Event]] = defaultdict(list)
        for subject, event in page:
            events[subject].append(event)
        for subject, some in events.items():
            if checked is None:
                folded[subject].feed(some)
            else:
                checked.feed(folded[subject], some)


class _Checkpoints:
    """Stored checkpoints of the rules in force, each compared once the fold stands where it does."""

    def __init__(self, rules: Deployed, rows: Sequence[Checkpoint]) -> None:
        self.odd: set[Subject] = set()
        self._waiting: defaultdict[Subject, deque[tuple[Position, State | None]]] = defaultdict(deque)
        for row in rows:
            subject = Subject(row.tenant_id, row.scope, row.subject)
            if row.stamp == rules.stamps[row.scope]:
                place = Position(row.mark_at, row.mark_id)
                self._waiting[subject].append((place, decode(row.state.encode())))

    def feed(self, refold: Refold, events: list[Event]) -> None:
        """Fold events, and stop at each checkpoint."""
        waiting = self._waiting.get(refold.subject)
        while waiting and events and waiting[0][0] <= Position(events[-1].at, events[-1].id):
            place, state = waiting.popleft()
            end = bisect_right(events, (place.at, place.id), key=canonical_order)
            if end:
                refold.feed(events[:end])
                events = events[end:]
            if refold.state.mark != place or refold.state != state:
                self.odd.add(refold.subject)
        if events:
            refold.feed(events)

    def end(self) -> None:
        """Note checkpoints that lie behind all events."""
        self.odd |= {subject for subject, waiting in self._waiting.items() if waiting}

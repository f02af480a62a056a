"""Past states of subjects that are to be folded again: of the rules in force, or carried over from earlier ones."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from anyio import to_thread

from dsl.fold import walk
from dsl.progress import decode
from worker.engine.folding import PartFold, Refold, anew_of
from worker.engine.rule_set import RulesRefusedError, read_rules
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import runs_back, seen_events, subject_state
from worker.pipeline.rules_in_force import RuleSetRow
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsl.carry import Carriage, Carried
    from dsl.compile import Plan, Program
    from dsl.outcome import Subject
    from dsl.progress import State
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow, Read
    from worker.store import Session


class PastState(NamedTuple):
    """A state that some rules have folded, up to its mark."""

    stamp: str
    state: State
    folded: int = 0
    """Events since the latest checkpoint."""


async def know_former(session: Session, rules: Deployed, stamps: Iterable[tuple[str, str]]) -> None:
    """Read and compile the rules that have folded states of some scopes and stamps, where they are not known yet.

    In a thread: many rules take seconds.
    """
    asked = sorted(stamps)
    if all(rules.former.knows(scope, stamp) for scope, stamp in asked):
        return
    epochs = rules.former.needed([stamp for _, stamp in asked])
    rows = await session.rows(RuleSetRow, "rule_sets_of_epochs", epochs=epochs) if epochs else []
    found = {row.epoch: row for row in rows}
    await to_thread.run_sync(_compare, rules, [(epoch, found.get(epoch)) for epoch in epochs], asked)


def _compare(rules: Deployed, rows: Sequence[tuple[int, RuleSetRow | None]], asked: Sequence[tuple[str, str]]) -> None:
    with without_collector():
        for epoch, row in rows:
            rules.former.add(epoch, None if row is None else _program(row))
        for scope, stamp in asked:
            carriage = rules.former.carriage(scope, stamp)
            if carriage is not None:
                _ = carriage.without  # which is kept: the event loop asks for it


def _program(row: RuleSetRow) -> Program | None:
    try:
        return read_rules(row.files()).program
    except RulesRefusedError:  # by what is checked today
        return None


# -- for readers -------------------------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A stored state as the rules in force see it, with later events on top."""

    state: State | None
    """None where it cannot be read, or is stale."""
    stale: bool = False
    """Whether earlier rules have folded it, and it does not say all that is to be known."""


def recorded_state(
    rules: Deployed, subject: Subject, stamp: str, text: str, unsaved: Sequence[EventRow], *, built: bool
) -> Recorded:
    """Return a stored state, of the rules in force or carried over from earlier ones, which have to be known by now.

    `built` is whether no backfill is under way: then subjects with events of what is new were brought up to date.
    """
    scope, name = subject.scope, subject.subject
    if stamp == rules.stamps[scope]:
        return Recorded(subject_state(rules, scope, name, text, unsaved))
    carriage, state = rules.former.carriage(scope, stamp), decode(text.encode())
    if carriage is None or state is None or not (built or not (carriage.types or carriage.dropped)):
        return Recorded(None, stale=True)
    carried = carriage.without.of(state)
    if not carried.certain:
        return Recorded(None, stale=True)
    try:
        plan = rules.program.scopes[scope]
        walk(plan, carried.state, seen_events(rules, plan, name, unsaved))
    except Exception:  # noqa: BLE001 - to fold the subject again will show what is wrong
        return Recorded(None)
    return Recorded(carried.state)


# -- for refolds -------------------------------------------------------------------------------------------------------


async def refolds_from(
    session: Session, rules: Deployed, pasts: Mapping[Subject, PastState], read: Read = runs_back
) -> dict[Subject, Refold]:
    """Return subjects that are to be folded again from past states; those of void ones from the beginning.

    What rules in force make of the time before is read from the ledger where a state of earlier rules does not say it;
    `read` does that.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    made: dict[Subject, Refold] = {}
    stale: dict[Subject, PastState] = {}
    for subject, past in pasts.items():
        if past.stamp == rules.stamps[subject.scope]:
            made[subject] = _refold(rules, subject, past.state, past.folded)
        else:
            stale[subject] = past
    if stale:
        await know_former(session, rules, {(subject.scope, past.stamp) for subject, past in stale.items()})
        made.update(await _carried(session, rules, stale, read))
    return made


def _refold(rules: Deployed, subject: Subject, state: State, folded: int) -> Refold:
    return Refold(rules, subject, state, state.mark or BEGINNING, folded=folded)


class _Moved(NamedTuple):
    carriage: Carriage
    carried: Carried
    past: State

    def certain(self) -> bool:
        """Tell whether the past state says all by itself, if the subject has no events of what is new."""
        return self.carriage.without.of(self.past).certain


async def _carried(
    session: Session, rules: Deployed, stale: Mapping[Subject, PastState], read: Read
) -> dict[Subject, Refold]:
    made: dict[Subject, Refold] = {}
    parts: defaultdict[tuple[str, Plan], dict[Subject, _Moved]] = defaultdict(dict)
    for subject, past in stale.items():
        carriage = rules.former.carriage(subject.scope, past.stamp)
        if carriage is None:
            made[subject] = Refold(rules, subject, None, BEGINNING)
            continue
        carried = carriage.of(past.state)
        part = carriage.part(carried)
        if part is None:
            anew = anew_of(carriage, carried.state.mark, carried.unearned)
            since = carried.state.mark or BEGINNING
            made[subject] = Refold(rules, subject, carried.state, since, folded=past.folded, anew=anew)
        else:
            parts[subject.scope, part][subject] = _Moved(carriage, carried, past.state)
    for (scope, part), moved in parts.items():
        folds = {
            subject: PartFold(one.carriage, one.carried, part, certain=one.certain) for subject, one in moved.items()
        }
        after = dict.fromkeys(folds, BEGINNING)
        async for page in read(session, rules, scope, after, part=part):
            for subject, events in page:
                folds[subject].feed(events)
        for subject, fold in folds.items():
            state, anew = fold.merged()
            since = state.mark or BEGINNING
            made[subject] = Refold(rules, subject, state, since, folded=stale[subject].folded, anew=anew)
    return made

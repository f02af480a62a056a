"""Subjects folded ahead: read and folded without a lock, to be written once it is seen that nothing has touched them.

Why that is right: the rules are in force already, so whatever a live event does to a subject that hears it, its row of
`progress` is written under their stamp in the same transaction. A row that is as it was means that there was no such
event, late or not, and that all events that were read are all that there are, in whatever transactions they were read.
An erasure deletes the row of a user, and voids or deletes that of all other subjects.

A subject without a row would not show that. Of users, the last event that was folded shows it: an erasure deletes all
of a user's. Other subjects get a void row first, which no rules have folded.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.event import Position
from dsl.progress import decode
from worker.contract.partition import partition_of
from worker.engine.columns import FIELDLESS
from worker.engine.folding import Refold
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import in_roles, read_back, runs_back, types_heard
from worker.pipeline.past_states import PastState, refolds_from
from worker.pipeline.refold import feed_behind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsl.outcome import Subject
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import Read
    from worker.store import Session

NO_ROW: Final = 0
"""The version of a row that is not there."""


class Ahead(NamedTuple):
    """A subject that was folded, and what was read of it."""

    refold: Refold
    stamp: str
    """That of its stored state; empty where there is none, or a void one."""
    version: int
    """Number of the transaction that wrote its row."""
    witness: str
    """Id of an event that must be there still; empty where the row says all."""


class _Row(NamedTuple):
    n: int
    stamp: str | None
    state: str | None
    folded: int | None
    version: int | None


async def fold_ahead(
    session: Session, rules: Deployed, scope: str, subjects: Iterable[Subject], read: Read = runs_back
) -> dict[Subject, Ahead]:
    """Fold those of some subjects of a scope that are not up to date, and write nothing; `read` reads their events.

    Raises:
        UnfoldableError: the fold failed on an event.
    """
    asked = sorted(subjects)
    rows = {asked[row.n - 1]: row for row in await _rows(session, rules, scope, asked)}
    pasts: dict[Subject, PastState] = {}
    for subject, row in rows.items():
        state = decode(row.state.encode()) if row.stamp and row.state else None
        if state is not None and state.mark is not None:
            pasts[subject] = PastState(row.stamp or "", state, row.folded or 0)
    refolds = {subject: Refold(rules, subject, None, BEGINNING) for subject in rows.keys() - pasts.keys()}
    refolds.update(await refolds_from(session, rules, pasts, read))
    await feed_behind(session, rules, refolds, read)
    await find_marks(session, rules, refolds)
    return {subject: _ahead(refolds[subject], row) for subject, row in rows.items()}


async def _rows(session: Session, rules: Deployed, scope: str, asked: Sequence[Subject]) -> list[_Row]:
    names = {"tenant_ids": [one.tenant_id for one in asked], "subjects": [one.subject for one in asked]}
    return await session.rows(_Row, "states_ahead", scope=scope, stamp=rules.stamps[scope], **names)


def _ahead(refold: Refold, row: _Row) -> Ahead:
    mark, version = refold.state.mark, NO_ROW if row.version is None else row.version
    witness = mark.id if version == NO_ROW and mark is not None else ""
    return Ahead(refold, row.stamp or "", version, witness)


async def without_rows(
    session: Session, rules: Deployed, scope: str, subjects: Iterable[Subject]
) -> dict[int, list[Subject]]:
    """Return those of some subjects of a scope that need a void row before they are folded ahead, by partition."""
    found: defaultdict[int, list[Subject]] = defaultdict(list)
    if scope == USER:
        return found
    asked = sorted(subjects)
    for row in await _rows(session, rules, scope, asked):
        if row.version is None:
            subject = asked[row.n - 1]
            found[partition_of(*subject)].append(subject)
    return found


# -- marks -------------------------------------------------------------------------------------------------------------


class _Last(NamedTuple):
    n: int
    at: int
    id: str


async def find_marks(session: Session, rules: Deployed, refolds: Mapping[Subject, Refold]) -> None:
    """Look up the last events of carried states whose marks may be events that no rule hears any more."""
    asked = sorted(subject for subject, refold in refolds.items() if refold.mark_is_doubtful)
    for scope, some in groupby(sorted(asked, key=itemgetter(1)), key=itemgetter(1)):
        subjects = list(some)
        if in_roles(rules, scope):
            await _find_marks_in_roles(session, rules, subjects, refolds)
            continue
        query = {"user": "last_of_users", "tenant": "last_of_tenants"}.get(scope, "last_of_subjects")
        places: dict[str, object] = {
            "tenant_ids": [one.tenant_id for one in subjects],
            "subjects": [one.subject for one in subjects],
            "types": types_heard(rules, scope),
        }
        if scope not in FIELDLESS:
            places["scope"] = scope
        found = {subjects[row.n - 1]: Position(row.at, row.id) for row in await session.rows(_Last, query, **places)}
        # The last one in the ledger need not be the last one: what no rule hears may lie behind one that is archived.
        behind = {subject: found.get(subject, BEGINNING) for subject in subjects}
        async for page in read_back(session, rules, scope, behind):
            found.update({subject: Position(event.at, event.id) for subject, event in page})
        for subject in subjects:
            refolds[subject].mark(found.get(subject))


async def _find_marks_in_roles(
    session: Session, rules: Deployed, users: Sequence[Subject], refolds: Mapping[Subject, Refold]
) -> None:
    """Look up the same of users: which role an event has in a history, its payload says."""
    last: dict[Subject, Position] = {}
    async for page in read_back(session, rules, USER, dict.fromkeys(users, BEGINNING)):
        last.update({user: Position(event.at, event.id) for user, event in page})
    for user in users:
        refolds[user].mark(last.get(user))

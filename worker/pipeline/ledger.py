"""The ledger's stages: where everybody stands, what is new, what was told otherwise before, whom it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.event import Event
from dsl.fold import walk
from dsl.progress import State, decode
from worker.contract.partition import partition_of
from worker.contract.reasons import Reason
from worker.contract.sameness import StoredBody, same_body, stored_body
from worker.engine.batch import DeadLetter
from worker.engine.event_rows import pack_events
from worker.engine.state_cache import SubjectState
from worker.store import columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from dsl.event import Position
    from dsl.outcome import Subject
    from worker.engine.batch import Attempt, Concern, Item
    from worker.engine.rule_set import Deployed
    from worker.engine.state_cache import StateCache
    from worker.store import Session

FIELDLESS = frozenset({"user", "tenant"})
"""Scopes whose events the ledger finds by itself; those of a field are listed in `event_subject`."""
MEMBER: Final = ("tenant_id", "scope", "subject", "occurred_at", "event_id")
"""Columns of `event_subject`."""


# -- where subjects stand ----------------------------------------------------------------------------------------------


class _UserRow(NamedTuple):
    n: int
    stamp: str | None
    state: str | None
    folded: int | None
    unsaved: Sequence[EventRow] | None
    latest_at: int | None
    latest_id: str | None
    erased: bool


class _SubjectRow(NamedTuple):
    n: int
    stamp: str | None
    state: str | None
    folded: int | None
    known: bool


async def load_standings(session: Session, attempt: Attempt, memory: StateCache) -> None:
    """Find out where every user and subject of the batch stands, before anything of the batch is written."""
    missing: list[Subject] = []
    for subject in attempt.subjects:
        standing = memory.locked_state(attempt.hold, subject)
        if standing is None:
            missing.append(subject)
        else:
            attempt.standings[subject] = standing
    users = sorted(subject for subject in missing if subject.scope == "user")
    others = sorted(subject for subject in missing if subject.scope != "user")
    if users:
        attempt.standings.update(await standings_of(session, attempt.batch.rules, users))
    if others:
        await _load_others(session, attempt, others)
    for subject in missing:
        memory.add_locked(attempt.hold, subject, attempt.standings[subject])


async def standings_of(session: Session, rules: Deployed, users: Sequence[Subject]) -> dict[Subject, SubjectState]:
    """Return where users stand by the ledger."""
    standings: dict[Subject, SubjectState] = {}
    tenants, names = [user.tenant_id for user in users], [user.subject for user in users]
    plan = {"stamp": rules.stamps[USER], "types": types_heard(rules, USER)}
    for row in await session.rows(_UserRow, "standing_of_users", tenant_ids=tenants, user_ids=names, **plan):
        subject = users[row.n - 1]
        latest = None
        if row.latest_at is not None and row.latest_id is not None:
            latest = row.latest_at, row.latest_id
        unsaved = row.unsaved or ()
        standings[subject] = SubjectState(
            partition=partition_of(*subject),
            stamp=row.stamp or "",
            state=None if row.state is None else user_state(rules, row.state, unsaved),
            folded=(row.folded or 0) + len(unsaved),
            known=latest is not None,
            latest=latest,
            erased=row.erased,
            unsaved=None if row.state is None else len(unsaved),
        )
    return standings


def user_state(rules: Deployed, text: str, unsaved: Sequence[EventRow]) -> State | None:
    """Return a user's state as it was written, with what came since folded on top; that was granted when it came.

    None where another version wrote it, or the fold fails: who folds it anew will find out why.
    """
    state = decode(text.encode())
    if state is None or not unsaved:
        return state
    try:
        walk(rules.program.scopes[USER], state, [event_of(rules, *row) for row in unsaved])
    except Exception:  # noqa: BLE001 - whatever it is, it was no trouble when it came
        return None
    return state


async def _load_others(session: Session, attempt: Attempt, subjects: Sequence[Subject]) -> None:
    tenants, scopes, names = (list(column) for column in zip(*subjects, strict=True))
    asked = {"tenant_ids": tenants, "scopes": scopes, "subjects": names}
    for row in await session.rows(_SubjectRow, "standing_of_subjects", **asked):
        subject = subjects[row.n - 1]
        attempt.standings[subject] = SubjectState(
            partition=partition_of(*subject),
            stamp=row.stamp or "",
            state=_state(row.state),
            folded=row.folded or 0,
            known=row.known,
        )


def _state(text: str | None) -> State | None:
    return None if text is None else decode(text.encode())


# -- what is new -------------------------------------------------------------------------------------------------------


async def record_events(session: Session, attempt: Attempt) -> None:
    """Insert what is new; count duplicates, and dead-letter ids that were told otherwise before."""
    firsts, copies = _first_and_further(attempt)
    if not firsts:
        return
    attempt.fresh = rows = list(firsts.values())
    packed = pack_events([item.row for item in rows], lambda: rows)
    inserted = await session.run("insert_events", **packed, now=attempt.batch.now)
    known: dict[tuple[str, str], StoredBody] = {}
    if inserted < len(rows):
        known = await _there_before(session, rows, attempt.batch.now)
        attempt.fresh = [item for item in attempt.fresh if item.key not in known]
        copies = [*(firsts[key] for key in known), *copies]
    attempt.events = [item.event for item in attempt.fresh]
    # What the ledger had already is compared with the ledger, not with what came before it in the batch.
    for item in copies:
        _meet(attempt, item, known.get(item.key) or _body(firsts[item.key]))


def _first_and_further(attempt: Attempt) -> tuple[dict[tuple[str, str], Item], list[Item]]:
    """Return the first copy of each event of the batch, and all further ones; those of erased users are left out."""
    items = attempt.batch.items
    if any(standing.erased for standing in attempt.standings.values()):
        items = [item for item in items if not attempt.standings[item.concern.user].erased]
        attempt.erased = attempt.batch.size - len(items)
    firsts: dict[tuple[str, str], Item] = {}
    copies = [item for item in items if firsts.setdefault(item.key, item) is not item]
    return firsts, copies


async def _there_before(session: Session, rows: list[Item], now: int) -> dict[tuple[str, str], StoredBody]:
    """Return what the ledger had under the keys of rows before this transaction."""

    def there(n: int, *body: *BodyRow) -> tuple[tuple[str, str], StoredBody]:
        return rows[n - 1].key, StoredBody(*body)

    ids, tenants = [item.key[0] for item in rows], [item.key[1] for item in rows]
    return dict(await session.rows(there, "events_there_before", event_ids=ids, tenant_ids=tenants, now=now))


def _meet(attempt: Attempt, item: Item, known: StoredBody) -> None:
    """Count a copy of an event, or bury it where its id stands for something else already."""
    if same_body(item.event, item.written, known):
        attempt.duplicates += 1
        return
    detail = f"event_id: {item.event.id!r} is known with another body"
    attempt.letters.append(DeadLetter(item.message, item.element, Reason.ID_CONFLICT, detail, item.body))


def _body(item: Item) -> StoredBody:
    return stored_body(item.event, item.written)


async def list_members(session: Session, attempt: Attempt) -> None:
    """Note which events belong to which subject of a field scope."""
    rows = sorted(
        (*subject, item.event.at, item.event.id)
        for item in attempt.fresh
        for subject in item.concern.subjects
        if subject.scope not in FIELDLESS
    )
    if rows:
        await session.run("insert_event_subjects", **columns("members", MEMBER, rows))


def move_latest(attempt: Attempt) -> None:
    """Move each user's latest event, in the order of arrival, and count those that came late.

    After judging, which has to know where users stood before the batch.
    """
    standings: dict[Concern, SubjectState] = {}
    for item in attempt.fresh:
        event, concern = item.event, item.concern
        standing = standings.get(concern)
        if standing is None:
            standing = standings[concern] = attempt.standings[concern.user]
            standing.known = True
        at, latest = event.at, standing.latest
        if latest is None or at > latest[0] or (at == latest[0] and event.id > latest[1]):
            standing.latest = (at, event.id)
        else:
            attempt.late += 1


# -- reading back ------------------------------------------------------------------------------------------------------


async def read_back(
    session: Session, rules: Deployed, scope: str, after: Mapping[Subject, Position]
) -> AsyncIterator[list[tuple[Subject, Event]]]:
    """Yield the events of subjects of one scope that its plan hears: subject by subject, in canonical order, in pages.

    Of each subject, those behind a position.
    """
    query = {"user": "events_of_users", "tenant": "events_of_tenants"}.get(scope, "events_of_subjects")
    subjects, args = sorted(after), positions_heard(rules, scope, after)

    def told(n: int, *row: *EventRow) -> tuple[Subject, Event]:
        return subjects[n - 1], event_of(rules, *row)

    if scope not in FIELDLESS:
        args["scope"] = scope
    async for page in session.pages(told, query, **args):
        yield page


def positions_heard(rules: Deployed, scope: str, places: Mapping[Subject, Position]) -> dict[str, object]:
    """Return subjects of one scope with positions, sorted, and what its plan hears, as the arguments of a query."""
    subjects = sorted(places)
    return {
        "positions.tenant_id": [subject.tenant_id for subject in subjects],
        "positions.subject": [subject.subject for subject in subjects],
        "positions.at": [places[subject].at for subject in subjects],
        "positions.id": [places[subject].id for subject in subjects],
        "types": types_heard(rules, scope),
    }


def types_heard(rules: Deployed, scope: str) -> list[str]:
    """Return the event types that the plan of a scope hears, as the argument of a query."""
    return sorted(rules.program.scopes[scope].types)


BodyRow = tuple[str, str, int, int, str | None, str | None]
"""What the ledger has under an id, as in `StoredBody`."""
EventRow = tuple[str, str, str, str, int, int, str | None]
"""An event of the ledger: tenant, id, type, user, instant in microseconds, offset in seconds, payload."""


def event_of(rules: Deployed, *row: *EventRow) -> Event:
    """Return an event of the ledger as the rules of today see it."""
    tenant, event_id, event_type, user, at, offset, payload = row
    return Event(tenant, event_id, event_type, user, at, offset, rules.contract.fields(event_type, payload))

"""What the database knows: states of subjects, their past, their unlocks, and whether events are new."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from operator import itemgetter
from secrets import token_hex
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from dsl.compile import USER
from dsl.event import Event, Position
from dsl.fold import walk
from dsl.outcome import Subject
from dsl.progress import State, decode
from dsl.roles import PSEUDONYM, bases, is_pseudonym
from worker.contract.partition import partition_of
from worker.contract.sameness import StoredBody
from worker.engine.columns import FIELDLESS, RENAMED, columns, member_columns
from worker.engine.event_rows import pack_events
from worker.engine.reconcile import Stored, unlock_id
from worker.engine.state_cache import BEGINNING, SubjectState
from worker.pipeline.archive import archived_of_users, archived_sorted, may_name, merged
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
    from uuid import UUID

    from dsl.compile import Plan
    from worker.contract.pack import EventRow
    from worker.engine.batch import Item
    from worker.engine.decide import Earned
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session

PSEUDONYM_BYTES: Final = 16
"""Random ones of a pseudonym."""
BodyRow = tuple[str, str, int, int, str | None, str | None, bytes | None]
"""What the ledger has under an id, as in `StoredBody`."""


def event_of(rules: Deployed, *row: *EventRow) -> Event:
    """Return an event of the ledger as the rules of today see it."""
    tenant, event_id, event_type, user, at, offset, payload = row
    return Event(tenant, event_id, event_type, user, at, offset, rules.contract.fields(event_type, payload))


def seen_events(rules: Deployed, plan: Plan, name: str, rows: Iterable[EventRow]) -> list[Event]:
    """Return those of some events of the ledger that a plan hears, as they are in the history of one subject."""
    events = [event_of(rules, *row) for row in rows]
    if plan.scope != USER:
        return events
    return [event for event in (plan.roles.seen_by(one, name) for one in events) if event.type in plan.types]


# -- states ------------------------------------------------------------------------------------------------------------


class _UserRow(NamedTuple):
    n: int
    stamp: str | None
    state: str | None
    folded: int | None
    unsaved: Sequence[EventRow] | None
    latest_at: int | None
    latest_id: str | None
    named: bool
    erased: bool


class _SubjectRow(NamedTuple):
    n: int
    stamp: str | None
    state: str | None
    folded: int | None
    known: bool


async def states_of(session: Session, rules: Deployed, subjects: Iterable[Subject]) -> dict[Subject, SubjectState]:
    """Return the states of subjects of any scope."""
    asked = sorted(subjects)
    users = [subject for subject in asked if subject.scope == USER]
    others = [subject for subject in asked if subject.scope != USER]
    states = await states_of_users(session, rules, users) if users else {}
    if others:
        states.update(await _states_of_others(session, others))
    return states


async def states_of_users(session: Session, rules: Deployed, users: Sequence[Subject]) -> dict[Subject, SubjectState]:
    """Return the states of users."""
    states: dict[Subject, SubjectState] = {}
    tenants, names = [user.tenant_id for user in users], [user.subject for user in users]
    plan = {"stamp": rules.stamps[USER], "types": types_heard(rules, USER)}
    for row in await session.rows(_UserRow, "standing_of_users", tenant_ids=tenants, user_ids=names, **plan):
        subject = users[row.n - 1]
        latest = None
        if row.latest_at is not None and row.latest_id is not None:
            latest = row.latest_at, row.latest_id
        unsaved = seen_events(rules, rules.program.scopes[USER], subject.subject, row.unsaved or ())
        state = None if row.state is None else _with_unsaved(rules, row.state, unsaved)
        if state is not None and (mark := state.mark) is not None and (latest is None or latest < (mark.at, mark.id)):
            latest = mark.at, mark.id  # the event of another one, that names this user
        states[subject] = SubjectState(
            partition=partition_of(*subject),
            stamp=row.stamp or "",
            state=state,
            folded=(row.folded or 0) + len(unsaved),
            known=latest is not None or row.named,
            latest=latest,
            erased=row.erased,
            unsaved=None if row.state is None else len(unsaved),
        )
    return states


def subject_state(rules: Deployed, scope: str, name: str, text: str, unsaved: Sequence[EventRow]) -> State | None:
    """Return a state as it was written, of a user with later events folded on top; these were granted when they came.

    None where another version wrote it, or the fold fails: to fold the user again will show why.
    """
    return _with_unsaved(rules, text, seen_events(rules, rules.program.scopes[scope], name, unsaved))


def _with_unsaved(rules: Deployed, text: str, unsaved: Sequence[Event]) -> State | None:
    state = decode(text.encode())
    if state is None or not unsaved:
        return state
    try:
        walk(rules.program.scopes[USER], state, unsaved)
    except Exception:  # noqa: BLE001 - whatever it is, it was no trouble when the events came
        return None
    return state


async def _states_of_others(session: Session, subjects: Sequence[Subject]) -> dict[Subject, SubjectState]:
    states: dict[Subject, SubjectState] = {}
    tenants, scopes, names = (list(column) for column in zip(*subjects, strict=True))
    asked = {"tenant_ids": tenants, "scopes": scopes, "subjects": names}
    for row in await session.rows(_SubjectRow, "standing_of_subjects", **asked):
        subject = subjects[row.n - 1]
        states[subject] = SubjectState(
            partition=partition_of(*subject),
            stamp=row.stamp or "",
            state=None if row.state is None else decode(row.state.encode()),
            folded=row.folded or 0,
            known=row.known,
        )
    return states


# -- events ------------------------------------------------------------------------------------------------------------


async def insert_events(session: Session, items: Sequence[Item], *, now: int) -> dict[tuple[str, str], StoredBody]:
    """Insert what is new; return what the ledger had before: event id and tenant to the body there."""
    if not items:
        return {}
    packed = pack_events([item.row for item in items], lambda: items)
    if await session.run("insert_events", **packed, now=now) == len(items):
        return {}

    def there(n: int, *body: *BodyRow) -> tuple[tuple[str, str], StoredBody]:
        return items[n - 1].key, StoredBody(*body)

    ids, tenants = [item.key[0] for item in items], [item.key[1] for item in items]
    return dict(await session.rows(there, "events_there_before", event_ids=ids, tenant_ids=tenants, now=now))


async def pseudonyms_of(session: Session, users: Sequence[Subject]) -> dict[Subject, str]:
    """Return the names that stand for erased users, made up where there are none yet; their partitions are held."""
    tenants, names = [user.tenant_id for user in users], [user.subject for user in users]
    asked = {"tenant_ids": tenants, "user_ids": names}
    await session.run("insert_pseudonyms", **asked, pseudonyms=[new_pseudonym() for _ in users])
    return dict(zip(users, await session.rows(str, "pseudonyms_of_users", **asked), strict=True))


def new_pseudonym() -> str:
    """Return a random name for an erased user."""
    return PSEUDONYM + token_hex(PSEUDONYM_BYTES)


async def record_renamed(session: Session, items: Iterable[Item]) -> None:
    """Note what events in which pseudonyms stand for erased users were as received."""
    rows = sorted((*item.key, item.renamed.digest) for item in items if item.renamed is not None)
    if rows:
        await session.run("insert_renamed_events", **columns("renamed", RENAMED, rows))


async def insert_members(session: Session, items: Iterable[Item]) -> None:
    """Note which events belong to which subject of a field scope."""
    members = member_columns(items)
    if members["members.event_id"]:
        await session.run("insert_event_subjects", **members)


async def read_back(
    session: Session,
    rules: Deployed,
    scope: str,
    after: Mapping[Subject, Position],
    *,
    part: Plan | None = None,
) -> AsyncIterator[list[tuple[Subject, Event]]]:
    """Yield the events of subjects of one scope that its plan hears: subject by subject, in canonical order, in pages.

    Of each subject, those behind a position; of all types that the plan hears, or a part of it.
    """
    users = "events_of_users_in_roles" if in_roles(rules, scope) else "events_of_users"
    query = {"user": users, "tenant": "events_of_tenants"}.get(scope, "events_of_subjects")
    subjects, asked = sorted(after), positions_heard(rules, scope, after)
    if part is not None:
        asked["types"] = sorted(bases(part.types))
    roles = rules.program.roles if in_roles(rules, scope) else None

    def shape(n: int, *row: *EventRow) -> tuple[Subject, Event]:
        subject, event = subjects[n - 1], event_of(rules, *row)
        return subject, event if roles is None else roles.seen_by(event, subject.subject)

    if scope not in FIELDLESS:
        asked["scope"] = scope
    heard = (rules.program.scopes[scope] if part is None else part).types
    hot = session.pages(shape, query, **asked)
    async for page in merged(hot, _archived(session, rules, scope, subjects, asked), _in_order):
        yield page if roles is None else [one for one in page if one[1].type in heard]


Run: TypeAlias = "tuple[Subject, list[Event]]"
"""Some events of a subject that follow each other."""


async def runs_back(
    session: Session,
    rules: Deployed,
    scope: str,
    after: Mapping[Subject, Position],
    *,
    part: Plan | None = None,
) -> AsyncIterator[list[Run]]:
    """Do what `read_back` does, with the events of a subject together as far as a page has them."""
    async for page in read_back(session, rules, scope, after, part=part):
        yield [(subject, [event for _, event in some]) for subject, some in groupby(page, itemgetter(0))]


class Read(Protocol):
    """Reads events of subjects, as `runs_back` does."""

    def __call__(
        self,
        session: Session,
        rules: Deployed,
        scope: str,
        after: Mapping[Subject, Position],
        *,
        part: Plan | None = None,
    ) -> AsyncIterator[list[Run]]:
        """Yield the events of subjects of one scope behind a position each."""
        ...


def _in_order(row: tuple[Subject, Event]) -> tuple[object, ...]:
    subject, event = row
    return *subject, event.at, event.id


async def _archived(
    session: Session, rules: Deployed, scope: str, subjects: Sequence[Subject], asked: dict[str, object]
) -> AsyncIterator[list[tuple[Subject, Event]]]:
    """Yield what the archive has of that."""
    if in_roles(rules, scope):
        async for page in _archived_in_roles(session, rules, subjects, asked):
            yield page
        return
    if scope == USER:
        pages = archived_of_users(session, asked)
    elif scope in FIELDLESS:
        pages = archived_sorted(session, "packs_of_tenants", asked, _everything)
    else:

        def is_of(n: int, row: EventRow) -> bool:
            return (scope, subjects[n - 1].subject) in rules.program.subjects(event_of(rules, *row))

        pages = archived_sorted(session, "packs_of_subjects", asked, is_of)
    async for page in pages:
        yield [(subjects[n - 1], event_of(rules, *row)) for n, row in page]


async def _archived_in_roles(
    session: Session, rules: Deployed, users: Sequence[Subject], asked: dict[str, object]
) -> AsyncIterator[list[tuple[Subject, Event]]]:
    """Yield archived events that users did, and those of others that name them, as they are in the history of each."""
    roles = rules.program.roles

    def is_of(n: int, row: EventRow) -> bool:
        name = users[n - 1].subject
        return row[3] == name or (may_name(row, name) and name in roles.named(event_of(rules, *row)))

    async for page in archived_sorted(session, "packs_of_users_in_roles", asked, is_of):
        yield [(users[n - 1], roles.seen_by(event_of(rules, *row), users[n - 1].subject)) for n, row in page]


def _everything(_n: int, _row: EventRow) -> bool:
    return True


class TooManyEventsError(Exception):
    """A subject has more events than the reader takes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,} events")


async def events_of(session: Session, rules: Deployed, subject: Subject, *, most: int | None = None) -> list[Event]:
    """Return all events of a subject that its plan hears, in canonical order.

    Raises:
        TooManyEventsError: there are more than `most`.
    """
    events: list[Event] = []
    async for page in read_back(session, rules, subject.scope, {subject: BEGINNING}):
        events.extend(event for _, event in page)
        if most is not None and len(events) > most:
            raise TooManyEventsError(most)
    return events


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
    """Return the event types that the plan of a scope hears, in whatever role, as the argument of a query."""
    return sorted(bases(rules.program.scopes[scope].types))


def in_roles(rules: Deployed, scope: str) -> bool:
    """Tell whether subjects of a scope have events that others did and that name them."""
    return scope == USER and bool(rules.program.roles.types)


def subjects_heard(rules: Deployed, scope: str, types: Collection[str] | None = None) -> tuple[str, dict[str, object]]:
    """Return the query for subjects with events that the plan of a scope hears, and its arguments beside the page.

    Of all types that the plan hears, or of some; a field scope goes by its name alone. It pages by key: the subjects
    behind (`after_tenant`, `after_subject`), `limit` of them.
    """
    users = "users_in_roles" if in_roles(rules, scope) else "users_of_types"
    query = {"user": users, "tenant": "tenants_of_types"}.get(scope, "subjects_of_scope")
    if scope not in FIELDLESS:
        return query, {"scope": scope}
    return query, {"types": types_heard(rules, scope) if types is None else sorted(bases(types))}


async def clock_of(session: Session, settings: Settings, now: int) -> int:
    """Return the instant at which unlocks settle: `now`, or the latest in the ledger by the clock of the stream."""
    if settings.clock is Clock.WALL:
        return now
    return await session.value(int, "latest_instant") or 0


# -- unlocks -----------------------------------------------------------------------------------------------------------


async def unlocks_of(session: Session, subjects: Iterable[Subject]) -> dict[Subject, list[Stored]]:
    """Return all unlocks of subjects, under locks."""
    asked = sorted(subjects)
    if not asked:
        return {}
    tenants, scopes, names = (list(column) for column in zip(*asked, strict=True))
    return _by_subject(
        await session.rows(Stored, "unlocks_of_subjects", tenant_ids=tenants, scopes=scopes, subjects=names)
    )


async def unlocks_to_compare(
    session: Session, since: Mapping[Subject, Position], rulings: Collection[tuple[str, str]], ids: Sequence[UUID]
) -> dict[Subject, list[Stored]]:
    """Return those unlocks of subjects that lie behind a position, are of some rulings, or are named; under locks.

    No others have a part in a comparison with what is earned behind that position, and of these rulings at all.
    """
    subjects = sorted(since)
    asked = {
        "tenant_ids": [one.tenant_id for one in subjects],
        "scopes": [one.scope for one in subjects],
        "subjects": [one.subject for one in subjects],
        "after_at": [since[one].at for one in subjects],
        "after_id": [since[one].id for one in subjects],
        "rulings": sorted(f"{achievement}.{tier}" for achievement, tier in rulings),
    }
    return _by_subject(await session.rows(Stored, "unlocks_to_compare", **asked, unlock_ids=ids))


async def unlocks_of_keys(session: Session, earned: Iterable[Earned]) -> dict[Subject, list[Stored]]:
    """Return those of some unlocks that are there, under locks; seldom any.

    What was renamed at an erasure has its id from before: of these subjects it returns all.
    """
    asked = [*earned]
    if not asked:
        return {}
    ids = sorted(unlock_id(*one) for one in asked)
    found = _by_subject(await session.rows(Stored, "unlocks_of_keys", unlock_ids=ids))
    renamed = {subject for subject, grant in asked if is_pseudonym(grant.occurrence or "")}
    found.update(await unlocks_of(session, renamed))
    return found


def _by_subject(rows: Iterable[Stored]) -> dict[Subject, list[Stored]]:
    found: defaultdict[Subject, list[Stored]] = defaultdict(list)
    for row in rows:
        found[Subject(*row[:3])].append(row)
    return found

"""Members of field scopes, when rules change: events are assigned to their teams before the rules are in force.

So are events to the users that they name beside the one who did them: members of the scope `user`, by the contracts of
events alone, whether or not a rule asks for them.

What a plan does not hear is passed over when it is read, so members may be there too early, and may stay too long:

    before the switch   members for event types that a scope hears for the first time, in small transactions
    in the switch       those of events that came meanwhile: few, in the last pages of the ledger
    behind the switch   a look at all events since the beginning: whether one lies in an earlier page, which a vacuum
                        had made room in; then members of types that no scope hears any more go

Where a type is heard as before, and the field of its scope is declared otherwise, members of the type would be wrong on
one side of the switch. They alone are written anew in the switch itself.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from dsl.compile import USER
from dsl.outcome import Subject
from dsl.roles import is_pseudonym
from worker.contract.partition import partition_of
from worker.engine.batch import MAX_SUBJECT_BYTES
from worker.engine.columns import FIELDLESS, MEMBER, columns, subject_columns
from worker.engine.state_cache import BEGINNING
from worker.pipeline.archive import archived_of_types
from worker.pipeline.fence import hold_partitions
from worker.pipeline.ledger import event_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping

    from dsl.compile import Program
    from dsl.event import Event, Position
    from dsl.ruleset import RuleSet
    from dsl.schema import Rules
    from worker.engine.rule_set import Deployed
    from worker.store import Session, Store

MEMBERS_AT_ONCE: Final = 5000
"""Rows of `event_subject` that are written with one statement."""
FEW: Final = 500
"""Events that the switch may read without being noticed."""
ROUNDS: Final = 5
"""Of catching up before the switch, at the most."""
PACKED_MEMBER: Final = ("tenant_id", "scope", "subject", "user_id")
"""Columns of `packed_member`."""
BACK_PAGES: Final = 256
"""Pages before the end of the ledger that may still have had room: 2 MiB."""

log = structlog.get_logger()

_Row = tuple[str, str, str, int, str]
"""A row of `event_subject`."""


class Difference(NamedTuple):
    """How the members of field scopes differ between two rule sets: event types by scope."""

    heard: Mapping[str, frozenset[str]]
    """Heard for the first time."""
    moved: Mapping[str, frozenset[str]]
    """Heard before and now, and the field of the scope is declared otherwise."""
    unheard: bool
    """Whether anything is heard no more."""
    names_more: bool
    """Whether more fields of payloads name users."""

    @property
    def changes(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.heard or self.moved)


def difference(before: RuleSet | None, now: RuleSet) -> Difference:
    """Return how the members of field scopes differ; None stands for rules that cannot be read any more."""
    old, new = _heard(before), _heard(now)
    heard = {scope: types - old.get(scope, frozenset()) for scope, types in new.items()}
    moved = {
        scope: frozenset(
            name
            for name in types & old.get(scope, frozenset())
            if before is None or _field(before.rules, name, scope) != _field(now.rules, name, scope)
        )
        for scope, types in new.items()
    }
    unheard = before is None or any(types - new.get(scope, frozenset()) for scope, types in old.items())
    # A user who is erased while members are written may be one of them.
    unheard |= bool(new.get(USER, frozenset()) - old.get(USER, frozenset()))
    return Difference(
        {scope: types for scope, types in heard.items() if types},
        {scope: types for scope, types in moved.items() if types},
        unheard,
        not _naming(now) <= _naming(before),
    )


def _naming(ruleset: RuleSet | None) -> frozenset[str]:
    return frozenset() if ruleset is None or ruleset.program is None else ruleset.program.roles.fields


def _heard(ruleset: RuleSet | None) -> dict[str, frozenset[str]]:
    if ruleset is None or ruleset.program is None:
        return {}
    return _members_of(ruleset.program)


def _members_of(program: Program) -> dict[str, frozenset[str]]:
    """Return the event types that have members, by scope."""
    teams = {scope: plan.types for scope, plan in program.scopes.items() if scope not in FIELDLESS}
    return {**teams, USER: program.roles.naming}


def _field(rules: Rules, event: str, name: str) -> str:
    schema = rules.events.get(event)
    if name == USER:
        return "" if schema is None else ", ".join(sorted(schema.users))
    field = None if schema is None else schema.fields.get(name)
    return "" if field is None else f"{field.type}{field.bound}"


class Mark(NamedTuple):
    """How far the ledger was: its pages, and the oldest transaction that may not have been over."""

    pages: int
    xid: str


async def mark_of(store: Store) -> Mark:
    """Return how far the ledger is."""
    async with store.transaction() as session:
        mark = await session.row(Mark, "ledger_mark")
    if mark is None:
        raise AssertionError("a query without FROM has one row")
    return mark


# -- before the switch -------------------------------------------------------------------------------------------------


async def write_members(store: Store, rules: Deployed, heard: Mapping[str, frozenset[str]]) -> tuple[Mark, Mark]:
    """Write members for event types that scopes hear for the first time; return marks of the beginning and of the end.

    What came in between is written too, until hardly anything does.
    """
    first = mark = await mark_of(store)
    insert = partial(_insert_alone, store)
    if not heard:
        return first, mark
    async with store.transaction(patient=True) as reading:
        await _write(reading, rules, heard, insert, "events_of_types", types=_types(heard))
        await _write_archived(rules, heard, reading)
    for _ in range(ROUNDS):
        before, mark = mark, await mark_of(store)
        async with store.transaction(patient=True) as reading:
            found = await _write(reading, rules, heard, insert, "events_arrived", **_since(before), types=_types(heard))
        if found <= FEW:
            break
    return first, mark


async def _write(
    reading: Session,
    rules: Deployed,
    heard: Mapping[str, Collection[str]],
    insert: Callable[[list[_Row]], Awaitable[None]],
    query: str,
    /,
    **asked: object,
) -> int:
    """Write the members of events that a query finds, many at once; return how many events it has found."""
    found, rows = 0, list[_Row]()
    async for page in reading.pages(partial(event_of, rules), query, **asked):
        found += len(page)
        rows.extend(row for event in page for row in _members(rules, event, heard))
        if len(rows) >= MEMBERS_AT_ONCE:
            await insert(rows)
            rows.clear()
    if rows:
        await insert(rows)
    return found


async def _write_archived(rules: Deployed, heard: Mapping[str, Collection[str]], session: Session) -> None:
    """Note in whose archived events those of field scopes are. The ledger was read before, as `merged` explains."""
    async for page in archived_of_types(session, _types(heard)):
        rows = {
            (tenant, scope, subject, event.user)
            for event in (event_of(rules, *row) for row in page)
            for tenant, scope, subject, *_ in _members(rules, event, heard)
        }
        if rows:
            await session.run("insert_packed_members", **columns("members", PACKED_MEMBER, sorted(rows)))


async def _insert_alone(store: Store, rows: list[_Row]) -> None:
    """Insert members in a transaction of their own."""
    async with store.transaction(patient=True) as session:
        await _insert(session, rows)


async def _insert(session: Session, rows: Iterable[_Row]) -> None:
    await session.run("insert_members_of_events", **columns("members", MEMBER, sorted(rows)))


def _types(heard: Mapping[str, Iterable[str]]) -> list[str]:
    return sorted(frozenset[str]().union(*heard.values()))


def _since(mark: Mark) -> dict[str, object]:
    return {"page": max(0, mark.pages - BACK_PAGES), "xid": mark.xid}


def _members(rules: Deployed, event: Event, heard: Mapping[str, Collection[str]]) -> Iterator[_Row]:
    for scope, subject in rules.program.subjects(event):
        if scope != USER and event.type in heard.get(scope, ()) and len(subject.encode()) <= MAX_SUBJECT_BYTES:
            yield event.tenant, scope, subject, event.at, event.id
    if event.type in heard.get(USER, ()):
        for user in rules.program.roles.named(event):
            if not is_pseudonym(user):
                yield event.tenant, USER, user, event.at, event.id


# -- in the switch -----------------------------------------------------------------------------------------------------


async def write_late_members(session: Session, rules: Deployed, wanted: Difference, mark: Mark) -> None:
    """Write the members of events that came since a mark; no event may come in meanwhile."""
    insert = partial(_insert, session)
    if wanted.heard:
        types = _types(wanted.heard)
        await _write(session, rules, wanted.heard, insert, "events_arrived", **_since(mark), types=types)
    for scope, types in sorted(wanted.moved.items()):
        await session.run("forget_members_of_types", scope=scope, types=sorted(types))
        await _write(session, rules, {scope: types}, insert, "events_of_types", types=sorted(types))
        await _write_archived(rules, {scope: types}, session)


# -- behind the switch -------------------------------------------------------------------------------------------------


async def add_missing_members(
    store: Store, rules: Deployed, heard: Mapping[str, Collection[str]], xid: str
) -> dict[Subject, Position]:
    """Write members that the switch has not seen; return their subjects, which are to be folded from the beginning.

    Raises:
        RulesMovedError: other rules came into force.
    """
    still = {scope: types for scope, types in heard.items() if scope in rules.program.scopes}
    found: dict[Subject, Position] = {}
    if not still:
        return found
    async with store.transaction(patient=True) as reading:
        pages = reading.pages(partial(event_of, rules), "events_arrived", page=0, xid=xid, types=_types(still))
        async for page in pages:
            rows = sorted(row for event in page for row in _members(rules, event, still))
            asked = columns("members", MEMBER, rows)
            missing = [] if not rows else await reading.rows(_row, "missing_members", **asked)
            by_partition: defaultdict[int, list[_Row]] = defaultdict(list)
            for row in missing:
                by_partition[partition_of(*row[:3])].append(row)
            for partition, some in sorted(by_partition.items()):
                found.update(await _add(store, rules, partition, some))
    return found


def _row(tenant_id: str, scope: str, subject: str, at: int, event_id: str) -> _Row:
    return tenant_id, scope, subject, at, event_id


async def _add(store: Store, rules: Deployed, partition: int, rows: list[_Row]) -> dict[Subject, Position]:
    subjects = {Subject(*row[:3]) for row in rows}

    async with store.transaction(patient=True) as session:
        await hold_partitions(session, [partition], epoch=rules.epoch)
        await _insert(session, rows)
        await session.run("forget_progress", **subject_columns(subjects))
    return dict.fromkeys(subjects, BEGINNING)


async def forget_unheard(store: Store, rules: Deployed) -> None:
    """Delete members of event types that no scope hears, page by page."""
    pairs = [(scope, name) for scope, types in sorted(_members_of(rules.program).items()) for name in sorted(types)]
    after: _Row | None = ("", "", "", BEGINNING.at, "")
    while after is not None:
        asked = dict(zip(("after_tenant", "after_scope", "after_subject", "after_at", "after_id"), after, strict=True))
        async with store.transaction(patient=True) as session:
            after = await session.row(
                _row,
                "forget_unheard_members",
                **asked,
                **columns("heard", ("scope", "type"), pairs),
                limit=MEMBERS_AT_ONCE,
            )

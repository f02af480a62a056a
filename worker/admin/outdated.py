"""Who is not up to date with the rules in force: the subjects that a backfill has to visit.

The stamp of a stored state says which rules have folded it. A state of earlier rules is up to date all the same where
it is carried over without a doubt (dsl/carry.py): its row stays as it is. So a backfill visits

    subjects with events of types that something new reads; only these types are looked for;
    subjects whose state says that something is judged otherwise, or does not say enough; no events are read for that;
    subjects with an unlock of what was not judged before, and those with something left of earlier rules and no state;
    subjects whose last event is one that no rule hears any more: their progress is measured at another one.

Where the rules before are not known, it visits all; also where all were up to date before it began, since it was asked
to look again. All of this is read without a lock; what brings a subject up to date looks again under the lock of its
partition.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.fold import walk
from dsl.outcome import Subject
from dsl.progress import decode
from worker.contract.partition import partition_of
from worker.engine.columns import FIELDLESS
from worker.pipeline.ledger import event_of, types_heard
from worker.pipeline.past_states import know_former
from worker.pipeline.rules_in_force import Aggregate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.carry import Carriage
    from dsl.compile import Plan
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session, Store

PAGE: Final = 2000
"""Subjects that are looked at together."""
PIECE: Final = 50
"""Subjects of one transaction."""


class _Named(NamedTuple):
    tenant_id: str
    subject: str


class _State(NamedTuple):
    tenant_id: str
    subject: str
    stamp: str
    state: str
    unsaved: Sequence[EventRow]


class Stamp(NamedTuple):
    """Which rules have folded states of a scope."""

    scope: str
    stamp: str


class Past(NamedTuple):
    """What is known of the rules before, for one scope."""

    carriages: Mapping[str, Carriage | None]
    """How states are carried, by the stamps that there are beside that of today; None where they are void."""
    base: Carriage | None
    """What differs from the last plan under which all subjects were up to date; None where there is none."""

    @property
    def known(self) -> Sequence[Carriage]:
        """Return the carriages that there are."""
        found = [carriage for carriage in self.carriages.values() if carriage is not None]
        return found if self.base is None else [*found, self.base]

    @property
    def types(self) -> AbstractSet[str]:
        """Return the event types that something new reads."""
        return frozenset[str]().union(*(carriage.types for carriage in self.known))


async def past_of(session: Session, rules: Deployed, scope: str) -> Past:
    """Return what is known of the rules before.

    Raises:
        UnavailableError: the database is away.
    """
    current = rules.stamps[scope]
    stamps = {row.stamp for row in await session.rows(Stamp, "stamps_of_progress") if row.scope == scope} - {current}
    rows = [row for row in await session.rows(Aggregate, "aggregates") if row.scope == scope]
    complete = {row.epoch: f"{row.fingerprint}@{row.epoch}" for row in rows if row.status == "retired"}
    building = any(row.status == "building" for row in rows)
    last = complete[max(complete)] if complete and building else ""
    await know_former(session, rules, [(scope, stamp) for stamp in (*stamps, last)])
    base = rules.former.carriage(scope, last)
    return Past({stamp: rules.former.carriage(scope, stamp) for stamp in stamps}, base)


async def outdated(store: Store, rules: Deployed, scope: str) -> AsyncIterator[list[Subject]]:
    """Yield subjects of a scope that may not be up to date, in pieces of one partition; some may come twice.

    Raises:
        UnavailableError: the database went away.
    """
    async with store.transaction(patient=True) as session:
        past = await past_of(session, rules, scope)
    async for page in _pages(store, rules, scope, past):
        by_partition: defaultdict[int, list[Subject]] = defaultdict(list)
        for subject in page:
            by_partition[partition_of(*subject)].append(subject)
        for subjects in by_partition.values():
            for at in range(0, len(subjects), PIECE):
                yield subjects[at : at + PIECE]


async def _pages(store: Store, rules: Deployed, scope: str, past: Past) -> AsyncIterator[list[Subject]]:
    everyone = past.base is None
    if everyone or past.types:
        async for page in _hearing(store, rules, scope, None if everyone else past.types):
            yield page
    if any(carriage is None or carriage.changed for carriage in past.carriages.values()) or _some_are_aged(rules, past):
        async for page in _judged_otherwise(store, rules, scope, past):
            yield page
    async for page in _left(store, rules, scope, past):
        yield page
    if dropped := frozenset[str]().union(*(carriage.dropped for carriage in past.known)):
        asked: dict[str, object] = {"scope": scope, "stamp": rules.stamps[scope], "types": sorted(dropped)}
        async for page in _keyed(store, scope, "states_marked_by_types", asked):
            yield page


def _some_are_aged(rules: Deployed, past: Past) -> bool:
    return any(rules.former.aged(stamp) for stamp in past.carriages)


async def _hearing(
    store: Store, rules: Deployed, scope: str, types: AbstractSet[str] | None
) -> AsyncIterator[list[Subject]]:
    """Yield subjects with events of some types, or of all that the plan hears, and without a state of this plan."""
    heard: Iterable[str] = types_heard(rules, scope) if types is None else types
    query = {"user": "users_of_types", "tenant": "tenants_of_types"}.get(scope, "subjects_of_scope")
    asked: dict[str, object] = {"types": sorted(heard)} if scope in FIELDLESS else {"scope": scope}
    async for page in _keyed(store, scope, query, asked):
        async with store.transaction(patient=True) as session:
            yield await _stale(session, rules, scope, page)


async def _stale(session: Session, rules: Deployed, scope: str, page: Sequence[Subject]) -> list[Subject]:
    tenants, names = [one.tenant_id for one in page], [one.subject for one in page]
    asked = {"tenant_ids": tenants, "subjects": names, "scope": scope, "stamp": rules.stamps[scope]}
    return [Subject(row.tenant_id, scope, row.subject) for row in await session.rows(_Named, "stale_subjects", **asked)]


async def _left(store: Store, rules: Deployed, scope: str, past: Past) -> AsyncIterator[list[Subject]]:
    """Yield subjects with checkpoints or a supported unlock and no state, and those with unlocks of what is new."""
    judged = [f"{achievement}.{tier}" for achievement, tier in rules.ruled(scope)]
    async for page in _keyed(store, scope, "subjects_without_state", {"scope": scope, "judged": judged}):
        yield page
    new = {f"{name}.{tier}" for carriage in past.known for name, tier in carriage.ruled_anew}
    if new:
        asked: dict[str, object] = {"scope": scope, "judged": sorted(new), "stamp": rules.stamps[scope]}
        async for page in _keyed(store, scope, "subjects_judged_anew", asked):
            yield page


async def _keyed(store: Store, scope: str, query: str, asked: dict[str, object]) -> AsyncIterator[list[Subject]]:
    """Yield what a query finds that pages by key."""
    after = _Named("", "")
    while True:
        async with store.transaction(patient=True) as session:
            place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
            page = await session.rows(_Named, query, **asked, **place, limit=PAGE)
        if page:
            yield [Subject(row.tenant_id, scope, row.subject) for row in page]
        if len(page) < PAGE:
            return
        after = page[-1]


# -- states ------------------------------------------------------------------------------------------------------------


async def _judged_otherwise(store: Store, rules: Deployed, scope: str, past: Past) -> AsyncIterator[list[Subject]]:
    """Yield subjects whose stored states say that something is judged otherwise, or do not say enough."""
    watches = {stamp: Watch(carriage) for stamp, carriage in past.carriages.items() if carriage is not None}
    types = sorted(frozenset[str]().union(*(watch.plan.types for watch in watches.values())))
    asked = {"scope": scope, "stamp": rules.stamps[scope], "types": types}
    after = _Named("", "")
    while True:
        async with store.transaction(patient=True) as session:
            place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
            page = await session.rows(_State, "stale_states", **asked, **place, limit=PAGE)
        found = [row for row in page if rules.former.aged(row.stamp) or _differs(rules, watches.get(row.stamp), row)]
        if found:
            yield [Subject(row.tenant_id, scope, row.subject) for row in found]
        if len(page) < PAGE:
            return
        after = _Named(page[-1].tenant_id, page[-1].subject)


def _differs(rules: Deployed, watch: Watch | None, row: _State) -> bool:
    state = decode(row.state.encode()) if watch is not None else None
    if watch is None or state is None:
        return True
    carried = watch.carriage.of(state)
    if not carried.certain or carried.lost:
        return True
    try:
        grants = walk(watch.plan, carried.state, [event_of(rules, *unsaved) for unsaved in row.unsaved])
    except Exception:  # noqa: BLE001 - to fold the subject again shows what is wrong
        return True
    return any((grant.achievement, grant.tier) in watch.rulings for grant in grants)


class Watch:
    """What tells whether a state of earlier rules says that something is judged otherwise.

    It is asked about subjects without events of what is new; those are found by these events.
    """

    def __init__(self, carriage: Carriage) -> None:
        self.carriage = carriage.without
        rulings = self.carriage.new.rulings
        self.plan: Plan = self.carriage.watching
        """What is judged otherwise, for events that the state has not seen."""
        self.rulings = {(rulings[one.slot].achievement, rulings[one.slot].tier) for one in self.carriage.changed}

"""Who is not up to date with the rules in force: the subjects that a backfill has to visit.

The stamp of a stored state says which rules have folded it. A state of earlier rules is up to date all the same where
it is carried over without a doubt (dsl/carry.py): its row stays as it is. So a backfill visits

    subjects with events of types that something new reads; only these types are looked for;
    subjects whose state says that something is judged otherwise, or does not say enough; no events are read for that;
    subjects with an unlock of what was not judged before, and those with something left of earlier rules and no state;
    subjects whose last event is one that no rule hears any more: their progress is measured at another one.

Where the rules before are not known, it visits all; also where no change is left to be built, since it was asked to
look again. All of this is read without a lock; what brings a subject up to date looks again under the lock of its
partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.carry import Carried
from dsl.compile import USER
from dsl.fold import reach, walk
from dsl.outcome import Subject
from dsl.progress import State, decode
from dsl.roles import bases
from worker.admin.hashed_events import Swept
from worker.pipeline.ledger import event_of, in_roles, subjects_heard, types_heard
from worker.pipeline.past_states import know_former
from worker.pipeline.rules_in_force import Aggregate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.carry import Carriage
    from dsl.compile import Plan
    from dsl.event import Event
    from worker.engine.rule_set import Deployed
    from worker.pipeline.ledger import EventRow
    from worker.store import Session, Store

PAGE: Final = 2000
"""Subjects that are looked at together."""
HEARING, JUDGED, LEFT, ANEW, MARKED = range(5)
"""The searches, in order: by events of what is new, by states, by unlocks without a state, by unlocks of what was not
judged before, by last events."""


class Named(NamedTuple):
    """A subject of a scope that is known."""

    tenant_id: str = ""
    subject: str = ""


WHOLE_TABLES: Final = """
SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL plan_cache_mode = force_custom_plan;
"""
"""Elsewhere every statement goes by key; here few of all unlocks are looked for, or none."""
BEFORE_ALL: Final = Named()
_NONE: Final = frozenset[int]()


class Page(NamedTuple):
    """Some subjects that were looked at together."""

    found: list[Subject]
    """Those that may not be up to date."""
    looked_at: int
    last: Named


class Search(NamedTuple):
    """One way to find subjects of a scope that may not be up to date: a query that pages by key, or a sweep."""

    scope: str
    step: int
    """Its place among the searches of its scope."""
    query: str
    asked: Mapping[str, object]
    """Arguments of the query, besides the page."""
    types: AbstractSet[str] = frozenset()
    """Event types that something new reads."""
    swept: Swept | None = None
    """What a sweep reads of users, in the place of the query."""


class StateRow(NamedTuple):
    """A stored state, with the events that its user has had since."""

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


async def past_of(session: Session, rules: Deployed, scope: str, *, thorough: bool = False) -> Past:
    """Return what is known of the rules before; `thorough`: as if not all had been up to date at any time.

    Raises:
        UnavailableError: the database is away.
    """
    current = rules.stamps[scope]
    stamps = {row.stamp for row in await session.rows(Stamp, "stamps_of_progress") if row.scope == scope} - {current}
    rows = [row for row in await session.rows(Aggregate, "aggregates") if row.scope == scope]
    complete = {row.epoch: f"{row.fingerprint}@{row.epoch}" for row in rows if row.status in {"live", "retired"}}
    last = complete[max(complete)] if complete and not thorough else ""
    await know_former(session, rules, [(scope, stamp) for stamp in (*stamps, last)])
    base = rules.former.carriage(scope, last)
    return Past({stamp: rules.former.carriage(scope, stamp) for stamp in stamps}, base)


async def searches(store: Store, rules: Deployed, scope: str, *, thorough: bool) -> list[Search]:
    """Return what finds the subjects of a scope that may not be up to date, in order; some are found twice.

    `thorough` visits all with events that the plan hears.

    Raises:
        UnavailableError: the database went away.
    """
    async with store.transaction(patient=True) as session:
        past = await past_of(session, rules, scope, thorough=thorough)
    stamp = rules.stamps[scope]
    found: list[Search] = []
    if past.base is None or past.types:
        heard = frozenset(types_heard(rules, scope)) if past.base is None else past.types
        # A sweep reads what users did themselves; one who is named by others has to be looked up.
        swept = _swept(rules, past, heard) if scope == USER and not in_roles(rules, scope) else None
        found.append(Search(scope, HEARING, *subjects_heard(rules, scope, heard), types=heard, swept=swept))
    known = past.carriages.items()
    if any(one is None or one.changed or one.undoes or rules.former.aged(stamp) for stamp, one in known):
        watched = [Watch(one) for one in past.carriages.values() if one is not None]
        types = sorted(bases(frozenset[str]().union(*(one.plan.types | one.plan_before.types for one in watched))))
        found.append(Search(scope, JUDGED, "stale_states", {"scope": scope, "stamp": stamp, "types": types}))
    judged = [f"{achievement}.{tier}" for achievement, tier in rules.ruled(scope)]
    found.append(Search(scope, LEFT, "subjects_without_state", {"scope": scope, "judged": judged}))
    if new := {f"{name}.{tier}" for carriage in past.known for name, tier in carriage.ruled_anew}:
        asked = {"scope": scope, "stamp": stamp, "judged": sorted(new)}
        found.append(Search(scope, ANEW, "subjects_judged_anew", asked))
    if dropped := frozenset[str]().union(*(carriage.dropped for carriage in past.known)):
        asked = {"scope": scope, "stamp": stamp, "types": sorted(bases(dropped))}
        found.append(Search(scope, MARKED, "states_marked_by_types", asked))
    return found


def _swept(rules: Deployed, past: Past, heard: AbstractSet[str]) -> Swept:
    """Return what has to be read of users with events of what is new: all that any past state leaves to be folded."""
    parts = {one.part(Carried(State(), _NONE, _NONE, _NONE, one.missing)) for one in past.known}
    plans = [part for part in parts if part is not None]
    swept = Swept.of(plans)
    if not plans or len(plans) < len(parts) or not swept.types >= heard:
        return Swept.of([rules.program.scopes[USER]])
    return swept


async def pages_of(
    store: Store, rules: Deployed, search: Search, after: Named = BEFORE_ALL, *, clock: int
) -> AsyncIterator[Page]:
    """Yield what a search finds behind a subject; moments up to `clock` (microseconds) are judged.

    Raises:
        UnavailableError: the database went away.
    """
    while True:
        async with store.transaction(patient=True) as session:
            place = {"after_tenant": after.tenant_id, "after_subject": after.subject}
            if search.step in {LEFT, ANEW}:
                await session.script(WHOLE_TABLES)
            if search.step == JUDGED:
                states = await session.rows(StateRow, search.query, **search.asked, **place, limit=PAGE)
                names = [Named(row.tenant_id, row.subject) for row in states]
                await know_former(session, rules, {(search.scope, row.stamp) for row in states})
                stale = [
                    Named(row.tenant_id, row.subject) for row in states if _differs(rules, search.scope, row, clock)
                ]
            else:
                names = await session.rows(Named, search.query, **search.asked, **place, limit=PAGE)
                stale = await _stale(session, rules, search.scope, names) if search.step == HEARING else names
        if names:
            after = names[-1]
            found = [Subject(one.tenant_id, search.scope, one.subject) for one in stale]
            yield Page(found, len(names), after)
        if len(names) < PAGE:
            return


async def _stale(session: Session, rules: Deployed, scope: str, page: Sequence[Named]) -> list[Named]:
    """Return which of some subjects have no state of the plan in force."""
    tenants, names = [one.tenant_id for one in page], [one.subject for one in page]
    asked = {"tenant_ids": tenants, "subjects": names, "scope": scope, "stamp": rules.stamps[scope]}
    return await session.rows(Named, "stale_subjects", **asked)


# -- states ------------------------------------------------------------------------------------------------------------


def _differs(rules: Deployed, scope: str, row: StateRow, clock: int) -> bool:
    """Tell whether a state says that something is judged otherwise, or does not say enough, or is too old."""
    carriage, state = rules.former.carriage(scope, row.stamp), decode(row.state.encode())
    if carriage is None or state is None or rules.former.aged(row.stamp):
        return True
    watch = Watch(carriage)
    carried = watch.carriage.of(state)
    if not carried.certain or carried.lost:
        return True
    before = decode(row.state.encode()) if row.unsaved or watch.has_moments else None
    if before is None:
        return False
    try:
        unsaved = [event_of(rules, *event) for event in row.unsaved]
        return watch.grants_otherwise(carried.state, before, row.subject, unsaved, clock)
    except Exception:  # noqa: BLE001 - to fold the subject again shows what is wrong
        return True


class Watch:
    """What tells whether a state of earlier rules says that something is judged otherwise.

    It is asked about subjects without events of what is new; those are found by these events.
    """

    def __init__(self, carriage: Carriage) -> None:
        self.carriage = carriage.without
        self.plan: Plan = self.carriage.watching
        """What is judged otherwise, for events that the state has not seen."""
        self.plan_before: Plan = self.carriage.watching_before
        self.rulings = self.carriage.judged_otherwise

    @property
    def has_moments(self) -> bool:
        """Whether a version begins among them."""
        return bool(self.plan.moments or self.plan_before.moments)

    def grants_otherwise(self, carried: State, before: State, name: str, unsaved: Sequence[Event], clock: int) -> bool:
        """Tell whether the rules before have granted something else for events and moments that a state has not seen.

        Both are this state of one subject, which changes in place: carried over, and as it was. `clock` is in
        microseconds.
        """
        sides = (
            walk(plan, state, [plan.roles.seen_by(event, name) for event in unsaved] if plan.scope == USER else unsaved)
            + reach(plan, state, clock)
            for plan, state in ((self.plan, carried), (self.plan_before, before))
        )
        now, then = ({grant for grant in side if (grant.achievement, grant.tier) in self.rulings} for side in sides)
        return now != then

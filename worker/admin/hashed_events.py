"""Events of users by one pass over ledger and archive, sorted by a hash of tenant and user.

A page of rows is turned into columns, and a column is looked at as a whole: what is done row by row, an event pays for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import groupby, repeat
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from dsl.compile import USER
from dsl.event import Event
from dsl.outcome import Subject
from dsl.roles import is_pseudonym
from worker.admin.preview_events import read_by
from worker.pipeline.archive import archived_by_hash, merged
from worker.pipeline.ledger import event_of

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from dsl.compile import Plan
    from dsl.types import Value
    from worker.engine.rule_set import Deployed
    from worker.store import Columns, Session

FIRST, LAST = -(2**63), 2**63 - 1
"""Of all hashes."""
_NO_FIELDS: Final[dict[str, Value]] = {}

HashedRun: TypeAlias = "tuple[int, Subject, list[Event]]"
"""Some events of a user that follow each other, behind the hash."""
_Row: TypeAlias = "tuple[int, Event]"
Fields: TypeAlias = "Callable[[str, Sequence[str]], list[dict[str, Value]]]"
"""What payloads of an event type say."""


class Swept(NamedTuple):
    """What a sweep reads."""

    types: frozenset[str]
    """All events of these types are read."""
    read: frozenset[str]
    """Event types whose payload is looked into."""

    @classmethod
    def of(cls, plans: Collection[Plan]) -> Swept:
        """Return all that some plans look at."""
        types = frozenset[str]().union(*(plan.types for plan in plans))
        return cls(types, types & frozenset[str]().union(*map(read_by, plans)))

    def has(self, plan: Plan) -> bool:
        """Tell whether all is read that a plan looks at."""
        return plan.types <= self.types and read_by(plan) <= self.read


async def runs_by_hash(
    session: Session, rules: Deployed, swept: Swept, *, after: int, upto: int
) -> AsyncGenerator[list[HashedRun]]:
    """Yield the events of the users behind a hash, up to another one: by hash, and in canonical order.

    Raises:
        UnavailableError: the database went away.
    """
    asked = {"types": sorted(swept.types), "read": sorted(swept.read), "after": after, "upto": upto}
    # The ledger first, then the archive, as `merged` says.
    hot = session.columns("events_by_hash", **asked)
    page = await anext(hot, None)
    cold = _archived(session, rules, swept, asked)
    archived = await anext(cold, None)
    if archived is None:
        while page is not None:
            yield [*runs_of(page, rules.contract.fields_of)]
            page = await anext(hot, None)
        return
    async for rows in merged(_rows(rules, page, hot), _behind(archived, cold), _in_order):
        yield [run for number, some in groupby(rows, itemgetter(0)) for run in _by_user(number, some)]


def runs_of(page: Columns, fields_of: Fields) -> Iterator[HashedRun]:
    """Yield a page of the ledger user by user, but for pseudonyms, which have no history."""
    hashes, _, tenants, users, *_ = page
    events = _events(page, fields_of)
    at, end = 0, len(hashes)
    while at < end:
        here, number = at, hashes[at]
        at = bisect_right(hashes, number, here)
        tenant, user, length = tenants[here], users[here], at - here
        if tenants[here:at].count(tenant) < length or users[here:at].count(user) < length:
            yield from _by_user(number, zip(repeat(number), events[here:at], strict=False))
        elif not is_pseudonym(user):
            yield number, Subject(tenant, USER, user), events[here:at]


def _events(page: Columns, fields_of: Fields) -> list[Event]:
    _, instants, tenants, users, ids, types, offsets, payloads = page
    # Fields of an event stay as they are, so events without any share theirs.
    fields = [_NO_FIELDS] * len(ids)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, payload in enumerate(payloads):
        if payload is not None:
            places[types[place]].append(place)
    for event_type, some in places.items():
        for place, own in zip(some, fields_of(event_type, [payloads[one] for one in some]), strict=True):
            fields[place] = own
    return [*map(Event, tenants, ids, types, users, instants, offsets, fields)]


async def _rows(rules: Deployed, page: Columns | None, others: AsyncIterator[Columns]) -> AsyncGenerator[list[_Row]]:
    """Yield a page of the ledger and those behind it, row by row."""
    while page is not None:
        yield [*zip(page[0], _events(page, rules.contract.fields_of), strict=True)]
        page = await anext(others, None)


async def _archived(
    session: Session, rules: Deployed, swept: Swept, asked: Mapping[str, object]
) -> AsyncGenerator[list[_Row]]:
    async for page in archived_by_hash(session, asked):
        rows = [(number, (*row[:-1], row[-1] if row[2] in swept.read else None)) for number, row in page]
        if rows:
            yield [(number, event_of(rules, *row)) for number, row in rows]


async def _behind(page: list[_Row], others: AsyncIterator[list[_Row]]) -> AsyncGenerator[list[_Row]]:
    yield page
    async for other in others:
        yield other


def _in_order(row: _Row) -> tuple[object, ...]:
    number, event = row
    return number, event.at, event.id, event.tenant, event.user


def _by_user(number: int, rows: Iterable[_Row]) -> Iterator[HashedRun]:
    """Yield the users of a hash, one as a rule, with their events; a pseudonym has no history."""
    events = [event for _, event in rows]
    owners = set(map(_owner, events))
    for tenant, user in owners:
        if not is_pseudonym(user):
            own = events if len(owners) == 1 else [one for one in events if _owner(one) == (tenant, user)]
            yield number, Subject(tenant, USER, user), own


_owner: Final = attrgetter("tenant", "user")

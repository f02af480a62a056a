"""What the page of one user, team or tenant shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from anyio import to_thread

from dsl.compile import TENANT, USER
from worker.admin.results import StaleError, UnreadableError
from worker.console.books import decisions_of, latest_events
from worker.console.history import draw, read_events
from worker.engine.answer import Reader, answer_of
from worker.engine.standing import Status, status_of
from worker.pipeline.ledger import TooManyEventsError
from worker.settings import Clock
from worker.store import UnavailableError
from worker.view.standing import RulesChangedError, read_facts

if TYPE_CHECKING:
    from uuid import UUID

    from dsl.outcome import Subject
    from worker.console.books import DecisionRow, EventShown
    from worker.console.desk import Desk
    from worker.console.timeline import Picture
    from worker.engine.answer import Facts, Shown, Standing
    from worker.engine.entries import Catalogue
    from worker.engine.reconcile import Stored

AS_OPERATOR: Final = Reader()
AS_USER: Final = Reader(as_user=True)
TRIES: Final = 3


class Given(NamedTuple):
    """A stored unlock, as a table shows it; instants in microseconds."""

    unlock_id: UUID
    achievement: str
    tier: str
    occurrence: str
    version: int
    status: Status
    by_hand: bool
    earned_at: int
    granted_at: int | None

    @property
    def revocable(self) -> bool:
        """Whether there is something to revoke."""
        return self.status is not Status.REVOKED


class SubjectPage(NamedTuple):
    """All that the page of a subject shows."""

    subject: Subject
    standing: Standing | None
    """As it is; None where that cannot be said now."""
    seen: Standing | None
    """As the subject sees it."""
    unseen: frozenset[str]
    """Ids of what the subject does not see yet."""
    unlocks: list[Given]
    picture: Picture | None
    too_much: bool
    """Whether there are too many events for a picture."""
    heard: int
    events: list[EventShown]
    decisions: list[DecisionRow]
    building: bool
    trouble: str
    """Why the standing cannot be said exactly now, if it cannot."""


async def read_subject_page(desk: Desk, subject: Subject) -> SubjectPage:
    """Read all that the page of a subject shows.

    Raises:
        UnavailableError: the database is away, or took too long.
        RulesRefusedError: as in `load_deployed`.
    """
    catalogue, facts, trouble = await read_facts_of(desk, subject)
    now = desk.now() if facts is None or desk.settings.clock is Clock.WALL else facts.clock
    standing = seen = None
    if facts is not None:
        rarities = await desk.rarity.of(subject.tenant_id, now)
        standing = answer_of(catalogue, facts, AS_OPERATOR, now, rarities).standing
        seen = answer_of(catalogue, facts, AS_USER, now, rarities).standing
    stored = [] if facts is None else [held.stored for held in facts.unlocks]
    picture, heard, too_much = None, 0, False
    try:
        events = await read_events(desk.store, catalogue.rules, subject)
    except TooManyEventsError:
        too_much = True
    else:
        heard = len(events)
        picture = await to_thread.run_sync(draw, catalogue.rules, subject, events, stored, now)
    shown, renames = frozenset[str]() if seen is None else {item.id for item in seen.items}, catalogue.rules.renames
    return SubjectPage(
        subject=subject,
        standing=standing,
        seen=seen,
        unseen=frozenset() if standing is None else frozenset(item.id for item in standing.items) - shown,
        unlocks=[_given(row) for row in sorted(renames.shown_in(stored), key=_last_first)],
        picture=picture,
        too_much=too_much,
        heard=heard,
        events=await latest_events(desk.store, subject.tenant_id, subject.subject) if subject.scope == USER else [],
        decisions=renames.shown_in(await decisions_of(desk.store, *subject)),
        building=facts is not None and facts.building,
        trouble=trouble,
    )


async def read_facts_of(desk: Desk, subject: Subject) -> tuple[Catalogue, Facts | None, str]:
    """Return the rules in force and the facts by them; where there are none to rely on, what is wrong with them.

    Raises:
        UnavailableError: the database is away, or the rules change again and again.
    """
    stream_clock = desk.settings.clock is Clock.STREAM
    for _ in range(TRIES):
        catalogue = await desk.view.catalogue()
        try:
            return catalogue, await read_facts(desk.store, catalogue, subject, stream_clock=stream_clock), ""
        except RulesChangedError:
            continue
        except (StaleError, UnreadableError) as error:
            return catalogue, None, str(error)
    raise UnavailableError("the rules change again and again")


def _last_first(row: Stored) -> tuple[int, str, str]:
    return -row.earned_at, row.achievement, row.tier


def _given(row: Stored) -> Given:
    return Given(
        unlock_id=row.unlock_id,
        achievement=row.achievement,
        tier=row.tier,
        occurrence=row.occurrence,
        version=row.version,
        status=status_of(row),
        by_hand=row.by_hand,
        earned_at=row.earned_at,
        granted_at=row.granted_at,
    )


def reward_of(item: Shown) -> list[tuple[str, str]]:
    """Return a reward as pairs of text."""
    values = msgspec.json.decode(bytes(item.reward), type=dict[str, msgspec.Raw])
    return [(key, bytes(value).decode().strip('"')) for key, value in values.items()]


def meant_subject(tenant: str, scope: str, name: str) -> tuple[str, str, str]:
    """Return a subject as it was asked for; in the scope `tenant` it is the tenant itself."""
    return tenant, scope or USER, tenant if scope == TENANT else name

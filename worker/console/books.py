"""Reads of the database: each in one transaction that cannot write, and that ends when it takes too long.

`tenants` is the list of those that the viewer may see, None for all. Instants are in microseconds.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID  # noqa: TC003 - NamedTuple

from worker.pipeline.archive import last_archived
from worker.pipeline.dead_letters import StoredDeadLetter
from worker.pipeline.rules_in_force import RuleSetRow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from worker.console.access import Person
    from worker.pipeline.ledger import EventRow
    from worker.store import Session, Store

LOOK_MILLISECONDS: Final = 5000
"""What a page may take of the database."""
LISTED: Final = 50
"""Rows of a table; more are on a further page, or are counted."""


@asynccontextmanager
async def look(store: Store, *, milliseconds: int = LOOK_MILLISECONDS) -> AsyncGenerator[Session]:
    """Run a block in a transaction that only reads.

    Raises:
        UnavailableError: the database is away, or it took too long.
    """
    async with store.transaction() as session:
        await session.run("look", milliseconds=str(milliseconds))
        yield session


# -- tenants and subjects ----------------------------------------------------------------------------------------------


async def tenants_in_books(store: Store, person: Person, limit: int = 500) -> list[str]:
    """Return the tenants with events that a person may see, in order."""
    async with look(store) as session:
        return await session.rows(str, "tenants_in_books", tenants=person.limit, limit=limit)


class ScopeRow(NamedTuple):
    """The subjects of one scope of a tenant."""

    scope: str
    subjects: int
    last_at: int


class TenantUnlocks(NamedTuple):
    """The unlocks of one scope of a tenant."""

    scope: str
    granted: int
    contested: int
    revoked: int


class TenantRows(NamedTuple):
    """What there is of one tenant."""

    scopes: list[ScopeRow]
    unlocks: dict[str, TenantUnlocks]


async def read_tenant(store: Store, tenant: str) -> TenantRows:
    """Return what there is of one tenant."""
    async with look(store) as session:
        scopes = await session.rows(ScopeRow, "scopes_of_tenant", tenant_id=tenant)
        unlocks = await session.rows(TenantUnlocks, "unlocks_of_tenant", tenant_id=tenant)
    return TenantRows(scopes, {row.scope: row for row in unlocks})


class SubjectRow(NamedTuple):
    """A subject in a list."""

    subject: str
    updated_at: int
    unlocks: int


async def find_subjects(store: Store, tenant: str, scope: str, start: str) -> list[SubjectRow]:
    """Return subjects whose name begins with a text, by name."""
    async with look(store) as session:
        return await session.rows(
            SubjectRow, "subjects_by_name", tenant_id=tenant, scope=scope, start=start, limit=LISTED + 1
        )


class EventShown(NamedTuple):
    """An event of a user, as the ledger has it."""

    event_id: str
    event_type: str
    occurred_at: int
    received_at: int
    source: str | None
    payload: str | None


class DecisionRow(NamedTuple):
    """A decision about an unlock; "" for no tier and no occurrence."""

    decided_at: int
    achievement: str
    tier: str
    occurrence: str
    version: int
    decision: str
    earned_at: int
    event_id: str
    actor: str | None
    reason: str | None


async def latest_events(store: Store, tenant: str, user: str) -> list[EventShown]:
    """Return the latest events of a user, the last first."""
    async with look(store) as session:
        found = await session.rows(EventShown, "latest_events_of_user", tenant_id=tenant, user_id=user, limit=LISTED)
        # The ledger has the last event of everyone, and may have late ones from before an archived one.
        archived = await last_archived(session, tenant, user, limit=LISTED)
    shown = [
        EventShown(one.event_id, one.event_type, one.occurred_at, one.received_at, one.source, one.payload)
        for one in archived
    ]
    return sorted([*found, *shown], key=_last, reverse=True)[:LISTED]


def _last(event: EventShown) -> tuple[int, str]:
    return event.occurred_at, event.event_id


async def decisions_of(store: Store, tenant: str, scope: str, subject: str) -> list[DecisionRow]:
    """Return the latest decisions about a subject's unlocks, the last first."""
    asked = {"tenant_id": tenant, "scope": scope, "subject": subject}
    async with look(store) as session:
        return await session.rows(DecisionRow, "decisions_of_subject", **asked, limit=LISTED)


# -- rules -------------------------------------------------------------------------------------------------------------


class EarnedRow(NamedTuple):
    """What has become of one achievement and tier; `earned` counts subjects, the others unlocks."""

    scope: str
    achievement: str
    tier: str
    earned: int
    unlocks: int
    settling: int
    contested: int
    revoked: int
    last_at: int | None


class EarnedBooks(NamedTuple):
    """What has become of all achievements, and how many subjects there are by scope."""

    rows: dict[tuple[str, str], EarnedRow]
    subjects: dict[str, int]


class _Known(NamedTuple):
    scope: str
    subjects: int


async def read_earned(store: Store, tenants: list[str] | None) -> EarnedBooks:
    """Return what has become of all achievements."""
    async with look(store) as session:
        rows = await session.rows(EarnedRow, "unlocks_by_achievement", tenants=tenants)
        known = await session.rows(_Known, "known_subjects", tenants=tenants)
    return EarnedBooks({(row.achievement, row.tier): row for row in rows}, {row.scope: row.subjects for row in known})


class HolderRow(NamedTuple):
    """Who has an achievement."""

    tenant_id: str
    scope: str
    subject: str
    tier: str | None
    occurrence: str | None
    version: int
    status: str
    earned_at: int
    granted_at: int | None
    by_hand: bool


async def read_holders(store: Store, achievement: str, tenants: list[str] | None) -> list[HolderRow]:
    """Return who has an achievement, those who were granted it last first."""
    async with look(store) as session:
        return await session.rows(
            HolderRow, "holders_of_achievement", achievement=achievement, tenants=tenants, limit=LISTED + 1
        )


class StateRow(NamedTuple):
    """The stored state of a subject."""

    tenant_id: str
    scope: str
    subject: str
    stamp: str
    state: str
    unsaved: Sequence[EventRow]


class HadRow(NamedTuple):
    """That a subject has an unlock already."""

    tenant_id: str
    subject: str
    tier: str
    occurrence: str


class VersionRow(NamedTuple):
    """A version that was deployed."""

    achievement: str
    version: int
    starts_at: int | None
    ends_at: int | None
    epoch: int
    applied_at: int
    applied_by: str
    retired_at: int | None


async def read_versions(store: Store, achievement: str | None = None) -> list[VersionRow]:
    """Return every version ever deployed, of one achievement or of all."""
    async with look(store) as session:
        return await session.rows(VersionRow, "versions_of_rules", achievement=achievement)


# -- changes -----------------------------------------------------------------------------------------------------------


class RuleSetShown(NamedTuple):
    """A set of rules that was applied; `until` is when the next one was."""

    epoch: int
    applied_at: int
    applied_by: str
    hash: str
    files: int
    until: int | None


class DecidedRow(NamedTuple):
    """How many decisions of one kind there were; of grants the kind is their origin."""

    achievement: str
    what: str
    decisions: int


async def read_rule_sets(store: Store, limit: int = LISTED) -> list[RuleSetShown]:
    """Return the sets of rules that were applied, the last first."""
    async with look(store) as session:
        return await session.rows(RuleSetShown, "rule_sets", limit=limit)


async def read_rule_texts(store: Store, epoch: int) -> list[RuleSetRow]:
    """Return a set of rules and the one before it, with their texts; nothing where there is no such epoch."""
    async with look(store) as session:
        rows = await session.rows(RuleSetRow, "rule_sets_to", epoch=epoch)
    return rows if rows and rows[0].epoch == epoch else []


async def read_building(store: Store) -> list[str]:
    """Return the scopes that a backfill has yet to bring up to date."""
    async with look(store) as session:
        return await session.rows(str, "aggregates_building")


async def read_decided(store: Store, since: int, until: int, tenants: list[str] | None) -> list[DecidedRow]:
    """Return what was decided in a span of time, by achievement and kind."""
    async with look(store) as session:
        return await session.rows(DecidedRow, "decisions_between", since=since, until=until, tenants=tenants)


# -- dead letters ------------------------------------------------------------------------------------------------------

LAST_LETTER: Final = 2**62


class LetterCount(NamedTuple):
    """How many dead letters wait, by reason and by the token of the tenant's subjects."""

    reason: str
    tenant_token: str
    letters: int
    last_at: int


class LettersWanted(NamedTuple):
    """Which dead letters: those before an id, of a reason, on the subjects of a tenant; None for any."""

    before: int = LAST_LETTER
    reason: str | None = None
    tenant_token: str | None = None
    replayed: bool = False


class Mailbox(NamedTuple):
    """The dead letters that a viewer may see: `tokens` are those of the tenants, None for all."""

    prefix: str
    tokens: list[str] | None


async def count_letters(store: Store, box: Mailbox) -> list[LetterCount]:
    """Return how many dead letters wait, the most first."""
    async with look(store) as session:
        return await session.rows(LetterCount, "letters_counted", prefix=box.prefix, tokens=box.tokens, limit=LISTED)


async def list_letters(store: Store, box: Mailbox, wanted: LettersWanted) -> list[StoredDeadLetter]:
    """Return dead letters, newest first, with the beginning of their bodies; one more than a page holds."""
    async with look(store) as session:
        return await session.rows(
            StoredDeadLetter,
            "letters_shown",
            before=wanted.before,
            reason=wanted.reason,
            replayed=wanted.replayed,
            tenant_token=wanted.tenant_token,
            prefix=box.prefix,
            tokens=box.tokens,
            limit=LISTED + 1,
        )


async def read_letter(store: Store, box: Mailbox, letter_id: int) -> StoredDeadLetter | None:
    """Return one dead letter; None where there is none of that id that the viewer may see."""
    async with look(store) as session:
        return await session.row(
            StoredDeadLetter, "letter_shown", dead_letter_id=letter_id, prefix=box.prefix, tokens=box.tokens
        )


# -- actions -----------------------------------------------------------------------------------------------------------


class ActionRow(NamedTuple):
    """What a person has done on the console."""

    action_id: int
    begun_at: int
    actor: str
    kind: str
    tenant_id: str
    target: str
    reason: str
    outcome: str
    detail: str
    ended_at: int | None


async def read_actions(store: Store, tenants: list[str] | None) -> list[ActionRow]:
    """Return what was done on the console, the last first."""
    async with look(store) as session:
        return await session.rows(ActionRow, "actions", tenants=tenants, limit=LISTED * 2)


class UnlockRow(NamedTuple):
    """An unlock that can be revoked; "" for no tier and no occurrence."""

    unlock_id: UUID
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str


async def read_unlock(store: Store, unlock_id: UUID) -> UnlockRow | None:
    """Return one unlock that is not revoked."""
    async with look(store) as session:
        return await session.row(UnlockRow, "unlocks_to_act_on", unlock_id=unlock_id)

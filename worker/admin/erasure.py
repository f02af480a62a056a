"""Erasing a user: events, progress, unlocks, decisions and dead letters go, and a tombstone keeps them out for ever.

What the user did for a team or a tenant goes too: those are folded again without it when they are next touched, or by a
backfill, and what they can no longer prove is contested. Events that concern other users stay, with a pseudonym. The
broker's streams are not touched here: what is replayed from them meets the tombstone; worker/admin/purge.py purges
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER
from dsl.event import Position
from dsl.outcome import Subject
from dsl.roles import is_pseudonym
from worker.admin.erased_packs import archived_of, drop_packing, take_out_of_packs
from worker.admin.journal import journaled
from worker.admin.pseudonymity import relabel, take_name_out
from worker.contract.named_users import name_token
from worker.contract.partition import PARTITIONS, partition_of
from worker.engine.columns import position_columns, subject_columns
from worker.engine.journal import Erasure
from worker.engine.state_cache import BEGINNING
from worker.pipeline.dead_letters import BLANKED, read_names
from worker.pipeline.fence import RulesMovedError, hold_partitions
from worker.pipeline.ledger import pseudonyms_of
from worker.pipeline.rules_in_force import load_deployed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

TRIES: Final = 4
"""To know beforehand which partitions an erasure needs; then it takes all of them."""


class Erased(NamedTuple):
    """How much is gone."""

    events: int
    """The user's own, and those of others that concerned no one else who is known."""
    renamed: int
    """Events that name others or are theirs: they stay, with a pseudonym."""
    unlocks: int
    dead_letters: int
    """Those that named no other user, and those that did, whose bodies are gone."""
    shared: tuple[Subject, ...]
    """Tenants and subjects of fields that are to be folded again."""
    since: Mapping[Subject, Position]
    """Of each of these the first event that is gone."""
    again: bool
    """Whether the user was erased before: that time may have been interrupted before everything was folded again."""


class _Shared(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    occurred_at: int
    event_id: str


class _Crowded(Exception):  # noqa: N818 - no error: the same is tried again with more partitions
    """The user has a part in more than the partitions that were taken."""

    def __init__(self, partitions: set[int]) -> None:
        super().__init__()
        self.partitions = partitions


async def is_known(store: Store, settings: Settings, tenant: str, user: str) -> bool:
    """Tell whether anything is kept of a user: an event, progress, an unlock, a dead letter, or a tombstone.

    Raises:
        UnavailableError: the database is away.
    """
    await read_all_names(store, settings)
    async with store.transaction() as session:
        tokens = user_tokens(tenant, user)
        return bool(await session.value(bool, "user_is_known", tenant_id=tenant, user_id=user, **tokens))


def user_tokens(tenant: str, user: str) -> dict[str, str]:
    """Return the tokens of NATS subjects that stand for a user, as arguments of queries."""
    return {"tenant_token": name_token(tenant), "user_token": name_token(user)}


async def erase_user(store: Store, settings: Settings, tenant: str, user: str, *, by: str, now: int) -> Erased:
    """Erase a user of a tenant, in one transaction; `now` in microseconds. Doing it again is harmless.

    It takes time for what the user has done, and holds the partitions of the user and of whatever they have a part in.

    Raises:
        JournalError: nothing was done.
        UnavailableError: nothing is known to have happened.
    """
    await read_all_names(store, settings)
    subject = Subject(tenant, USER, user)
    partitions, tries = {partition_of(*subject)}, 0
    with journaled(settings, lambda names: Erasure(names.of_subject(subject)), by=by, at=now):
        while True:
            rules = await load_deployed(store, settings)
            try:
                return await _erase(store, settings, rules, subject, partitions, by=by, now=now)
            except RulesMovedError:
                continue
            except _Crowded as more:
                tries += 1
                partitions |= more.partitions if tries < TRIES else set(range(PARTITIONS))


async def _erase(  # noqa: PLR0913 - what it works with, each by name
    store: Store, settings: Settings, rules: Deployed, user: Subject, partitions: set[int], *, by: str, now: int
) -> Erased:
    tenant, _, name = user
    tokens = user_tokens(tenant, name)
    async with store.transaction(patient=True) as session:
        # Before partitions, since it waits for a run that packs events: that takes seconds.
        await session.run("hold_archive")
        # A worker that remembers the user, or a team of theirs, finds another's mark and reads again.
        await hold_partitions(session, partitions, epoch=rules.epoch)
        found = await session.rows(_Shared, "shared_subjects", tenant_id=tenant, user_id=name)
        since = {Subject(*row[:3]): Position(*row[3:]) for row in found if not is_pseudonym(row.subject)}
        archived = await archived_of(session, rules, user)
        since.update({one: min(first, since.get(one, first)) for one, first in archived.since.items()})
        # Their events are packed together with those of others: pseudonyms among them.
        packers = {name, *archived.holders, *(row.subject for row in found if row.scope == USER)}
        known = await session.value(str, "pseudonym_of_user", tenant_id=tenant, user_id=name) if archived.own else None
        # From here on the user does nothing more. To lock out of order could wait for ever.
        needed = {partition_of(*subject) for subject in since}
        needed |= {partition_of(tenant, USER, one) for one in ({*packers, known} if known else packers)}
        if not needed <= partitions:
            raise _Crowded(needed)
        new = await session.run("insert_erasure", tenant_id=tenant, user_id=name, **tokens, now=now, by=by)
        await _forget(session, {user: BEGINNING, **since})
        (pseudonym,) = (await pseudonyms_of(session, [user])).values()
        renamed = await take_name_out(session, rules, user, pseudonym)
        events = renamed.gone + await session.run("erase_events", tenant_id=tenant, user_id=name)
        await drop_packing(session, tenant, packers)
        packed = await take_out_of_packs(session, rules, user, archived, pseudonym)
        events += packed.gone
        await relabel(session, rules, user, [one for one in since if one != user], pseudonym, by=by, now=now)
        unlocks = await session.value(int, "erase_unlocks", tenant_id=tenant, user_id=name, now=now, by=by) or 0
        await session.run("erase_revealed", tenant_id=tenant, user_id=name)
        await session.run("erase_evaluations", tenant_id=tenant, user_id=name)
        await session.run("forget_place_of_rebuild", tenant_id=tenant, user_id=name)
        # The last lock of all: a batch that buries dead letters holds partitions already.
        await session.run("hold_letters")
        await session.run("erase_deliveries", tenant_id=tenant, user_id=name)
        while await read_names(session, settings, rules.program.roles.fields):
            pass
        letters = await session.run("erase_dead_letters", **tokens)
        letters += await session.run("blank_dead_letters", **tokens, detail=BLANKED, now=now)
    return Erased(events, renamed.kept + packed.kept, unlocks, letters, tuple(sorted(since)), since, again=not new)


async def _forget(session: Session, since: Mapping[Subject, Position]) -> None:
    """Forget where subjects stand, but for their checkpoints before a position: those have seen nothing behind it.

    Of the first, who is erased, nothing is left; others have a row without a state, by which a backfill finds them.
    """
    erased, *others = since
    await session.run("forget_progress", **subject_columns([erased]))
    await session.run("void_progress", **subject_columns(others))
    await session.run("forget_checkpoints", **position_columns(since))


async def read_all_names(store: Store, settings: Settings) -> None:
    """Read which users dead letters name that are not read yet, in transactions of their own: there may be many.

    Raises:
        UnavailableError: some may be read; the next call reads the others.
    """
    fields, more = (await load_deployed(store, settings)).program.roles.fields, True
    while more:
        async with store.transaction(patient=True) as session:
            more = await read_names(session, settings, fields)

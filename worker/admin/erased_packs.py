"""An erased user in the archive: what concerns no one else goes, and a pseudonym takes the name's place in the rest.

It is as in the ledger (worker/admin/pseudonymity.py). What the user did and what stays of it moves to packs of the
pseudonym. These take the user's number along, so the ids of these events lead there without being written anew. Events
of others that name the user are rewritten in the packs where they are.

To rewrite packs, the partitions of their users are held, and the archive: a run that packs events of the ledger at the
same time has its packs waiting by then, and they are dropped here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.compile import USER
from dsl.event import Position
from dsl.outcome import Subject
from dsl.roles import is_pseudonym
from worker.admin.packed_ids import add_ids, forget_ids
from worker.admin.packs import Made, PackUser, delete_packs, insert_packs, pack_rows
from worker.admin.pseudonymity import NamedEvent, Renamed
from worker.contract.pack import MOST
from worker.engine.columns import RENAMED, columns
from worker.engine.pseudonyms import renamed_payload
from worker.pipeline.archive import PACKS, events_of_pack, may_name
from worker.pipeline.ledger import event_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Mapping

    from worker.contract.pack import PackedEvent
    from worker.engine.rule_set import Deployed
    from worker.store import Session


class Archived(NamedTuple):
    """What the archive has of a user."""

    since: Mapping[Subject, Position]
    """All that have a part in events of the user or that name the user, and where the first of these may be."""
    holders: tuple[str, ...]
    """Other users, in whose packs events may name the user."""
    own: bool
    """Whether there are packs of the user."""


async def archived_of(session: Session, rules: Deployed, user: Subject) -> Archived:
    """Return what is archived of a user, whose partition is held."""
    tenant, _, name = user
    asked = {"tenant_id": tenant, "user_id": name}
    since: dict[Subject, Position] = {}
    first = await session.value(int, "packed_since", **asked)
    if first is not None:

        def member(scope: str, subject: str) -> Subject:
            return Subject(tenant, scope, subject)

        members = await session.rows(member, "members_to_erase", **asked)
        since = dict.fromkeys([Subject(tenant, "tenant", tenant), *members], Position(first, ""))
    holders = await session.rows(str, "holders_naming", **asked)
    async for pack in _packs_naming(session, rules, user) if holders else _none():
        for event in events_of_pack(pack.body):
            named = named_event(rules, pack.user, event, name)
            if named is not None:
                here = Position(event.occurred_at, event.event_id)
                for one in _concerned(rules, pack.user, event, named):
                    since[one] = min(here, since.get(one, here))
    return Archived(since, tuple(holders), first is not None)


async def _none() -> AsyncIterator[Made]:
    return
    yield


async def _packs_naming(session: Session, rules: Deployed, user: Subject) -> AsyncIterator[Made]:
    """Yield the packs of others in which events may name a user."""
    asked = {"tenant_id": user.tenant_id, "user_id": user.subject, "types": sorted(rules.program.roles.naming)}
    async for page in session.pages_of(PACKS, Made, "packs_naming_person", **asked):
        for pack in page:
            yield pack


def named_event(rules: Deployed, of: PackUser, event: PackedEvent, name: str) -> NamedEvent | None:
    """Return an archived event if a user did it or is named in it; `of` is who did it."""
    theirs = event.event_type in rules.program.roles.naming and may_name(event.row(*of), name)
    if of.user_id != name and not theirs:
        return None
    named = rules.program.roles.named(event_of(rules, *event.row(*of)))
    if of.user_id != name and name not in named:
        return None
    return NamedEvent(
        of.tenant_id,
        event.event_id,
        event.event_type,
        of.user_id,
        event.occurred_at,
        event.utc_offset,
        event.source,
        event.payload,
        [one for one in named if one != name and not is_pseudonym(one)],
    )


def _concerned(rules: Deployed, of: PackUser, event: PackedEvent, named: NamedEvent) -> Iterator[Subject]:
    """Yield all that have a part in an event that names a user, but for the user and for pseudonyms."""
    tenant = of.tenant_id
    yield Subject(tenant, "tenant", tenant)
    for scope, subject in rules.program.subjects(event_of(rules, *event.row(*of))):
        if scope != USER:
            yield Subject(tenant, scope, subject)
    for one in named.named:
        yield Subject(tenant, USER, one)
    if not is_pseudonym(of.user_id):
        yield Subject(tenant, USER, of.user_id)


# -- erasing -----------------------------------------------------------------------------------------------------------


async def drop_packing(session: Session, tenant: str, users: Collection[str]) -> None:
    """Drop packs of users whose events are in the ledger still; the partitions of these and the archive are held."""
    asked = {"tenant_id": tenant, "user_ids": sorted(users)}
    for pack in await session.rows(Made, "drop_packing", **asked):
        await forget_ids(session, tenant, [event.event_id for event in events_of_pack(pack.body)], pack.number)


async def take_out_of_packs(
    session: Session, rules: Deployed, user: Subject, archived: Archived, pseudonym: str
) -> Renamed:
    """Take a user out of the archive, whose partitions are held; return how many events stay and how many are gone."""
    own = await _hand_on(session, rules, user, pseudonym) if archived.own else Renamed(0, 0)
    theirs = await _rewrite(session, rules, user, archived, pseudonym) if archived.holders else Renamed(0, 0)
    await session.run("erase_packed_members", tenant_id=user.tenant_id, user_id=user.subject)
    return Renamed(own.kept + theirs.kept, own.gone + theirs.gone)


async def _hand_on(session: Session, rules: Deployed, user: Subject, pseudonym: str) -> Renamed:
    """Move what stays of the user's own events to packs of the pseudonym."""
    tenant, _, name = user
    asked = {"tenant_id": tenant, "user_id": name}
    heir = PackUser(tenant, pseudonym)
    part = 1 + (await session.value(int, "last_part_of_user", tenant_id=tenant, user_id=pseudonym) or 0)
    held: list[PackedEvent] = []
    kept = gone = number = 0
    async for page in session.pages_of(PACKS, Made, "packs_to_erase", **asked):
        for pack in page:
            number = pack.number
            parted = _part(rules, pack, name)
            await forget_ids(session, tenant, [event.event_id for event in events_of_pack(pack.body)], number)
            await add_ids(session, tenant, [one.event_id for one in parted.renamed], number)
            await _note(session, tenant, parted)
            kept, gone = kept + len(parted.renamed), gone + len(parted.gone)
            held += [_renamed(rules, event, {name: pseudonym}) for event in parted.stay]
            if len(held) >= MOST:
                await insert_packs(session, pack_rows(heir, part, number, held[:MOST]))
                part, held = part + 1, held[MOST:]
    if held:
        await insert_packs(session, pack_rows(heir, part, number, held))
    if kept:
        await session.run("hand_members_on", **asked, pseudonym=pseudonym)
    await session.run("erase_packs", **asked)
    return Renamed(kept, gone)


async def _rewrite(session: Session, rules: Deployed, user: Subject, archived: Archived, pseudonym: str) -> Renamed:
    """Write packs of others anew in which events name the user."""
    tenant, _, name = user
    kept = gone = 0
    async for pack in _packs_naming(session, rules, user):
        parted = _part(rules, pack, name)
        if not parted.renamed and not parted.gone:
            continue
        kept, gone = kept + len(parted.renamed), gone + len(parted.gone)
        concerned = {one.event_id for one in parted.renamed}
        events = [
            _renamed(rules, event, {name: pseudonym}) if event.event_id in concerned else event for event in parted.stay
        ]
        await delete_packs(session, [(pack.tenant_id, pack.user_id, pack.part)])
        await insert_packs(session, pack_rows(pack.user, pack.part, pack.number, events))
        if parted.gone:
            await forget_ids(session, tenant, parted.gone, pack.number)
        await _note(session, tenant, parted)
    await session.run("erase_members_without_packs", tenant_id=tenant, user_ids=sorted(archived.holders))
    return Renamed(kept, gone)


class _Parted(NamedTuple):
    """The events of a pack, where a user is taken out."""

    stay: list[PackedEvent]
    renamed: list[NamedEvent]
    """Those that stay and have a pseudonym in them from now on, as they were."""
    gone: list[str]
    """Ids."""


def _part(rules: Deployed, pack: Made, name: str) -> _Parted:
    parted = _Parted([], [], [])
    for event in events_of_pack(pack.body):
        named = named_event(rules, pack.user, event, name)
        if named is not None and not named.concerns_others(name):
            parted.gone.append(event.event_id)
            continue
        parted.stay.append(event)
        if named is not None:
            parted.renamed.append(named)
    return parted


def _renamed(rules: Deployed, event: PackedEvent, names: Mapping[str, str]) -> PackedEvent:
    fields = rules.program.roles.fields_of(event.event_type)
    payload = None if event.payload is None else renamed_payload(event.payload, fields, names)
    return event._replace(payload=payload)


async def _note(session: Session, tenant: str, parted: _Parted) -> None:
    """Note what events were as received, by which copies of them are known; forget that of events that are gone."""
    if parted.renamed:
        digests = sorted((one.event_id, tenant, one.digest()) for one in parted.renamed)
        await session.run("insert_renamed_events", **columns("renamed", RENAMED, digests))
    if parted.gone:
        await session.run("forget_renamed_events", tenant_id=tenant, event_ids=sorted(parted.gone))

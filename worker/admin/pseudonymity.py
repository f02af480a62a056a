"""An erased user in events that concern others too: these stay, with a pseudonym in the place of the name.

So nothing moves for the others: what they have counted, and how many different people. Events that concern no one else
go. Which fields hold the name, the contracts in force say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.event import Event
from dsl.labels import called_by_users
from dsl.roles import is_pseudonym
from worker.contract.sameness import Written, digest_of
from worker.engine.columns import RENAMED, columns, subject_columns
from worker.engine.pseudonyms import renamed_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.outcome import Subject
    from worker.engine.rule_set import Deployed
    from worker.store import Session

_ROW = ("event_id", "tenant_id", "user_id", "payload")


class NamedEvent(NamedTuple):
    """An event of the ledger that names the user, or that the user did and that names others."""

    tenant_id: str
    event_id: str
    event_type: str
    user_id: str
    occurred_at: int
    utc_offset: int
    source: str | None
    payload: str | None
    named: Sequence[str]
    """Other users that it names, erased ones not among them."""

    def concerns_others(self, user: str) -> bool:
        """Tell whether someone else did it, or is named in it, who was not erased."""
        return bool(self.named) or (self.user_id != user and not is_pseudonym(self.user_id))

    def digest(self) -> bytes:
        """Return the digest of the event as received: nothing in it was renamed before, or that is on record."""
        event = Event(
            self.tenant_id, self.event_id, self.event_type, self.user_id, self.occurred_at, self.utc_offset, {}
        )
        return digest_of(event, Written("", self.source, self.payload))


class Renamed(NamedTuple):
    """How many events stay with a pseudonym, and how many of others went, since they concerned no one else."""

    kept: int
    gone: int


async def take_name_out(session: Session, rules: Deployed, user: Subject, pseudonym: str) -> Renamed:
    """Put a pseudonym in the place of a user's name, in all events that concern others; their partitions are held."""
    tenant, _, name = user
    kept = gone = 0
    async for page in session.pages(NamedEvent, "events_naming_user", tenant_id=tenant, user_id=name):
        stay = [row for row in page if row.concerns_others(name)]
        go = [row.event_id for row in page if not row.concerns_others(name)]
        kept, gone = kept + len(stay), gone + len(go)
        await _rename(session, rules, stay, name, pseudonym)
        if go:
            await session.run("erase_events_by_id", tenant_id=tenant, event_ids=sorted(go))
    await session.run("forget_named_user", tenant_id=tenant, user_id=name)
    return Renamed(kept, gone)


async def relabel(  # noqa: PLR0913 - what it works with, each by name
    session: Session, rules: Deployed, user: Subject, others: Iterable[Subject], pseudonym: str, *, by: str, now: int
) -> None:
    """Give occurrences of others that are called like the user, by `repeat by`, the pseudonym; their ids stay."""
    terms: dict[str, object] = {
        **subject_columns(others),
        "user_id": user.subject,
        "pseudonym": pseudonym,
        "by_users": sorted(called_by_users(rules.rules)),
        "in_force": sorted(rules.rules.achievements),
    }
    await session.run("relabel_unlocks", **terms, by=by, now=now)
    await session.run("relabel_evaluations", **terms)
    await session.run("relabel_corrections", **terms)


async def _rename(session: Session, rules: Deployed, rows: Sequence[NamedEvent], name: str, pseudonym: str) -> None:
    if not rows:
        return
    names, roles = {name: pseudonym}, rules.program.roles
    digests = sorted((row.event_id, row.tenant_id, row.digest()) for row in rows)
    await session.run("insert_renamed_events", **columns("renamed", RENAMED, digests))
    renamed = sorted(
        (
            row.event_id,
            row.tenant_id,
            names.get(row.user_id, row.user_id),
            None if row.payload is None else renamed_payload(row.payload, roles.fields_of(row.event_type), names),
        )
        for row in rows
    )
    await session.run("rename_events", **columns("rows", _ROW, renamed))

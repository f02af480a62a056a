"""All that is stored about one person, read in one snapshot and handed on row by row, so that memory stays flat."""

from __future__ import annotations

from base64 import b64encode
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from dsl.calendar import format_instant
from worker.admin.erasure import read_all_names, user_tokens
from worker.contract.pack import PackedEvent
from worker.engine.answer import Reader, answer_of
from worker.pipeline.archive import Naming, archived_naming, archived_of_person, canonical, merged
from worker.pipeline.ledger import event_of
from worker.report.screen import json_of
from worker.settings import Clock
from worker.view.person import (
    FORMAT,
    LiftedTombstone,
    PersonAction,
    PersonCorrection,
    PersonDecision,
    PersonDelivery,
    PersonEvent,
    PersonLetter,
    PersonNaming,
    PersonReveal,
    PersonUnlock,
    Tombstone,
)
from worker.view.standing import facts_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from uuid import UUID

    from dsl.outcome import Subject
    from worker.contract.pack import EventRow
    from worker.engine.entries import Catalogue
    from worker.engine.renames import Renames
    from worker.engine.rule_set import Deployed
    from worker.settings import Settings
    from worker.store import Session, Store

    Rows = AsyncIterator[Sequence[msgspec.Struct]]

SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class UnknownPersonError(Exception):
    """Nothing is stored of the user."""


class Exported(NamedTuple):
    """What an export has printed."""

    rows: dict[str, int]
    """By list."""
    erased: bool


async def export_person(
    store: Store,
    settings: Settings,
    catalogue: Catalogue,
    person: Subject,
    *,
    now: int,
    write: Callable[[str], object],
) -> Exported:
    """Hand the document of a user to `write`, row by row, as JSON that a terminal may show. `now` in microseconds.

    If the user is unknown or the rules are others, nothing has been handed on.

    Raises:
        UnknownPersonError: nothing is stored of the user.
        RulesChangedError: the catalogue is not of the rules in force.
        StaleError, UnreadableError: the progress cannot be read.
        UnavailableError: the database is away.
    """
    await read_all_names(store, settings)
    async with store.transaction(patient=True) as session:
        await session.script(SNAPSHOT)
        reading = _Reading(session, catalogue.rules, person)
        if not await reading.is_known():
            raise UnknownPersonError
        erased_at = await session.value(int, "tombstone", **reading.key)
        progress: Sequence[msgspec.Struct] = ()
        if erased_at is None and catalogue.rules.epoch:
            facts = await facts_in(session, catalogue, person, stream_clock=settings.clock is Clock.STREAM)
            moment = facts.clock if settings.clock is Clock.STREAM else now
            standing = answer_of(catalogue, facts, Reader(), moment).standing
            progress = [*standing.items, *standing.kept]
        head = {
            "format": FORMAT,
            "tenant_id": person.tenant_id,
            "user_id": person.subject,
            "as_of": format_instant(now),
            "erasure": None if erased_at is None else Tombstone(erased_at=format_instant(erased_at)),
        }
        for n, (name, value) in enumerate(head.items()):
            write(f'{"," if n else "{"}\n"{name}": {json_of(value)}')
        counts: dict[str, int] = {}
        for name, pages in reading.lists(progress, erased=erased_at is not None):
            counts[name] = await _write_list(name, pages, write, catalogue.rules.renames)
        write("\n}\n")
        return Exported(counts, erased_at is not None)


async def _write_list(name: str, pages: Rows, write: Callable[[str], object], renames: Renames) -> int:
    number = 0
    write(f',\n"{name}": [')
    async for page in pages:
        for row in page:
            write(f"{',' if number else ''}\n{json_of(renames.shown_in(row))}")
            number += 1
    write("\n]" if number else "]")
    return number


class _Reading:
    """Reads the lists of one user in a session."""

    def __init__(self, session: Session, rules: Deployed, person: Subject) -> None:
        self._session = session
        self._rules = rules
        self._person = person
        self.key: dict[str, object] = {"tenant_id": person.tenant_id, "user_id": person.subject}
        self._tokens = user_tokens(person.tenant_id, person.subject)

    async def is_known(self) -> bool:
        return bool(await self._session.value(bool, "person_is_known", **self.key, **self._tokens))

    def lists(self, progress: Sequence[msgspec.Struct], *, erased: bool) -> list[tuple[str, Rows]]:
        """Return the lists in the order of the document; those of an erased user are empty, unread."""
        pages = {
            "lifted_erasures": lambda: self._pages(_lifted, "lifted_of_person"),
            "events": self._events,
            "named_in": self._named_in,
            "progress": lambda: _one_page(progress),
            "unlocks": lambda: self._pages(_unlock, "unlocks_of_person"),
            "corrections": lambda: self._pages(_correction, "corrections_of_person"),
            "revealed": lambda: self._pages(_reveal, "revealed_to_person"),
            "dead_letters": self._letters,
            "deliveries": lambda: self._pages(_delivery, "deliveries_of_person"),
            "actions": lambda: self._pages(_action, "actions_on_person"),
        }
        kept = {"lifted_erasures"} if erased else set(pages)
        return [(name, read() if name in kept else _one_page(())) for name, read in pages.items()]

    def _pages(self, shape: Callable[..., msgspec.Struct], name: str) -> Rows:
        return self._session.pages(shape, name, **self.key)

    def _events(self) -> Rows:
        """Return the events in canonical order, archived ones among them."""
        hot = self._session.pages(PackedEvent, "events_of_person", **self.key)
        cold = archived_of_person(self._session, self._person.tenant_id, self._person.subject)
        return _documents(merged(hot, cold, canonical))

    async def _named_in(self) -> Rows:
        """Yield events of others that name the user, archived ones among them: by the contracts in force."""
        roles = self._rules.program.roles

        def named(row: EventRow) -> Collection[str]:
            return roles.named(event_of(self._rules, *row))

        hot = self._session.pages(Naming, "events_naming_person", **self.key)
        cold = archived_naming(self._session, self._person, roles.naming, named)
        async for page in merged(hot, cold, _NAMED_AT):
            yield [_naming(*one) for one in page]

    async def _letters(self) -> Rows:
        """Yield letters one by one: their bodies may be large."""
        async for page in self._session.pages(_Letter, "letters_of_person", **self._tokens):
            for letter in page:
                said = None
                if not letter.names_others and letter.erased_at is None:
                    said = await self._session.row(
                        _Said, "letter_of_person", dead_letter_id=letter.dead_letter_id, **self._tokens
                    )
                yield [_letter(letter, said)]


async def _one_page(rows: Sequence[msgspec.Struct]) -> Rows:
    yield rows


class _Letter(NamedTuple):
    dead_letter_id: int
    reason: str
    died_at: int
    stream: str
    stream_seq: int
    element: int
    replayed_at: int | None
    erased_at: int | None
    names_others: bool


class _Said(NamedTuple):
    detail: str
    nats_subject: str
    headers: str
    body: bytes


def _letter(letter: _Letter, said: _Said | None) -> PersonLetter:
    text, coded = None, None
    if said is not None:
        try:
            text = said.body.decode()
        except UnicodeDecodeError:
            coded = b64encode(said.body).decode()
    return PersonLetter(
        dead_letter_id=letter.dead_letter_id,
        reason=letter.reason,
        died_at=format_instant(letter.died_at),
        stream=letter.stream,
        stream_seq=letter.stream_seq,
        element=letter.element,
        replayed_at=_at(letter.replayed_at),
        names_others=letter.names_others,
        detail=said and said.detail,
        nats_subject=said and said.nats_subject,
        headers=said and msgspec.Raw(said.headers.encode()),
        body=text,
        body_base64=coded,
    )


def _at(instant: int | None) -> str | None:
    return None if instant is None else format_instant(instant)


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())


def _lifted(erased_at: int, lifted_at: int, reason: str) -> LiftedTombstone:
    return LiftedTombstone(erased_at=format_instant(erased_at), lifted_at=format_instant(lifted_at), reason=reason)


def _naming(event_id: str, event_type: str, occurred_at: int) -> PersonNaming:
    return PersonNaming(event_id=event_id, event_type=event_type, occurred_at=format_instant(occurred_at))


_NAMED_AT: Final = attrgetter("occurred_at", "event_id")


async def _documents(pages: AsyncIterator[list[PackedEvent]]) -> Rows:
    async for page in pages:
        yield [_event(event) for event in page]


def _event(row: PackedEvent) -> PersonEvent:
    return PersonEvent(
        event_id=row.event_id,
        event_type=row.event_type,
        occurred_at=row.occurred_at_text or format_instant(row.occurred_at),
        source=row.source,
        payload=_raw(row.payload),
        received_at=format_instant(row.received_at),
        published_at=_at(row.published_at),
        region=row.region,
        stream_seq=row.stream_seq,
    )


class _Unlock(NamedTuple):
    achievement: str
    tier: str
    occurrence: str
    unlock_id: UUID | None
    version: int | None
    status: Any
    earned_at: int | None
    event_id: str | None
    settles_at: int | None
    granted_at: int | None
    published_at: int | None
    contested_at: int | None
    revoked_at: int | None
    by_hand: bool | None
    origin: str | None
    revision: int | None
    reward: str | None
    history: Sequence[tuple[int, Any, int, bool, int, str, bool, str | None]]


def _unlock(*columns: Any) -> PersonUnlock:  # noqa: ANN401 - those of `_Unlock`
    row = _Unlock(*columns)
    return PersonUnlock(
        achievement=row.achievement,
        tier=row.tier or None,
        occurrence=row.occurrence or None,
        unlock_id=None if row.unlock_id is None else str(row.unlock_id),
        version=row.version,
        status=row.status or "withdrawn",
        earned_at=_at(row.earned_at),
        event_id=row.event_id,
        settles_at=_at(row.settles_at),
        granted_at=_at(row.granted_at),
        announced_at=_at(row.published_at),
        contested_at=_at(row.contested_at),
        revoked_at=_at(row.revoked_at),
        by_hand=row.by_hand,
        origin=row.origin,
        revision=row.revision,
        reward=_raw(row.reward),
        history=[_decision(*each) for each in row.history],
    )


def _decision(  # noqa: PLR0913, PLR0917 - the columns of a row
    decided_at: int,
    decision: Any,  # noqa: ANN401 - one of few texts
    version: int,
    final: bool,  # noqa: FBT001
    earned_at: int,
    event_id: str,
    by_operator: bool,  # noqa: FBT001
    reason: str | None,
) -> PersonDecision:
    return PersonDecision(
        decided_at=format_instant(decided_at),
        decision=decision,
        version=version,
        final=final,
        earned_at=format_instant(earned_at),
        event_id=event_id,
        by_operator=by_operator,
        reason=reason,
    )


def _correction(  # noqa: PLR0913, PLR0917 - the columns of a row
    unlock_id: UUID,
    revision: int,
    kind: str,
    achievement: str,
    tier: str,
    occurrence: str,
    status_before: str,
    status: str,
    reason: str | None,
    decided_at: int,
) -> PersonCorrection:
    return PersonCorrection(
        unlock_id=str(unlock_id),
        revision=revision,
        kind=kind,
        achievement=achievement,
        tier=tier or None,
        occurrence=occurrence or None,
        status_before=status_before,
        status=status,
        reason=reason,
        decided_at=format_instant(decided_at),
    )


def _reveal(achievement: str, tier: str, revealed_at: int) -> PersonReveal:
    return PersonReveal(achievement=achievement, tier=tier or None, revealed_at=format_instant(revealed_at))


def _delivery(  # noqa: PLR0913, PLR0917 - the columns of a row
    endpoint: str,
    webhook_id: str,
    type_: str,
    attempt: int,
    attempted_at: int,
    outcome: str,
    status: int | None,
    detail: str,
) -> PersonDelivery:
    return PersonDelivery(
        endpoint=endpoint,
        webhook_id=webhook_id,
        type=type_,
        attempt=attempt,
        attempted_at=format_instant(attempted_at),
        outcome=outcome,
        status=status,
        detail=detail,
    )


def _action(kind: str, target: str, reason: str, outcome: str, begun_at: int, ended_at: int | None) -> PersonAction:
    return PersonAction(
        kind=kind,
        target=target,
        reason=reason,
        outcome=outcome,
        begun_at=format_instant(begun_at),
        ended_at=_at(ended_at),
    )

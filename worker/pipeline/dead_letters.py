"""Dead letters: buried in the transaction of their batch, and later listed, shown, sent again or purged."""

from __future__ import annotations

import re
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from worker.broker.protocol import header_block
from worker.contract.cloudevents import carried
from worker.contract.named_users import UNKNOWN, Named, name_token, users_named
from worker.contract.reasons import Reason
from worker.contract.transport import REGION_HEADER, UNFIT, is_region
from worker.engine.columns import columns
from worker.engine.origin import RESENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from worker.broker.streams import Broker
    from worker.engine.batch import DeadLetter
    from worker.settings import Settings
    from worker.store import Session, Store

MAX_DETAIL: Final = 1000
"""Characters of a detail that are kept."""
FOR_EVER: Final = 253_402_300_799_000_000
"""The last second of year 9999, microseconds since the epoch: purges whatever its age."""
REPLAYED: Final = RESENT
CUT: Final = "only the first MiB of its body is kept; send a mended body with --body FILE"
BLANKED: Final = "a user that it named was erased, and what it said with them"
"""Detail of a letter that has lost its body."""
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Of bodies that are read together."""
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class StoredDeadLetter(NamedTuple):
    """A row of the table; instants in microseconds, `headers` a JSON object."""

    dead_letter_id: int
    stream: str
    stream_seq: int
    element: int
    reason: str
    detail: str
    nats_subject: str
    headers: str
    body: bytes
    deliveries: int
    died_at: int
    replayed_at: int | None
    died_again_as: int | None
    """The dead letter that came of it when it was sent again."""
    erased_at: int | None
    """When it lost its body: one of the users that it named was erased."""


class Buried(NamedTuple):
    """The letters that are kept now, and how many are not, as all users that they name are erased."""

    letters: list[DeadLetter]
    erased: int


async def bury(
    session: Session, settings: Settings, letters: Sequence[DeadLetter], fields: frozenset[str], *, now: int
) -> Buried:
    """Write dead letters; one that was written before is left alone. `fields` of payloads name users.

    The last stage of its transaction: a lock is taken here that an erasure waits for.
    """
    if not letters:
        return Buried([], 0)
    once = {(letter.message.seq, letter.element): letter for letter in letters}
    named = {
        key: users_named(
            settings.input_prefix, letter.message.subject, letter.body, letter.message.headers, fields=fields
        )
        for key, letter in once.items()
    }
    await session.run("share_letters")
    erased = await erased_among(session, {name for names in named.values() for name in names})
    fates = {key: fate_of(names, erased) for key, names in named.items()}
    rows = [_Row(once[key], fates[key]) for key in sorted(once) if fates[key] is not Fate.GONE]
    if rows:
        stream = settings.input_stream
        new = await session.rows(_Inserted, "insert_dead_letters", stream=stream, **letter_columns(rows), now=now)
        ids = {(row.stream_seq, row.element): row.dead_letter_id for row in new}
        names = {ids[key]: names - erased for key, names in named.items() if key in ids}
        await _note_names(session, names)
        await _point_at(session, settings, [(ids[key], once[key]) for key in sorted(ids)])
    kept = [letter for letter in letters if fates[letter.message.seq, letter.element] is not Fate.GONE]
    return Buried(kept, len(once) - len(rows))


class _Row(NamedTuple):
    """A letter to write, and what becomes of it."""

    letter: DeadLetter
    fate: Fate


class _Inserted(NamedTuple):
    dead_letter_id: int
    stream_seq: int
    element: int


def letter_columns(rows: Sequence[_Row]) -> dict[str, object]:
    """Return the `letters` of `insert_dead_letters`."""
    said = [_Said.nothing() if row.fate is Fate.BLANK else _Said.of(row.letter) for row in rows]
    return {
        "letters.stream_seq": [row.letter.message.seq for row in rows],
        "letters.element": [row.letter.element for row in rows],
        "letters.digest": [digest_of(row.letter.body) for row in rows],
        "letters.reason": [row.letter.reason.value for row in rows],
        "letters.detail": [one.detail for one in said],
        "letters.nats_subject": [one.subject for one in said],
        "letters.headers": [one.headers for one in said],
        "letters.body": [one.body for one in said],
        "letters.deliveries": [row.letter.message.deliveries for row in rows],
        "letters.blank": [row.fate is Fate.BLANK for row in rows],
    }


async def _note_names(session: Session, names: Mapping[int, AbstractSet[Named]]) -> None:
    """Note which users letters name, by their ids."""
    rows = sorted((letter_id, *name) for letter_id, named in names.items() for name in named)
    if rows:
        fields = "dead_letter_id", "tenant_token", "user_token"
        await session.run("insert_letter_users", **columns("names", fields, rows))


async def _point_at(session: Session, settings: Settings, new: Sequence[tuple[int, DeadLetter]]) -> None:
    """Note of letters that were sent again what has become of them: the first that came of each."""
    again: dict[tuple[int, bytes, str], int] = {}
    for letter_id, letter in new:
        sent_from = _sent_from(letter.message.headers)
        if sent_from is not None:
            key = sent_from, digest_of(letter.message.as_sent), _storable(letter.message.subject)
            again.setdefault(key, letter_id)
    if again:
        rows = sorted((*key, letter_id) for key, letter_id in again.items())
        fields = "sent_from", "sent_digest", "nats_subject", "dead_letter_id"
        await session.run("letters_died_again", **columns("again", fields, rows), stream=settings.input_stream)


class _Said(NamedTuple):
    """What a row says of its letter in the words of others."""

    detail: str
    subject: str
    headers: str
    body: bytes

    @classmethod
    def of(cls, letter: DeadLetter) -> _Said:
        message = letter.message
        return cls(
            _storable(letter.detail)[:MAX_DETAIL], _storable(message.subject), _headers(message.headers), letter.body
        )

    @classmethod
    def nothing(cls) -> _Said:
        return cls(BLANKED, "", "{}", b"")


def digest_of(body: bytes) -> bytes:
    """Return BLAKE2b-128 of a body."""
    return blake2b(body, digest_size=16).digest()


def _sent_from(headers: dict[str, str]) -> int | None:
    """Return the dead letter that a message says it was sent again from, if it says so."""
    said = headers.get(REPLAYED, "")
    return int(said) if _NUMBER.fullmatch(said) else None


def _storable(text: str) -> str:
    """Return text that PostgreSQL takes: without U+0000 and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _headers(headers: dict[str, str]) -> str:
    return msgspec.json.encode({_storable(name): _storable(value) for name, value in headers.items()}).decode()


# -- users that are erased ---------------------------------------------------------------------------------------------


class Fate(Enum):
    """What becomes of a letter because of the users that it names."""

    KEPT = "kept"
    BLANK = "blank"
    """It names others too, or only perhaps one that is erased: its row is kept, and nothing that it says."""
    GONE = "gone"


def fate_of(named: AbstractSet[Named], erased: AbstractSet[Named]) -> Fate:
    """Return what becomes of a letter that names users, some of them erased."""
    if named.isdisjoint(erased):
        return Fate.KEPT
    return Fate.GONE if all(name in erased and name.tenant != UNKNOWN for name in named) else Fate.BLANK


async def erased_among(session: Session, names: AbstractSet[Named]) -> set[Named]:
    """Return the users of some who are erased."""
    if not names:
        return set()
    asked = sorted(names)
    tenants, users = [name.tenant for name in asked], [name.user for name in asked]
    found = await session.rows(int, "erased_among", tenant_tokens=tenants, user_tokens=users)
    if 0 in found:
        await _add_tokens(session)
        found = await session.rows(int, "erased_among", tenant_tokens=tenants, user_tokens=users)
    return {asked[n - 1] for n in found}


class _Tombstone(NamedTuple):
    tenant_id: str
    user_id: str


async def _add_tokens(session: Session) -> None:
    """Give tombstones of older workers their tokens."""
    rows = await session.rows(_Tombstone, "tombstones_without_tokens")
    tenants, users = [row.tenant_id for row in rows], [row.user_id for row in rows]
    await session.run(
        "add_tokens",
        tenant_ids=tenants,
        user_ids=users,
        tenant_tokens=[*map(name_token, tenants)],
        user_tokens=[*map(name_token, users)],
    )


class _Unread(NamedTuple):
    dead_letter_id: int
    nats_subject: str
    body: bytes


async def read_names(session: Session, settings: Settings, fields: frozenset[str]) -> bool:
    """Note which users some letters name that are not read yet; return False where there are none left.

    `fields` of payloads name users. A letter is read again once contracts say that of more fields.
    """
    page = await session.rows(_Unread, "unread_letters", bytes=PAGE_BYTES)
    named = {
        row.dead_letter_id: users_named(settings.input_prefix, row.nats_subject, row.body, fields=fields)
        for row in page
    }
    await _note_names(session, named)
    if page:
        await session.run("letters_are_read", dead_letter_ids=[row.dead_letter_id for row in page])
    return bool(page)


# -- what an operator does with them -----------------------------------------------------------------------------------


async def list_letters(
    store: Store, *, reason: Reason | None = None, replayed: bool = False, limit: int = 100
) -> list[StoredDeadLetter]:
    """Return dead letters, newest first; with `replayed` also those that were sent again."""
    async with store.transaction() as session:
        return await session.rows(StoredDeadLetter, "dead_letters", reason=reason, replayed=replayed, limit=limit)


async def last_letter(store: Store) -> int:
    """Return the highest id of a dead letter, 0 where there is none."""
    async with store.transaction() as session:
        return await session.value(int, "last_letter") or 0


async def show_letter(store: Store, letter_id: int) -> StoredDeadLetter | None:
    """Return one dead letter, or None where there is none of that id."""
    async with store.transaction() as session:
        return await session.row(StoredDeadLetter, "dead_letter", dead_letter_id=letter_id)


class NotSentError(Exception):
    """A letter is not sent again; the message says why."""


class ErasedError(NotSentError):
    """A user that it names is erased, or it has lost its body that way."""


class CutError(NotSentError):
    """Only the beginning of its body is kept."""


async def replay_letter(
    store: Store,
    broker: Broker,
    letter: StoredDeadLetter,
    *,
    now: int,
    body: bytes | None = None,
    prefix: str = "events",
) -> None:
    """Send a dead letter again on its subject, `body` in place of what it said where something had to be mended.

    `prefix` is that of the input subjects.

    Raises:
        ErasedError, CutError: it is not sent.
        BrokerAwayError: it was not sent, as far as is known, and is still marked as dead.
    """
    said, headers = letter.body if body is None else body, headers_of(letter)
    if letter.erased_at is not None:
        raise ErasedError(f"dead letter {letter.dead_letter_id} has no body any more: {letter.detail}")
    if body is None and is_cut(letter):
        raise CutError(f"dead letter {letter.dead_letter_id}: {CUT}")
    async with store.transaction() as session:
        if await erased_among(session, users_named(prefix, letter.nats_subject, said, headers)):
            raise ErasedError(f"dead letter {letter.dead_letter_id} names a user who is erased")
        await session.run("mark_sent", dead_letter_id=letter.dead_letter_id, digest=digest_of(said))
    # The id in the broker's window would swallow it; the ledger tells whether it is a copy.
    await broker.publish(letter.nats_subject, said, headers=_headers_again(letter))
    async with store.transaction() as session:
        await session.run("mark_replayed", dead_letter_id=letter.dead_letter_id, now=now)


def headers_of(letter: StoredDeadLetter) -> dict[str, str]:
    """Return the headers that a letter came with."""
    return msgspec.json.decode(letter.headers, type=dict[str, str])


def block_of(letter: StoredDeadLetter) -> bytes:
    """Return the block of headers that a letter is sent again with."""
    return header_block(_headers_again(letter))


def _headers_again(letter: StoredDeadLetter) -> dict[str, str]:
    """Return the headers of a letter that is sent again: its region, and what makes it a CloudEvent."""
    before = headers_of(letter)
    headers, named = {**carried(before), REPLAYED: str(letter.dead_letter_id)}, before.get(REGION_HEADER, "")
    return {**headers, REGION_HEADER: named if is_region(named) else UNFIT} if named else headers


def is_cut(letter: StoredDeadLetter) -> bool:
    """Tell whether only the beginning of a letter's body is kept."""
    return letter.reason == Reason.OVERSIZE.value


async def purge_letters(
    store: Store, *, ids: Sequence[int] | None = None, reason: Reason | None = None, before: int = FOR_EVER
) -> int:
    """Delete dead letters that match all that is given and died before an instant; return how many."""
    async with store.transaction() as session:
        chosen = None if ids is None else list(ids)
        return await session.run("purge_dead_letters", dead_letter_ids=chosen, reason=reason, before=before)


async def count_letters(store: Store) -> dict[str, int]:
    """Return how many dead letters wait, by reason."""
    async with store.transaction() as session:
        return {row.reason: row.letters for row in await session.rows(_Count, "count_dead_letters")}


class _Count(NamedTuple):
    reason: str
    letters: int

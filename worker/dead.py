"""Dead letters: buried in the transaction of their batch, and later listed, shown, sent again or purged."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.batch import Letter
    from worker.store import Session, Store
    from worker.stream import Broker
    from worker.verdict import Reason

MAX_DETAIL: Final = 1000
"""Characters of a detail that are kept."""
FOR_EVER: Final = 253_402_300_799_000_000
"""The last second of year 9999, microseconds since the epoch: purges whatever its age."""
REPLAYED: Final = "Ach-Dead-Letter"
"""Header that says which dead letter a message was sent again from."""


class DeadLetter(NamedTuple):
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


async def bury(session: Session, stream: str, letters: Sequence[Letter], *, now: int) -> None:
    """Write dead letters; one that was written before is left alone."""
    if not letters:
        return
    once = {(letter.message.seq, letter.element): letter for letter in letters}
    rows = [once[key] for key in sorted(once)]
    await session.run(
        "insert_dead_letters",
        stream,
        [letter.message.seq for letter in rows],
        [letter.element for letter in rows],
        [blake2b(letter.body, digest_size=16).digest() for letter in rows],
        [letter.reason.value for letter in rows],
        [_storable(letter.detail)[:MAX_DETAIL] for letter in rows],
        [_storable(letter.message.subject) for letter in rows],
        [_headers(letter.message.headers) for letter in rows],
        [letter.body for letter in rows],
        now,
        [letter.message.deliveries for letter in rows],
    )


def _storable(text: str) -> str:
    """Return text that PostgreSQL takes: without U+0000 and without halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _headers(headers: dict[str, str]) -> str:
    return msgspec.json.encode({_storable(name): _storable(value) for name, value in headers.items()}).decode()


async def list_letters(
    store: Store, *, reason: Reason | None = None, replayed: bool = False, limit: int = 100
) -> list[DeadLetter]:
    """Return dead letters, newest first; with `replayed` also those that were sent again."""
    async with store.transaction() as session:
        return await session.rows(DeadLetter, "dead_letters", reason, replayed, limit)


async def show_letter(store: Store, letter_id: int) -> DeadLetter | None:
    """Return one dead letter, or None where there is none of that id."""
    async with store.transaction() as session:
        return await session.row(DeadLetter, "dead_letter", letter_id)


async def replay_letter(
    store: Store, broker: Broker, letter: DeadLetter, *, now: int, body: bytes | None = None
) -> None:
    """Send a dead letter again on its subject, `body` in place of what it said where something had to be mended.

    Raises:
        BrokerAwayError: it was not sent, as far as is known, and is still marked as dead.
    """
    said = letter.body if body is None else body
    # The id in the broker's window would swallow it; the ledger tells whether it is a copy.
    await broker.publish(letter.nats_subject, said, headers={REPLAYED: str(letter.dead_letter_id)})
    async with store.transaction() as session:
        await session.run("mark_replayed", letter.dead_letter_id, now)


async def purge_letters(
    store: Store, *, ids: Sequence[int] | None = None, reason: Reason | None = None, before: int = FOR_EVER
) -> int:
    """Delete dead letters that match all that is given and died before an instant; return how many."""
    async with store.transaction() as session:
        return await session.run("purge_dead_letters", None if ids is None else list(ids), reason, before)


async def count_letters(store: Store) -> dict[str, int]:
    """Return how many dead letters wait, by reason."""
    async with store.transaction() as session:
        return {row.reason: row.letters for row in await session.rows(_Count, "count_dead_letters")}


class _Count(NamedTuple):
    reason: str
    letters: int

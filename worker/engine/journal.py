"""What operators have decided, as lines of a journal that lies outside of the database. Pure.

A backup that is restored has forgotten what was decided since, and no stream has it. The journal does: the rules that
were put into force, who was erased, and which unlocks were revoked or granted by hand.

It must not say what an erasure is to make forgotten, and nothing can be taken out of it again. So no line names a
person or an unlock: it has a keyed hash in its place (HMAC-SHA256). Who has the key and a restored database finds the
names there; who has the journal alone cannot even try names out. Reasons are not in it, since they may name people.
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from worker.engine.rule_set import RuleFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    from dsl.outcome import Subject

KEY_BYTES: Final = 32
"""A key has these at least."""
TORN: Final = b"\0torn\n"
"""Ends a line whose writer died within it, so that the next one begins a line of its own. No JSON has such a byte."""
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""What stands for a name."""


class Pseudonyms:
    """Puts keyed hashes in the place of names."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of_subject(self, subject: Subject) -> str:
        """Return what stands for a subject."""
        return self._hash("subject", *subject)

    def of_unlock(self, unlock_id: UUID) -> str:
        """Return what stands for an unlock: its id alone could be made of a name that is guessed."""
        return self._hash("unlock", str(unlock_id))

    def _hash(self, *parts: str) -> str:
        text = b"".join([len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts])
        return hmac.new(self._key, text, "sha256").hexdigest()


class Erasure(msgspec.Struct, frozen=True, tag="erased", tag_field="deed"):
    """A user was erased."""

    user: Hash


class Lift(msgspec.Struct, frozen=True, tag="lifted", tag_field="deed"):
    """The tombstone of a user was lifted."""

    user: Hash


class Revocation(msgspec.Struct, frozen=True, tag="revoked", tag_field="deed"):
    """Unlocks were revoked."""

    unlocks: tuple[Hash, ...]


class ManualGrant(msgspec.Struct, frozen=True, tag="granted", tag_field="deed"):
    """An achievement was granted by hand."""

    subject: Hash
    scope: str
    achievement: str
    tier: str | None
    occurrence: str | None


def manual_grant(names: Pseudonyms, subject: Subject, key: tuple[str, str | None, str | None]) -> ManualGrant:
    """Return what says that a subject was granted an achievement; its tier and its occurrence."""
    return ManualGrant(names.of_subject(subject), subject.scope, *key)


class RulesApplied(msgspec.Struct, frozen=True, tag="rules", tag_field="deed"):
    """Rule files were put into force."""

    files: tuple[RuleFile, ...]
    announce: str
    since: int | None = None
    """Microseconds, with `announce` = since."""


Deed = Erasure | Lift | Revocation | ManualGrant | RulesApplied


class Outcome(StrEnum):
    """What became of a deed; one without an outcome may have happened."""

    DONE = "done"
    NOT_DONE = "not done"


class Entry(msgspec.Struct, frozen=True):
    """What was decided, written before it is done; `at` in microseconds, the instant that the database has too."""

    entry: str
    """Its id."""
    at: int
    by: str
    what: Deed


class Closing(msgspec.Struct, frozen=True):
    """What became of an entry."""

    closes: str
    outcome: Outcome


class UnreadableJournalError(ValueError):
    """A line is none of a journal; the message says which."""


_entry: Final = msgspec.json.Decoder(Entry)
_closing: Final = msgspec.json.Decoder(Closing)
_encode: Final = msgspec.json.Encoder().encode


def line_of(written: Entry | Closing) -> bytes:
    """Return a line without its end."""
    return _encode(written)


def entries_of(lines: Iterable[bytes]) -> list[Entry]:
    """Return what was decided, in order, without what was not done. The end of a last line may be missing.

    Raises:
        UnreadableJournalError: a line is none of a journal.
    """
    entries: dict[str, Entry] = {}
    for written in _read(lines):
        if isinstance(written, Entry):
            entries[written.entry] = written
        elif written.outcome is Outcome.NOT_DONE:
            entries.pop(written.closes, None)
    return sorted(entries.values(), key=lambda entry: (entry.at, entry.entry))


def _read(lines: Iterable[bytes]) -> Iterator[Entry | Closing]:
    for number, line in enumerate(lines, 1):
        # The process died while it wrote, so what it was about to do is not done.
        if line.endswith(TORN) or not line.endswith(b"\n") or not line.strip():
            continue
        try:
            yield _closing.decode(line) if line.startswith(b'{"closes":') else _entry.decode(line)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise UnreadableJournalError(f"line {number}: {error}") from error

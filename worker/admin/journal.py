"""The journal of operators' decisions: a file that is only added to, on another disk than the database.

A decision is written, and lies on the disk, before it is done; then what became of it. Where that is not known (a
process was killed, a commit was not answered), it counts as done: to do it once more does no harm.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from worker.engine.journal import KEY_BYTES, TORN, Closing, Entry, Outcome, Pseudonyms, entries_of, line_of
from worker.secret_files import SecretFileError, read_secret
from worker.store import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from worker.engine.journal import Deed
    from worker.settings import Settings

_MODE: Final = 0o600


class JournalError(Exception):
    """The journal cannot be used, so nothing was done; the message says why."""


class Noted:
    """What was written; the block says if nothing was done after all."""

    def __init__(self) -> None:
        self.not_done = False


@contextmanager
def journaled(settings: Settings, deed: Callable[[Pseudonyms], Deed], *, by: str, at: int) -> Generator[Noted]:
    """Write what is decided before it is done in the block, and what became of it; nothing if there is no journal.

    `at` is the instant that the database gets too, in microseconds. An error of the block says that nothing was done,
    unless the database went away.

    Raises:
        JournalError: it cannot be written, and the block is not entered.
    """
    noted = Noted()
    if settings.journal is None:
        yield noted
        return
    path = Path(settings.journal)
    entry = Entry(uuid4().hex, at, by, deed(pseudonyms(settings)))
    _append(path, line_of(entry))
    try:
        yield noted
    except UnavailableError:
        raise
    except Exception:
        _append(path, line_of(Closing(entry.entry, Outcome.NOT_DONE)))
        raise
    _append(path, line_of(Closing(entry.entry, Outcome.NOT_DONE if noted.not_done else Outcome.DONE)))


def pseudonyms(settings: Settings) -> Pseudonyms:
    """Return what puts hashes in the place of names.

    Raises:
        JournalError: there is no key, or none that can be used.
    """
    path = settings.journal_key_file
    if path is None:
        raise JournalError("ACH_JOURNAL needs ACH_JOURNAL_KEY_FILE, a file with a secret of 32 bytes or more")
    try:
        key = read_secret(path).encode()
    except SecretFileError as error:
        raise JournalError(f"ACH_JOURNAL_KEY_FILE: {error}") from None
    if len(key) < KEY_BYTES:
        raise JournalError(f"ACH_JOURNAL_KEY_FILE: the key has {len(key)} bytes; it needs {KEY_BYTES} or more")
    return Pseudonyms(key)


def read_journal(path: Path) -> list[Entry]:
    """Return what was decided, in order.

    Raises:
        JournalError: the file cannot be read.
        UnreadableJournalError: it is no journal.
    """
    try:
        with path.open("rb") as file:
            return entries_of(file)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be read: {error.strerror or error}") from error


def _append(path: Path, line: bytes) -> None:
    """Add a line, which lies on the disk then.

    Raises:
        JournalError: it does not.
    """
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            begun = _ends_within_a_line(number)
            _write(number, (TORN if begun else b"") + line + b"\n")
            os.fsync(number)
        finally:
            os.close(number)
        _sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be written: {error.strerror or error}") from error


def _ends_within_a_line(number: int) -> bool:
    """Tell whether a process died while it wrote the last line."""
    size = os.fstat(number).st_size
    return size > 0 and os.pread(number, 1, size - 1) != b"\n"


def _write(number: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

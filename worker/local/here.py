"""Where the servers of `ach dev` are: a file in its data folder, which commands in the same folder find.

The file names servers that commands then trust, so it counts only where its owner runs the command, where no other
user can write it, and while the process that has written it lives.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from stat import S_ISLNK, S_IWGRP, S_IWOTH
from time import sleep
from typing import TYPE_CHECKING, Final

import msgspec

from worker.local.locks import Lock

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from worker.settings import Settings

FOLDER: Final = Path(".ach", "dev")
"""The data folder of `ach dev`, unless another one is named."""
_FILE: Final = "servers.json"
_LOCK: Final = "servers.lock"
LOOK_SECONDS: Final = 0.01
NAMES: Final = ("NATS_URL", "NATS_URL_FILE", "NATS_CONTEXT", "DATABASE_URL", "DATABASE_URL_FILE")
"""Variables that say where servers are: with one of them set, none are looked for."""


class _Here(msgspec.Struct):
    nats_url: str
    database_url: str


@contextmanager
def known_here(folder: Path, settings: Settings) -> Generator[None]:
    """Let commands find the servers of a data folder, for the length of a block."""
    with closing(Lock(folder / _LOCK)) as lock:
        while not lock.take():
            sleep(LOOK_SECONDS)  # a command looks for servers at this moment
        path = folder / _FILE
        unfinished = path.with_suffix(".new")
        with suppress(FileNotFoundError):
            unfinished.unlink()
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(msgspec.json.encode(_Here(settings.nats_url, settings.database_url)))
        unfinished.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def servers_here(environment: Mapping[str, str], folder: Path) -> tuple[Path, dict[str, str]] | None:
    """Return the data folder of an `ach dev` that runs, and the variables that name its servers.

    It is looked for in a folder and in those above it, where the environment names no server itself.
    """
    if any(environment.get(name) for name in NAMES):
        return None
    for place in (folder, *folder.parents):
        if (found := _read(place / FOLDER)) is not None:
            return place / FOLDER, {"NATS_URL": found.nats_url, "DATABASE_URL": found.database_url}
    return None


def _read(folder: Path) -> _Here | None:
    path = folder / _FILE
    try:
        if not (_is_ours(folder) and _is_ours(path)) or not _is_held(folder / _LOCK):
            return None
        return msgspec.json.decode(path.read_bytes(), type=_Here)
    except (OSError, msgspec.DecodeError):
        return None


def _is_ours(path: Path) -> bool:
    found = path.lstat()
    return found.st_uid == os.geteuid() and not S_ISLNK(found.st_mode) and not found.st_mode & (S_IWGRP | S_IWOTH)


def _is_held(path: Path) -> bool:
    """Tell whether a process holds a lock."""
    path.stat()
    with closing(Lock(path)) as lock:
        return not lock.take()

"""The folder of a mirror: its lock, its staging area, and files that appear as wholes.

`manifest.json`, `LAYER/dt=YYYY-MM-DD/RUN-N.parquet`, and `.ach-mirror/`: the lock, what a run is writing, and what
does not fit into memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from worker.mirror.layout import PARTITION, SUFFIX
from worker.mirror.manifest import ManifestError, strays, sync_folder

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from worker.mirror.manifest import Manifest

PRIVATE: Final = ".ach-mirror"
_RUN_DIGITS: Final = 8


class BusyError(Exception):
    """Another mirror is at work in the folder."""


class DiskError(Exception):
    """The disk does not take or give something; the mirror is as it was."""


@contextmanager
def on_disk(folder: Path) -> Generator[None]:
    """Tell errors of the disk from those of the network, which are of the same kind.

    Raises:
        DiskError: the block has raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{folder}: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold a folder for the length of a block; a process that dies gives it back.

    Raises:
        BusyError: another process holds it.
        ManifestError: the folder can be none.
        OSError: it cannot be written.
    """
    try:
        (folder / PRIVATE).mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ManifestError(f"{folder} is no folder") from None
    handle = os.open(folder / PRIVATE / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise BusyError(f"another `ach mirror` is at work in {folder}") from None
            raise
        yield
    finally:
        os.close(handle)


def staging(folder: Path) -> Path:
    """Return where a run writes what is not there yet."""
    return folder / PRIVATE / "staging"


def spill(folder: Path) -> Path:
    """Return where DuckDB puts what does not fit into memory."""
    return folder / PRIVATE / "spill"


def clear(folder: Path, manifest: Manifest) -> int:
    """Delete what a run left behind that died; return how many files of layers these were.

    Raises:
        OSError: something cannot be deleted.
    """
    for place in (staging(folder), spill(folder)):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
    found = list(strays(folder, manifest))
    for path in found:
        path.unlink()
    return len(found)


def staged(stage: Path) -> dict[str, list[Path]]:
    """Return the files that DuckDB has written below a folder, by day."""
    found: dict[str, list[Path]] = {}
    for path in sorted(stage.glob(f"{PARTITION}=*/*{SUFFIX}")):
        found.setdefault(path.parent.name.removeprefix(f"{PARTITION}="), []).append(path)
    return found


def path_of(layer: str, day: str, run: int, n: int) -> str:
    """Return the path of a file below the mirror. Nothing that a producer chose is in it."""
    return f"{layer}/{PARTITION}={day}/{run:0{_RUN_DIGITS}d}-{n}{SUFFIX}"


def put(folder: Path, written: Path, path: str) -> int:
    """Move a whole file to its place, also over one that is there; return its bytes.

    Raises:
        DiskError: it cannot be written.
    """
    target = folder / path
    with on_disk(folder):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(written, os.O_RDONLY)
        try:
            os.fsync(handle)
            size = os.fstat(handle).st_size
        finally:
            os.close(handle)
        written.replace(target)
        sync_folder(target.parent)
    return size

"""A mirror in a folder: its lock, its staging area, and files that appear as wholes.

`manifest.json`, `LAYER/dt=YYYY-MM-DD/NUMBER-N.parquet`, and `.ach-mirror/`: the lock, what a run is writing, and what
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
from worker.mirror.manifest import Manifest, ManifestError, read_manifest, strays, sync_folder, write_manifest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from worker.mirror.manifest import File

PRIVATE: Final = ".ach-mirror"
_NUMBER_DIGITS: Final = 8


class BusyError(Exception):
    """Another mirror is at work in the same place."""


class DiskError(Exception):
    """The disk does not take or give something; the mirror is as it was."""


@contextmanager
def on_disk(shown: object) -> Generator[None]:
    """Tell errors of the disk from those of the network, which are of the same kind.

    Raises:
        DiskError: the block has raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{shown}: {error.strerror or error}") from error


@contextmanager
def locked(folder: Path, shown: object = None) -> Generator[None]:
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
                raise BusyError(f"another `ach mirror` is at work in {shown or folder}") from None
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


def make_room(folder: Path) -> None:
    """Empty what a run writes beside the mirror, also where the one before died.

    Raises:
        OSError: something cannot be made.
    """
    for place in (staging(folder), spill(folder)):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)


def clear(folder: Path, manifest: Manifest) -> int:
    """Delete what a run left behind that died; return how many files of layers these were.

    Raises:
        OSError: something cannot be deleted.
    """
    make_room(folder)
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


def path_of(layer: str, day: str, number: int, n: int) -> str:
    """Return the path of a file below the mirror. Nothing that a producer chose is in it."""
    return f"{layer}/{PARTITION}={day}/{number:0{_NUMBER_DIGITS}d}-{n}{SUFFIX}"


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


class Folder:
    """A mirror in a folder, as a run writes it: see `Place` in `files.py`."""

    in_place = True
    mutex: int | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.staging = staging(folder)
        self.spill = spill(folder)

    def __str__(self) -> str:
        """Return where it is."""
        return str(self._folder)

    def held(self) -> AbstractContextManager[None]:
        """Hold it for the length of a block: see `locked`."""
        return locked(self._folder)

    def look(self) -> Manifest | None:
        """Return the manifest: see `read_manifest`."""
        return read_manifest(self._folder)

    def begin(self, tenant: str | None, database: str) -> Manifest:
        """Begin a run of a tenant (None: of all) of a database; return what is there.

        Raises:
            ManifestError: it is none that this run can go on with.
            OSError: the disk cannot.
        """
        before = read_manifest(self._folder)
        if before is None:
            before = Manifest(tenant=tenant)
            write_manifest(self._folder, before)
        check_owner(before, tenant, database, self._folder)
        clear(self._folder, before)
        return before

    def write(self, manifest: Manifest) -> None:
        """Make the run count: see `write_manifest`."""
        write_manifest(self._folder, manifest)

    def end(self, manifest: Manifest) -> None:
        """Delete what does not count any more: see `clear`."""
        clear(self._folder, manifest)

    def sizes(self, files: Sequence[File]) -> dict[str, int]:
        """Return the bytes of those files that are there, by their paths."""
        found: dict[str, int] = {}
        for file in files:
            path = self._folder / file.path
            if path.exists():
                found[file.path] = path.stat().st_size
        return found

    def batches(self, files: Sequence[File]) -> Iterator[Sequence[File]]:
        """Yield the files in parts that may be here at the same time: all, for they are."""
        if files:
            yield files

    def fetch(self, files: Sequence[File]) -> list[Path]:
        """Return where files are."""
        return [self._folder / file.path for file in files]

    def drop(self, files: Sequence[File]) -> None:
        """Let go of files that were fetched: they stay."""

    def put(self, written: Path, path: str, *, keep: bool) -> int:  # noqa: ARG002 - they stay here
        """Move a whole file to its place: see the function of this name."""
        return put(self._folder, written, path)


def check_owner(manifest: Manifest, tenant: str | None, database: str, shown: object) -> None:
    """Check that a mirror is of a tenant (None: of all) of a database.

    Raises:
        ManifestError: it is another one's.
    """
    if manifest.tenant != tenant:
        what = "all tenants" if manifest.tenant is None else f"tenant {manifest.tenant!r} alone"
        raise ManifestError(f"{shown} is a mirror of {what}: name another folder for another one")
    if manifest.database not in {"", database}:
        raise ManifestError(f"{shown} is a mirror of another database: name an empty folder")

"""A mirror in a bucket. An object appears as a whole and cannot be moved, so its name is used once, and never again.

States: a manifest names the objects that count. A run goes these steps:

1. It reads the manifest, and lists all objects.
2. It *claims*: it writes the manifest again, on the condition that it is still the one that was read, with a number
   above that of any object, and with a word of its own. From then on no other run can write the manifest.
3. It deletes the objects of its list that the manifest does not name: their runs died, or were cut off by the claim.
4. It puts objects under names with its number.
5. It writes the manifest, on the condition that its claim still stands.
6. It deletes what the manifest named before and names no more.

Why it is safe: who reads by the manifest sees whole runs alone, since only steps 2 and 5 write it, each by one request
that the store takes or refuses. What step 3 deletes was there before the claim, so a run that put it cannot make it
count any more; what step 6 deletes no later manifest names. So a run that was frozen and goes on harms nothing: its
step 5 is refused. A store that does not mind conditions is refused in step 2.

A second run is refused before its claim, by a lock of the same folder of this machine and one of the database, so that
a long run is not cut off by the next one each time. These locks are for politeness; the claim alone makes it safe.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final

import msgspec

from worker.mirror.folder import PRIVATE, BusyError, DiskError, check_owner, locked, make_room, on_disk, spill, staging
from worker.mirror.manifest import MANIFEST, Manifest, ManifestError, decoded, encoded, is_ours
from worker.mirror.stores import GoneError, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from worker.mirror.manifest import File
    from worker.mirror.objects import Held, Objects

_BATCH_FILES: Final = 16
_BATCH_BYTES: Final = 64 << 20
"""What is fetched at a time where all files of a layer are read."""
_CUT_OFF: Final = "another run of `ach mirror` has begun in {} meanwhile: this one has changed nothing"
_DEAF: Final = "{}: its server does not mind conditions (If-Match): two runs at once could spoil a mirror there"


class BucketMirror:
    """A mirror in a bucket, as a run writes it: see `Place` in `files.py`."""

    in_place = False

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._scratch = scratch_of(str(objects))
        self.staging = staging(self._scratch)
        self.spill = spill(self._scratch)
        self.mutex: int | None = int.from_bytes(_hash(str(objects))[:8], signed=True)
        self._tag = ""
        self._there: dict[str, int] = {}
        self._named: set[str] = set()
        self._put: set[str] = set()
        self._kept: set[str] = set()

    def __str__(self) -> str:
        """Return where it is."""
        return str(self._objects)

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the folder of this machine for runs in this place.

        Raises:
            BusyError: another process has it.
            OSError: it cannot be written.
            DiskError: it is of another user.
        """
        make_private(self._scratch)
        with locked(self._scratch, self):
            make_room(self._scratch)
            try:
                yield
            finally:
                for name in (staging(self._scratch), spill(self._scratch), self._local("")):
                    shutil.rmtree(name, ignore_errors=True)

    def look(self) -> Manifest | None:
        """Return the manifest; None where there is none, nor anything else.

        Raises:
            ManifestError: there is something else, or a mirror of a newer version.
            StoreError: the store does not say.
        """
        return look(self._objects)

    def begin(self, tenant: str | None, database: str) -> Manifest:
        """Begin a run of a tenant (None: of all) of a database, with steps 1 to 3; return what is there.

        Raises:
            BusyError: another run has begun at the same time.
            ManifestError: it is none that this run can go on with.
            StoreError: the store does not take it, or does not mind conditions.
        """
        shutil.rmtree(self._local(""), ignore_errors=True)
        held = self._first(tenant)
        before = decoded(held.body, str(self))
        check_owner(before, tenant, database, self)
        there = self._objects.sizes()
        number = max([before.attempt, before.run, *(_number(path) for path in there if is_ours(path))]) + 1
        before = msgspec.structs.replace(before, attempt=number, holder=token_hex(8))
        self._claim(before, held)
        self._named = {file.path for files in before.layers.values() for file in files}
        self._put, self._kept = set(), set()
        self._there = {path: size for path, size in there.items() if path in self._named}
        self._objects.delete(path for path in there if is_ours(path) and path not in self._named)
        return before

    def _first(self, tenant: str | None) -> Held:
        held = self._objects.read(MANIFEST)
        if held is None:
            self.look()
            body = encoded(Manifest(tenant=tenant, holder=token_hex(8)))
            if self._objects.create(MANIFEST, body) is not None and not self._objects.refuses(MANIFEST, body, None):
                raise StoreError(_DEAF.format(self))
            held = self._objects.read(MANIFEST)
        if held is None:
            raise StoreError(f"{self}: its server does not give back what it took")
        return held

    def _claim(self, claim: Manifest, held: Held) -> None:
        body = encoded(claim)
        tag = self._objects.replace(MANIFEST, body, held.tag)
        if tag is None:
            raise BusyError(_CUT_OFF.format(self))
        if not self._objects.refuses(MANIFEST, body, held.tag):
            raise StoreError(_DEAF.format(self))
        self._tag = tag

    def write(self, manifest: Manifest) -> None:
        """Make the run count, which is step 5.

        Raises:
            BusyError: another run has begun meanwhile; this one does not count.
            StoreError: the store does not say that it does.
        """
        body = encoded(manifest)
        try:
            tag = self._objects.replace(MANIFEST, body, self._tag)
        except StoreError:
            # The answer may be lost, and not the request.
            held = self._objects.read(MANIFEST)
            if held is None or held.body != body:
                raise
            tag = held.tag
        if tag is None:
            self._objects.delete(self._put)
            raise BusyError(_CUT_OFF.format(self))
        self._tag = tag

    def end(self, manifest: Manifest) -> None:
        """Delete what does not count any more, which is step 6.

        Raises:
            StoreError: the store does not say that it is gone; the next run deletes it.
        """
        names = {file.path for files in manifest.layers.values() for file in files}
        try:
            self._objects.delete(sorted((self._named | self._put) - names))
        except StoreError as error:
            said = f"{error}; run {manifest.run} counts, but what it has replaced is still there until the next run"
            raise StoreError(said, away=error.away, hint=error.hint) from error

    def sizes(self, files: Sequence[File]) -> dict[str, int]:  # noqa: ARG002 - of all
        """Return the bytes of those files that are there, by their paths."""
        return self._there

    def batches(self, files: Sequence[File]) -> Iterator[Sequence[File]]:
        """Yield the files in parts that may be here at the same time."""
        batch: list[File] = []
        for file in files:
            if batch and (len(batch) == _BATCH_FILES or sum(one.bytes for one in batch) + file.bytes > _BATCH_BYTES):
                yield batch
                batch = []
            batch.append(file)
        if batch:
            yield batch

    def fetch(self, files: Sequence[File]) -> list[Path]:
        """Bring files here; return where they are.

        Raises:
            BusyError: another run has begun meanwhile, and has deleted one.
            StoreError: the store does not give one.
            DiskError: the disk cannot take one.
        """
        wanted = [(file.path, file.bytes, self._local(file.path)) for file in files]
        try:
            with on_disk(self._scratch):
                self._objects.fetch([one for one in wanted if not one[2].exists()])
        except GoneError:
            held = self._objects.read(MANIFEST)
            if held is None or held.tag != self._tag:
                raise BusyError(_CUT_OFF.format(self)) from None
            raise
        return [target for _, _, target in wanted]

    def drop(self, files: Sequence[File]) -> None:
        """Let go of files that were fetched."""
        for file in files:
            if file.path not in self._kept:
                self._local(file.path).unlink(missing_ok=True)

    def put(self, written: Path, path: str, *, keep: bool) -> int:
        """Send a whole file; return its bytes. With `keep` it stays here too, until the run ends.

        Raises:
            StoreError: the store does not take it.
            DiskError: it cannot be read or moved.
        """
        self._put.add(path)
        with on_disk(self._scratch):
            size = self._objects.put(path, written)
            if keep:
                self._kept.add(path)
                self._local(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                written.replace(self._local(path))
            else:
                written.unlink()
        return size

    def _local(self, path: str) -> Path:
        return self._scratch / PRIVATE / "local" / path


def look(objects: Objects) -> Manifest | None:
    """Return the manifest of a place; None where there is none, nor anything else.

    Raises:
        ManifestError: there is something else, or a mirror of a newer version.
        StoreError: the store does not say.
    """
    held = objects.read(MANIFEST)
    if held is not None:
        return decoded(held.body, str(objects))
    if not objects.is_empty():
        raise ManifestError(f"{objects} holds other things and no {MANIFEST}: name an empty prefix")
    return None


def scratch_of(shown: str) -> Path:
    """Return the folder of this machine for runs in a place: the same for each, so that the next one finds it."""
    return Path(gettempdir(), f"ach-mirror-{os.geteuid()}-{_hash(shown)[:8].hex()}")


def make_private(folder: Path) -> None:
    """Make a folder that no other user can look into, where others may write, too.

    Raises:
        DiskError: it is there and of another user.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise DiskError(f"{folder} is there, and not a folder of this user alone: delete it, or set TMPDIR")


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _number(path: str) -> int:
    """Return the number of the run in the name of a file."""
    digits = path.rpartition("/")[2].partition("-")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0  # noqa: PLR2004

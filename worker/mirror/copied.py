"""A mirror in a bucket for those who read it: a copy of what its manifest names, in a folder of this machine.

A name is used once, so a file that is here already is the right one.
"""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from weakref import finalize

from worker.mirror.bucket import look
from worker.mirror.layout import SUFFIX

if TYPE_CHECKING:
    from worker.mirror.manifest import Manifest
    from worker.mirror.objects import Objects


class Copied:
    """The copy, which goes with this object. All methods block."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._folder = Path(mkdtemp(prefix="ach-copy-"))
        finalize(self, rmtree, self._folder, ignore_errors=True)

    def __str__(self) -> str:
        """Return where the mirror is."""
        return str(self._objects)

    def look(self) -> Manifest | None:
        """Return the manifest of the mirror.

        Raises:
            ManifestError, StoreError: as `look` of a bucket does.
        """
        return look(self._objects)

    def bring(self, manifest: Manifest) -> Path:
        """Bring here what a manifest names, drop what it does not; return the folder, laid out as a mirror is.

        Raises:
            GoneError: a run has deleted a file meanwhile: look again.
            StoreError: the store does not give one.
            OSError: the disk cannot take one.
        """
        named = {file.path: file.bytes for files in manifest.layers.values() for file in files}
        for path in self._folder.rglob(f"*{SUFFIX}"):
            if path.relative_to(self._folder).as_posix() not in named:
                path.unlink()
        wanted = [(path, size, self._folder / path) for path, size in named.items()]
        self._objects.fetch([one for one in wanted if not one[2].exists()])
        return self._folder

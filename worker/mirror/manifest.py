"""The manifest: which files make the mirror, and up to where they go. One file, replaced as a whole. Pure but for I/O.

A run writes files first and the manifest last. A file that the manifest does not name is no part of the mirror: what a
run has left behind that died, which the next one deletes. So a reader who goes by the manifest sees whole runs alone.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import msgspec

from worker.mirror.layout import LAYERS, PARTITION, SUFFIX, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANIFEST: Final = "manifest.json"
_LAYERS: Final = "|".join(layer.name for layer in LAYERS)
_OURS: Final = re.compile(rf"(?:{_LAYERS})/{PARTITION}=[0-9-]{{1,20}}/[0-9A-Za-z_-]{{1,99}}{re.escape(SUFFIX)}")


class ManifestError(Exception):
    """A folder is no mirror, or one that this version or this run cannot go on with; the message says what to do."""


class File(msgspec.Struct, frozen=True):
    """One file: `path` below the mirror, `dt` its day, the run that wrote it, its rows and bytes."""

    path: str
    dt: str
    run: int
    rows: int
    bytes: int


class Manifest(msgspec.Struct, kw_only=True):
    """What a mirror is.

    `bound` is the transaction up to which everything of `database` is there; `progress_bound` is the bound of the run
    that wrote down progress, on `progress_day`. `traits` is a hash of the declarations that traits were read by, and
    `rules` one of the rows of `rule_version`; `progress_rules` is the one of that run, "" where it has left some out.
    `attempt` is the number in the names of files that the latest run wrote, which grows with each; in a bucket, a run
    that begins says so here, and `holder` is a text that it drew.
    """

    layout: int = VERSION
    database: str = ""
    tenant: str | None = None
    run: int = 0
    attempt: int = 0
    holder: str = ""
    at: str = ""
    bound: int = 0
    progress_bound: int = 0
    progress_day: str = ""
    progress_rules: str = ""
    traits: str = ""
    rules: str = ""
    layers: dict[str, list[File]] = {}

    def files(self, layer: str) -> list[File]:
        """Return the files of a layer."""
        return self.layers.get(layer, [])

    def rows(self, layer: str) -> int:
        """Return how many rows a layer has."""
        return sum(file.rows for file in self.files(layer))


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a mirror; None where the folder is empty, or none at all yet.

    Raises:
        ManifestError: the folder holds something else, or a mirror of a newer version.
        OSError: it cannot be read.
    """
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        if folder.is_dir() and any(not one.name.startswith(".") for one in folder.iterdir()):
            raise ManifestError(f"{folder} holds other things and no {MANIFEST}: name an empty folder") from None
        return None
    return decoded(text, str(folder))


def decoded(text: bytes, shown: str) -> Manifest:
    """Return the manifest that a text is; `shown` says where the mirror lies.

    Raises:
        ManifestError: it is none, or of a newer version.
    """
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError:
        raise ManifestError(f"{shown}/{MANIFEST} is none that `ach mirror` wrote: name another place") from None
    if manifest.layout > VERSION:
        raise ManifestError(f"{shown} was written by a newer ach (layout {manifest.layout}): update this one")
    if not all(is_ours(file.path) for files in manifest.layers.values() for file in files):
        raise ManifestError(f"{shown}/{MANIFEST} names files outside of its layers: name another place")
    return manifest


def encoded(manifest: Manifest) -> bytes:
    """Return the text of a manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def is_ours(path: str) -> bool:
    """Tell whether a path is that of a file of a layer."""
    return _OURS.fullmatch(path) is not None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a mirror; after a crash it is the old one or this one.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    text = encoded(manifest)
    beside = folder / f".{MANIFEST}"
    with beside.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / MANIFEST)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def strays(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield the Parquet files of layers that the manifest does not name."""
    named = {file.path for files in manifest.layers.values() for file in files}
    for layer in LAYERS:
        for path in sorted((folder / layer.name).glob(f"dt=*/*{SUFFIX}")):
            if path.relative_to(folder).as_posix() not in named:
                yield path

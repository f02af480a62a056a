"""What is staged becomes files of the mirror: without rows that are there already, and without those of the erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.mirror.duck import no_rows, parquet_options, quoted, read_parquet
from worker.mirror.folder import on_disk, path_of, put, staged, staging
from worker.mirror.manifest import File, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from worker.mirror.duck import Duck
    from worker.mirror.layout import Layer
    from worker.mirror.manifest import Manifest

NO_DAY: Final = "1970-01-01"
"""Of a file without rows."""
_MERGED: Final = 1000
"""Number of a file that was made of others; a run writes fewer for a day."""


class Files:
    """The files of one run.

    `reached` is called at every point where a process that dies leaves something else behind than at the one before.
    """

    def __init__(self, folder: Path, manifest: Manifest, duck: Duck, reached: Callable[[str], None]) -> None:
        self.folder = folder
        self._duck = duck
        self._reached = reached
        self._run = manifest.run + 1
        self._replaced = 0
        self.layers = {name: list(files) for name, files in manifest.layers.items()}
        """What the manifest is to say; the one given stays as it is."""

    def mend(self) -> None:
        """Take note of files that a run rewrote which died before it wrote the manifest.

        Raises:
            ManifestError: a file is gone.
            DuckError: one cannot be read.
            DiskError: the disk cannot say.
        """
        for layer, files in self.layers.items():
            self.layers[layer] = [self._mended(file) for file in files]

    def _mended(self, file: File) -> File:
        path = self.folder / file.path
        with on_disk(self.folder):
            size = path.stat().st_size if path.exists() else -1
        if size < 0:
            raise ManifestError(f"{path} is missing: put it back, or begin anew in an empty folder")
        if size == file.bytes:
            return file
        return File(file.path, file.dt, file.run, self._rows(path), size)

    def paths(self, layer: Layer, day: str | None = None) -> list[Path]:
        """Return the files of a layer, of one day or of all."""
        return [self.folder / file.path for file in self.layers.get(layer.name, []) if day in {None, file.dt}]

    def add(self, layer: Layer, stage: Path) -> list[Path]:
        """Move what was staged to its place, without the rows that are there already; return the files.

        Raises:
            DuckError: DuckDB cannot read or write one.
            DiskError: the disk cannot take one.
        """
        added: list[Path] = []
        self._reached(f"{layer.name} staged")
        for day, files in staged(stage).items():
            there = self.paths(layer, day)
            for n, written in enumerate(self._fresh(layer, files, there)):
                path = path_of(layer.name, day, self._run, n)
                self._place(layer, written, path, day)
                added.append(self.folder / path)
        return added

    def _fresh(self, layer: Layer, files: Sequence[Path], there: Sequence[Path]) -> Sequence[Path]:
        """Return files with the rows of staged ones that none of `there` has."""
        if not there:
            return files
        fresh, old = read_parquet(files), read_parquet(there)
        same = " AND ".join(f"old.{name} IS NOT DISTINCT FROM fresh.{name}" for name in layer.key)
        exists = f"EXISTS (FROM {old} AS old WHERE {same})"
        if not self._duck.number(f"SELECT count(*) FROM {fresh} AS fresh WHERE {exists}"):
            return files
        kept = self._beside(layer)
        self.write(f"SELECT * FROM {fresh} AS fresh WHERE NOT {exists}", kept)
        return [kept] if self._rows(kept) else []

    def write(self, query: str, target: Path) -> None:
        """Write the rows of a query as one file.

        Raises:
            DuckError: DuckDB cannot.
        """
        self._duck.run(f"COPY ({query}) TO {quoted(target)} ({parquet_options()})")

    def replace(self, layer: Layer, file: File, query: str) -> None:
        """Write a file anew, in its place, with the rows of a query; it stays even if it has none.

        Raises:
            DuckError, DiskError: as in `add`.
        """
        written = self._beside(layer)
        self.write(query, written)
        self.layers[layer.name].remove(file)
        self._reached(f"{layer.name} rewritten")
        self._place(layer, written, file.path, file.dt)

    def found(self, layer: Layer) -> None:
        """Give a layer without any file one without rows: who reads a folder fails where there is none.

        Raises:
            DuckError, DiskError: as in `add`.
        """
        if not self.layers.get(layer.name):
            written = self._beside(layer)
            self.write(no_rows(layer), written)
            self._place(layer, written, path_of(layer.name, NO_DAY, self._run, 0), NO_DAY)

    def reset(self, layer: Layer) -> None:
        """Forget the files of a layer, which are deleted when the manifest no longer names them."""
        self.layers[layer.name] = []

    def merge(self, layer: Layer, small: Sequence[File]) -> None:
        """Make one file of several of a day; those are deleted when the manifest no longer names them.

        Raises:
            DuckError, DiskError: as in `add`.
        """
        day = small[0].dt
        written = self._beside(layer)
        self.write(f"SELECT * FROM {read_parquet([self.folder / file.path for file in small])}", written)
        self.layers[layer.name] = [file for file in self.layers[layer.name] if file not in small]
        self._place(layer, written, path_of(layer.name, day, self._run, _MERGED), day)

    def _beside(self, layer: Layer) -> Path:
        self._replaced += 1
        folder = staging(self.folder) / "rewritten"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{layer.name}-{self._replaced}.parquet"

    def _place(self, layer: Layer, written: Path, path: str, day: str) -> None:
        rows = self._rows(written)
        size = put(self.folder, written, path)
        self.layers.setdefault(layer.name, []).append(File(path, day, self._run, rows, size))
        self._reached(f"{layer.name} placed")

    def _rows(self, file: Path) -> int:
        return self._duck.number(f"SELECT count(*) FROM {read_parquet([file])}")

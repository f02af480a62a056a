"""What is staged becomes files of the mirror: without rows that are there already, and without those of the erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from worker.mirror.duck import no_rows, parquet_options, quoted, read_parquet
from worker.mirror.folder import on_disk, path_of, staged
from worker.mirror.manifest import File, ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from worker.mirror.duck import Duck
    from worker.mirror.layout import Layer
    from worker.mirror.manifest import Manifest

NO_DAY: Final = "1970-01-01"
"""Of a file without rows."""
_MERGED: Final = 1000
"""Number of a file that was made of others; a run writes fewer for a day."""
_ANEW: Final = 2000
"""From here on, numbers of files that were written anew where a name is used once."""


class Place(Protocol):
    """Where a mirror lies, as a run writes it. All methods block.

    `in_place` says whether a file may be written anew under its name. `staging` and `spill` are folders of this
    machine. `mutex` is a lock of the database that a run holds, if any.
    """

    @property
    def in_place(self) -> bool: ...  # noqa: D102 - above
    @property
    def staging(self) -> Path: ...  # noqa: D102
    @property
    def spill(self) -> Path: ...  # noqa: D102
    @property
    def mutex(self) -> int | None: ...  # noqa: D102

    def held(self) -> AbstractContextManager[None]:
        """Keep other runs of this machine away for the length of a block."""
        ...

    def look(self) -> Manifest | None:
        """Return the manifest, and change nothing."""
        ...

    def begin(self, tenant: str | None, database: str) -> Manifest:
        """Begin a run; return what is there. Only what runs have left behind that died is deleted."""
        ...

    def write(self, manifest: Manifest) -> None:
        """Make the run count."""
        ...

    def end(self, manifest: Manifest) -> None:
        """Delete what does not count any more."""
        ...

    def sizes(self, files: Sequence[File]) -> Mapping[str, int]:
        """Return the bytes of those files that are there, by their paths."""
        ...

    def batches(self, files: Sequence[File]) -> Iterator[Sequence[File]]:
        """Yield files in parts that may be on this machine at the same time."""
        ...

    def fetch(self, files: Sequence[File]) -> list[Path]:
        """Return where on this machine files can be read; they are brought here if need be."""
        ...

    def drop(self, files: Sequence[File]) -> None:
        """Let go of files that were fetched."""
        ...

    def put(self, written: Path, path: str, *, keep: bool) -> int:
        """Take a whole file; return its bytes. With `keep` a copy stays on this machine until the run ends."""
        ...


class Files:
    """The files of one run.

    `reached` is called at every point where a process that dies leaves something else behind than at the one before.
    """

    def __init__(self, place: Place, manifest: Manifest, duck: Duck, reached: Callable[[str], None]) -> None:
        self.place = place
        self._duck = duck
        self._reached = reached
        self._run = manifest.run + 1
        # A bucket has given the run its number when it began.
        self.number = max(manifest.attempt, manifest.run) + 1 if place.in_place else manifest.attempt
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
            with on_disk(self.place):
                there = self.place.sizes(files)
            self.layers[layer] = [self._mended(file, there.get(file.path, -1)) for file in files]

    def _mended(self, file: File, size: int) -> File:
        if size == file.bytes:
            return file
        if size < 0:
            raise ManifestError(f"{self.place}/{file.path} is missing: put it back, or begin anew in an empty folder")
        if not self.place.in_place:
            raise ManifestError(f"{self.place}/{file.path} is not what a run wrote: put it back, or begin anew")
        (path,) = self.place.fetch([file])
        return File(file.path, file.dt, file.run, self._rows(path), size)

    def of(self, layer: Layer, day: str | None = None) -> list[File]:
        """Return the files of a layer, of one day or of all."""
        return [file for file in self.layers.get(layer.name, []) if day in {None, file.dt}]

    def add(self, layer: Layer, stage: Path) -> list[File]:
        """Put what was staged to its place, without the rows that are there already; return the files.

        Raises:
            DuckError: DuckDB cannot read or write one.
            DiskError: the disk cannot take one.
            StoreError: the store cannot.
        """
        added: list[File] = []
        self._reached(f"{layer.name} staged")
        for day, files in staged(stage).items():
            there = self.of(layer, day)
            for n, written in enumerate(self._fresh(layer, files, there)):
                added.append(self._place(layer, written, (day, n), keep=True))
        return added

    def _fresh(self, layer: Layer, files: Sequence[Path], there: Sequence[File]) -> Sequence[Path]:
        """Return files with the rows of staged ones that none of `there` has."""
        for batch in self.place.batches(there):
            files = self._without(layer, files, self.place.fetch(batch))
            self.place.drop(batch)
        return files

    def _without(self, layer: Layer, files: Sequence[Path], there: Sequence[Path]) -> Sequence[Path]:
        if not files:
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
        """Write a file anew with the rows of a query; it stays even if it has none.

        Raises:
            DuckError, DiskError, StoreError: as in `add`.
        """
        written = self._beside(layer)
        self.write(query, written)
        self.layers[layer.name].remove(file)
        self._reached(f"{layer.name} rewritten")
        self._place(layer, written, (file.dt, _ANEW + self._replaced), old=file.path if self.place.in_place else None)

    def found(self, layer: Layer) -> None:
        """Give a layer without any file one without rows: who reads a folder fails where there is none.

        Raises:
            DuckError, DiskError, StoreError: as in `add`.
        """
        if not self.layers.get(layer.name):
            written = self._beside(layer)
            self.write(no_rows(layer), written)
            self._place(layer, written, (NO_DAY, 0))

    def reset(self, layer: Layer) -> None:
        """Forget the files of a layer, which are deleted when the manifest no longer names them."""
        self.layers[layer.name] = []

    def merge(self, layer: Layer, small: Sequence[File]) -> None:
        """Make one file of several of a day; those are deleted when the manifest no longer names them.

        Raises:
            DuckError, DiskError, StoreError: as in `add`.
        """
        written = self._beside(layer)
        self.write(f"SELECT * FROM {read_parquet(self.place.fetch(small))}", written)
        self.place.drop(small)
        self.layers[layer.name] = [file for file in self.layers[layer.name] if file not in small]
        self._place(layer, written, (small[0].dt, _MERGED))

    def _beside(self, layer: Layer) -> Path:
        self._replaced += 1
        folder = self.place.staging / "rewritten"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{layer.name}-{self._replaced}.parquet"

    def _place(
        self, layer: Layer, written: Path, name: tuple[str, int], *, old: str | None = None, keep: bool = False
    ) -> File:
        """Put a file to its place, by its day and number, or under its `old` path."""
        day, n = name
        path = old or path_of(layer.name, day, self.number, n)
        rows = self._rows(written)
        size = self.place.put(written, path, keep=keep)
        file = File(path, day, self._run, rows, size)
        self.layers.setdefault(layer.name, []).append(file)
        self._reached(f"{layer.name} placed")
        return file

    def _rows(self, file: Path) -> int:
        return self._duck.number(f"SELECT count(*) FROM {read_parquet([file])}")

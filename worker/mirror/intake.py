"""Rows into staged Parquet files: CSV through a pipe, DuckDB at its other end.

Neither side holds more than a few pieces at a time. Where one fails, the other one ends: a reader that has gone breaks
the pipe, and what was staged from a writer that failed is never used.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
from anyio import to_thread

from worker.mirror.duck import LINE_BYTES, DuckError, parquet_options, quoted, read_csv
from worker.mirror.layout import PARTITION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.mirror.duck import Duck
    from worker.mirror.layout import Layer

_PIECE: Final = 1 << 20

Sink: TypeAlias = Callable[[bytes], Coroutine[Any, Any, None]]
Source: TypeAlias = Callable[[Sink], Awaitable[None]]
"""What hands rows over, as CSV, in pieces that may end anywhere."""


async def stage(duck: Duck, layer: Layer, folder: Path, source: Source) -> None:
    """Stage the rows of a layer below `folder`, in a folder for each day.

    Raises:
        DuckError: DuckDB cannot take them.
    """
    for line_bytes in LINE_BYTES:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            await _stage(duck, layer, folder, source, line_bytes)
        except DuckError as error:
            if not error.too_long or line_bytes == LINE_BYTES[-1]:
                raise
        else:
            return


async def _stage(duck: Duck, layer: Layer, folder: Path, source: Source, line_bytes: int) -> None:
    reading, writing = os.pipe()
    failed: list[Exception] = []

    def read() -> None:
        try:
            duck.run(_copy(read_csv(f"/dev/fd/{reading}", layer, line_bytes), folder))
        except DuckError as error:
            failed.append(error)
        finally:
            os.close(reading)

    async with anyio.create_task_group() as tasks:
        # Its end of the pipe is closed in any case, so this thread comes to an end.
        tasks.start_soon(to_thread.run_sync, read)
        try:
            await _write(writing, source)
        except Exception as error:  # noqa: BLE001 - raised below, out of the group
            failed.insert(0, error)
    if failed:
        raise failed[0]


async def _write(writing: int, source: Source) -> None:
    pipe = os.fdopen(writing, "wb", buffering=0)
    held = bytearray()

    def put() -> None:
        # A source that fails in the middle would leave its transaction unusable: it goes on, for nothing.
        with suppress(BrokenPipeError):
            while held:
                del held[: pipe.write(held)]
        held.clear()

    async def sink(piece: bytes) -> None:
        held.extend(piece)
        if len(held) >= _PIECE:
            # In a thread: the pipe may be full, and its reader is not at work before this one lets it.
            await to_thread.run_sync(put)

    try:
        await source(sink)
        await to_thread.run_sync(put)
    finally:
        pipe.close()


def _copy(rows: str, folder: Path) -> str:
    # Years beyond four digits are none of ours; a day is text, so that its folder is named alike everywhere.
    return (
        f"COPY (SELECT *, strftime(processing_time, '%Y-%m-%d') AS {PARTITION} FROM {rows}) TO {quoted(folder)} "
        f"({parquet_options()}, PARTITION_BY ({PARTITION}), OVERWRITE_OR_IGNORE true)"
    )


def csv_row(cells: Sequence[object]) -> str:
    """Return a row as PostgreSQL writes it: null is empty, and all text is quoted."""
    return ",".join("" if cell is None else '"' + str(cell).replace('"', '""') + '"' for cell in cells) + "\n"

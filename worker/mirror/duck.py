"""DuckDB, in memory and within bounds: the only module of the room that knows it.

What a row holds never gets into a message: errors of DuckDB quote the data that they are about.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import duckdb

from worker.mirror.layout import Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from worker.mirror.layout import Layer

TYPES: Final = {
    Kind.ID: "VARCHAR",
    Kind.TEXT: "VARCHAR",
    Kind.JSON: "VARCHAR",
    Kind.INTEGER: "INTEGER",
    Kind.BIGINT: "BIGINT",
    Kind.NUMBER: "DECIMAL(38, 9)",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
}
LINE_BYTES: Final = (4 << 20, 160 << 20)
"""The longest row, and that where a row turned out to be longer: the broker takes 64 MiB, and quoting doubles it."""
_QUOTED_NULLS: Final = "false"
"""What is quoted is text, also where it is empty."""
_TOO_LONG: Final = "Maximum line size"


class DuckError(Exception):
    """DuckDB could not do what it was asked for; `full` says that the disk is full, `memory` that memory ran out."""

    def __init__(self, said: str, *, full: bool = False, memory: bool = False, too_long: bool = False) -> None:
        super().__init__(said)
        self.full = full
        self.memory = memory
        self.too_long = too_long


class Bounds(NamedTuple):
    """What DuckDB may take: memory as it writes it, such as `512MB`, and threads."""

    memory: str = "512MB"
    threads: int = 2


class Duck:
    """One connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, query: str, *values: object) -> None:
        """Carry out a statement.

        Raises:
            DuckError: it failed.
        """
        self.rows(query, *values)

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Return all rows of a query.

        Raises:
            DuckError: it failed.
        """
        try:
            return self._connection.execute(query, list(values)).fetchall()
        except duckdb.Error as error:
            raise _in_words(error) from None

    def number(self, query: str, *values: object) -> int:
        """Return the one number that a query gives.

        Raises:
            DuckError: it failed.
        """
        ((value,),) = self.rows(query, *values)
        if not isinstance(value, int):
            raise TypeError(query)
        return value

    def interrupt(self) -> None:
        """End the query that is under way, from another thread; it fails."""
        self._connection.interrupt()

    def beside(self) -> Duck:
        """Return another connection to the same, for a query whose rows are read while this one writes."""
        return Duck(self._connection.cursor())

    def pages(self, query: str, size: int) -> Generator[list[tuple[object, ...]]]:
        """Yield rows of a query, `size` at a time. The connection is taken until the last one.

        Raises:
            DuckError: it failed.
        """
        try:
            cursor = self._connection.execute(query)
            while page := cursor.fetchmany(size):
                yield page
        except duckdb.Error as error:
            raise _in_words(error) from None


@contextmanager
def open_duck(bounds: Bounds, temporary: Path) -> Generator[Duck]:
    """Give a connection for the length of a block; what does not fit into memory goes into the folder `temporary`.

    Nothing is downloaded, and no configuration of the user is read.

    Raises:
        DuckError: the bounds are none.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": bounds.memory,
        "threads": bounds.threads,
        "temp_directory": os.fspath(temporary),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    try:
        connection = duckdb.connect(":memory:", config=config)
    except duckdb.Error as error:
        raise _in_words(error) from None
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield Duck(connection)
    finally:
        connection.close()


def quoted(text: str | Path) -> str:
    """Return a literal of SQL."""
    return "'" + os.fspath(text).replace("'", "''") + "'"


def read_csv(place: str, layer: Layer, line_bytes: int) -> str:
    """Return a table function that reads CSV as PostgreSQL writes it, with the columns of a layer.

    In one thread: a reader that begins in the middle of a file may take text within quotes for a row.
    """
    columns = ", ".join(f"{quoted(one.name)}: {quoted(TYPES[one.kind])}" for one in layer.columns)
    return (
        f"read_csv({quoted(place)}, columns = {{{columns}}}, header = false, auto_detect = false, delim = ',', "
        f"quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = {_QUOTED_NULLS}, new_line = '\\n', "
        f"parallel = false, max_line_size = {line_bytes}, buffer_size = {2 * line_bytes})"
    )


def read_parquet(files: Sequence[Path], *, with_names: bool = False) -> str:
    """Return a table function that reads Parquet files, also of older layouts; `filename` is a column `with_names`."""
    names = ", ".join(quoted(file) for file in files)
    return (
        f"read_parquet([{names}], union_by_name = true, hive_partitioning = false"
        f"{', filename = true' if with_names else ''})"
    )


def no_rows(layer: Layer) -> str:
    """Return a query that gives all columns of a layer, and no row."""
    columns = ", ".join(f"NULL::{TYPES[column.kind]} AS {column.name}" for column in layer.columns)
    return f"SELECT {columns} WHERE false"


def parquet_options() -> str:
    """Return how a file is written."""
    return "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000"


def _in_words(error: duckdb.Error) -> DuckError:
    """Return the kind of an error, with the first line of what is said unless data may be in it."""
    said = str(error)
    full = "No space left" in said or "max_temp_directory_size" in said
    memory = isinstance(error, duckdb.OutOfMemoryException)
    if isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException):
        text = said.partition("\n")[0]
    else:
        text = f"DuckDB: {type(error).__name__}"
    return DuckError(text, full=full, memory=memory, too_long=_TOO_LONG in said)

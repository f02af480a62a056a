"""Tables and views of a warehouse, and how files get there, made from the layout. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.mirror.layout import LAYERS, PARTITION, VIEWS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.mirror.layout import Layer


class Dialect(StrEnum):
    """A warehouse."""

    BIGQUERY = "bigquery"
    SNOWFLAKE = "snowflake"
    REDSHIFT = "redshift"
    DUCKDB = "duckdb"


class _Words(NamedTuple):
    """What a warehouse calls things: types, an unloaded text, and its way of loading one layer."""

    types: Mapping[Kind, str]
    head: str
    table_end: str
    load: Callable[[Layer], str]
    not_null: str = " NOT NULL"


def statements(dialect: Dialect) -> str:
    """Return the statements that make all tables and views of a dialect, with how to load the files below them."""
    words = _WORDS[dialect]
    parts = [_comment(words.head)]
    parts += [words.load(layer) for layer in LAYERS] if dialect is Dialect.DUCKDB else [
        _table(layer, words) for layer in LAYERS
    ]  # fmt: skip
    parts += [f"-- {view.meaning}\nCREATE OR REPLACE VIEW {view.name} AS\n{view.query};" for view in VIEWS]
    if dialect is not Dialect.DUCKDB:
        parts.append(_comment("Load them: a layer at a time, each as a whole, so that erased users are gone here too."))
        parts += [words.load(layer) for layer in LAYERS]
    return "\n\n".join(parts) + "\n"


def _table(layer: Layer, words: _Words) -> str:
    lines = [
        f"    {column.name} {words.types[column.kind]}{'' if column.nullable else words.not_null}"
        for column in layer.columns
    ]
    columns = ",\n".join(lines)
    return f"-- {layer.meaning}\nCREATE TABLE IF NOT EXISTS {layer.name} (\n{columns}\n){words.table_end};"


def _comment(text: str) -> str:
    return "\n".join(f"-- {line}" for line in text.splitlines())


def _bigquery(layer: Layer) -> str:
    return (
        f"LOAD DATA OVERWRITE {layer.name}\n"
        f"FROM FILES (format = 'PARQUET', uris = ['gs://BUCKET/mirror/{layer.name}/*.parquet']);"
    )


def _snowflake(layer: Layer) -> str:
    return (
        f"TRUNCATE TABLE {layer.name};\n"
        f"COPY INTO {layer.name} FROM @ach_mirror/{layer.name}/ PATTERN = '.*[.]parquet' FORCE = TRUE\n"
        "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;"
    )


def _redshift(layer: Layer) -> str:
    return (
        f"DELETE FROM {layer.name};\n"
        f"COPY {layer.name} FROM 's3://BUCKET/mirror/{layer.name}/' IAM_ROLE default FORMAT AS PARQUET;"
    )


def _duckdb(layer: Layer) -> str:
    return (
        f"-- {layer.meaning}\n"
        f"CREATE OR REPLACE VIEW {layer.name} AS\n"
        f"SELECT * FROM read_parquet('mirror/{layer.name}/{PARTITION}=*/*.parquet', union_by_name = true, "
        "hive_partitioning = true);"
    )


_BIGQUERY: Final = _Words(
    {
        Kind.ID: "STRING",
        Kind.TEXT: "STRING",
        Kind.JSON: "STRING",
        Kind.INTEGER: "INT64",
        Kind.BIGINT: "INT64",
        Kind.NUMBER: "NUMERIC",
        Kind.BOOLEAN: "BOOL",
        Kind.INSTANT: "TIMESTAMP",
    },
    "BigQuery: in a dataset of your own (SET @@dataset_id = 'ach').\n"
    "Get the files there with: gcloud storage rsync --recursive --delete-unmatched-destination-objects \\\n"
    "  --exclude '[.].*' mirror gs://BUCKET/mirror",
    "\nPARTITION BY DATE(processing_time)",
    _bigquery,
    # Columns of Parquet files may all be null, and BigQuery refuses to load such into others.
    not_null="",
)
_SNOWFLAKE: Final = _Words(
    {
        Kind.ID: "VARCHAR(512)",
        Kind.TEXT: "VARCHAR",
        Kind.JSON: "VARCHAR",
        Kind.INTEGER: "INTEGER",
        Kind.BIGINT: "BIGINT",
        Kind.NUMBER: "NUMBER(38, 9)",
        Kind.BOOLEAN: "BOOLEAN",
        Kind.INSTANT: "TIMESTAMP_TZ",
    },
    "Snowflake: in a schema of your own, with a stage ach_mirror over the bucket that holds the files:\n"
    "  CREATE STAGE ach_mirror URL = 's3://BUCKET/mirror/' STORAGE_INTEGRATION = ...;\n"
    "Get the files there with: ach mirror --to s3://BUCKET/mirror",
    "\nCLUSTER BY (processing_time)",
    _snowflake,
)
_REDSHIFT: Final = _Words(
    {
        Kind.ID: "VARCHAR(512)",
        Kind.TEXT: "VARCHAR(65535)",
        Kind.JSON: "VARCHAR(65535)",
        Kind.INTEGER: "INTEGER",
        Kind.BIGINT: "BIGINT",
        Kind.NUMBER: "DECIMAL(38, 9)",
        Kind.BOOLEAN: "BOOLEAN",
        Kind.INSTANT: "TIMESTAMP",
    },
    "Redshift: in a schema of your own; instants are in UTC. A payload of more than 65,535 bytes does not fit.\n"
    "Get the files there with: ach mirror --to s3://BUCKET/mirror",
    "\nSORTKEY (processing_time)",
    _redshift,
)
_DUCKDB: Final = _Words(
    {},
    "DuckDB: views over the files; run it beside the folder `mirror`. Metabase and others take such a database.\n"
    "For a bucket, write s3://BUCKET/PREFIX/ for mirror/, behind LOAD httpfs and CREATE SECRET (TYPE s3, ...).",
    "",
    _duckdb,
)
_WORDS: Final = {
    Dialect.BIGQUERY: _BIGQUERY,
    Dialect.SNOWFLAKE: _SNOWFLAKE,
    Dialect.REDSHIFT: _REDSHIFT,
    Dialect.DUCKDB: _DUCKDB,
}

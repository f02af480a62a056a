"""The statements for warehouses: as they are committed, and as each dialect reads them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from tests.worker.mirror.page import PAGE, filled
from worker.mirror.ddl import Dialect, statements
from worker.mirror.layout import LAYERS, VIEWS

ROOT = Path(__file__).parents[3]
WAREHOUSE = ROOT / "deploy" / "warehouse"


@pytest.mark.parametrize("dialect", Dialect)
def test_committed_files_are_what_the_layout_says(dialect: Dialect) -> None:
    committed = (WAREHOUSE / f"{dialect}.sql").read_text("utf-8")
    assert committed == statements(dialect), f"ach mirror ddl --dialect {dialect} > deploy/warehouse/{dialect}.sql"


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_reads_its_statements(dialect: Dialect) -> None:
    parsed = sqlglot.parse(statements(dialect), read=str(dialect), error_level=sqlglot.ErrorLevel.RAISE)
    made = [one for one in parsed if isinstance(one, exp.Create)]
    names = [one.find(exp.Table) for one in made]
    assert [name.name for name in names if name is not None] == [one.name for one in (*LAYERS, *VIEWS)]
    assert not [one for one in parsed if isinstance(one, exp.Command)]


def test_duckdb_takes_its_statements(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        for layer in LAYERS:
            folder = tmp_path / "mirror" / layer.name / "dt=2026-05-01"
            folder.mkdir(parents=True)
            nothing = ", ".join(f"NULL AS {name}" for name in layer.names)
            connection.execute(f"COPY (SELECT {nothing}) TO '{folder / '1.parquet'}' (FORMAT parquet)")
        connection.execute(statements(Dialect.DUCKDB).replace("'mirror/", f"'{tmp_path}/mirror/"))
        for one in (*LAYERS, *VIEWS):
            connection.execute(f"SELECT * FROM {one.name}").fetchall()  # noqa: S608


def test_the_page_has_the_tables_of_the_layout() -> None:
    page = PAGE.read_text("utf-8")
    assert page == filled(page), "run: python -m tests.worker.mirror.page"

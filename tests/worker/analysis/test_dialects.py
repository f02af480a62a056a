"""The queries in other warehouses: translated, and what comes of it parsed. They were run in DuckDB alone."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
import sqlglot
from sqlglot import exp

import sql
from worker.analysis.answers import Asked, prepare
from worker.analysis.questions import QUESTIONS
from worker.mirror.duck import Bounds, open_duck
from worker.mirror.layout import LAYERS, VIEWS
from worker.mirror.manifest import Manifest
from worker.mirror.reading import make_views

if TYPE_CHECKING:
    from pathlib import Path

SHARED = {"asked", "known", "number", "rule_in_force", "rule_now", "earned"}
NAMES = sorted({question.query for question in QUESTIONS} | {"views"})


def test_each_query_is_a_question() -> None:
    found = {one.name for one in (files("sql") / "analytics").iterdir()}
    assert found == {f"{name}.sql" for name in NAMES}


@pytest.mark.parametrize("dialect", ["bigquery", "snowflake", "redshift"])
def test_warehouses_read_what_the_queries_become(dialect: str) -> None:
    known = SHARED | {one.name for one in (*LAYERS, *VIEWS)}
    for name in NAMES:
        raised = sqlglot.ErrorLevel.RAISE
        for text in sqlglot.transpile(
            sql.analysis(name), read="duckdb", write=dialect, error_level=raised, unsupported_level=raised
        ):
            parsed = sqlglot.parse_one(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
            assert not isinstance(parsed, exp.Command)
            ours = {cte.alias_or_name.lower() for cte in parsed.find_all(exp.CTE)}
            tables = {table.name.lower() for table in parsed.find_all(exp.Table)}
            assert tables <= known | ours, (name, tables - known - ours)


def test_columns_are_those_of_the_query(tmp_path: Path) -> None:
    with open_duck(Bounds("256MB", 1), tmp_path) as duck:
        make_views(duck, tmp_path, Manifest(run=1))
        prepare(duck, Asked(), "2026-05-01T00:00:00Z")
        for question in QUESTIONS:
            rows = duck.rows(f"DESCRIBE {sql.analysis(question.query)}")
            assert [row[0] for row in rows] == [column.name for column in question.columns], question.name

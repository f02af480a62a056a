"""What the bench of changes says: medians, ratios, and whether all find the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bench import page
from bench.change_answers import answer, ask_duckdb, planned, read_found
from bench.change_page import BEGIN, END, Changes, Line, Took, section
from bench.change_scale import PAGE

if TYPE_CHECKING:
    from pathlib import Path

MOMENT = 1_780_134_045_120_001
EVENTS = """
SELECT 'e' || n AS id, 't' AS tenant, 'u' AS u, 'lesson.completed' AS type,
    TIMESTAMP '2026-05-01 10:00:00.000001' + to_hours(CAST(n AS INTEGER)) AS t,
    '{"lesson_id":"l' || n || '","amount":1}' AS payload
FROM range(12) AS numbers (n)
"""


def changes(lines: dict[str, Line]) -> Changes:
    return Changes(
        measured_on="2026-11-29",
        command="just bench change",
        machine={"CPU": "one"},
        versions={"Python": "3.11"},
        events=1_000_000,
        rounds=3,
        users=10,
        lines=lines,
        unlocks=5,
    )


def test_the_section_has_medians_and_ratios() -> None:
    rounds = [Took(3.0, 4.0, 2.0, 200_000_000), Took(9.0, 1.0, 1.0, 100_000_000), Took(4.0, 3.0, 1.0, 150_000_000)]
    theirs = [Took(1.0, 0.0, 2.0, 300_000_000)]
    text = section(changes({"plan five": Line("ours", 1_000_000, rounds), "duckdb": Line("theirs", 1_000_000, theirs)}))
    assert "| ours | 3 | 4.0 (3.0–9.0) | 3.0 | 1.0 | 4.0 | 4.0 | 150 |" in text
    assert "| theirs | 1 | 1.0 | 0.0 | 2.0 | 2.0 | 2.0 | 300 |" in text
    assert "takes 2.00 times the CPU of DuckDB by hand, and 0.50 times its memory" in text
    assert "PostgreSQL by hand, and" not in text
    written = page.merged(PAGE.read_text("utf-8"), text, BEGIN, END)
    assert written.count(BEGIN) == written.count(END) == 1
    assert page.merged(written, text, BEGIN, END) == written


def test_answers_are_the_same_in_any_order_and_differ_by_a_microsecond() -> None:
    found = [("t", "u", "a", MOMENT), ("t", "v", "a", MOMENT)]
    assert answer(found) == answer(reversed(found))
    assert answer(found) != answer([("t", "u", "a", MOMENT), ("t", "v", "a", MOMENT + 1)])
    assert answer(found) != answer(found[:1])


def test_what_a_plan_lists_is_read_to_the_microsecond() -> None:
    listed = {"achievement": "a", "decision": "granted", "tenant_id": "t", "subject": "u"}
    lines = [b"{}", msgspec.json.encode(listed | {"earned_at": "2026-05-30T09:40:45.120001Z"})]
    assert [*planned(b"\n".join(lines))] == [("t", "u", "a", MOMENT)]


def test_duckdb_writes_who_gains_what_and_when(tmp_path: Path) -> None:
    events, found = tmp_path / "events.parquet", tmp_path / "found.parquet"
    duckdb.connect().sql(EVENTS).write_parquet(str(events))
    ask_duckdb(str(events), str(found))
    assert read_found(found) == [("t", "u", "ten_different", 1_777_662_000_000_001)]

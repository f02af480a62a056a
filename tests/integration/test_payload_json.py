"""What readers of the ledger make of payloads: numbers that PostgreSQL cannot hold do not affect other payloads."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

import sql
from tests.integration.engine import Engine, event
from worker.contract.fields import MAX_DEPTH

pytestmark = pytest.mark.anyio

DEEP = MAX_DEPTH - 2
PAYLOADS: dict[str, tuple[str, Any]] = {
    # Three dots: as it was written.
    "usual": ('{"x": 1.50}', {"x": 1.5}),
    "too large a number": ('{"x":1e200000}', None),
    "too small a number": ('{"x":1e-200000}', None),
    "many digits": ('{"x": %s}' % ("9" * 20_000), ...),
    "deep": ('{"x": ' * DEEP + "1" + "}" * DEEP, ...),
    "twice": ('{"x": 1, "x": 2}', {"x": 2}),
    "empty": ("{}", {}),
    "text": (json.dumps({"x": "\U0001f600 \u2028 \x7f"}), {"x": "\U0001f600 \u2028 \x7f"}),
}
NAMES = sorted(PAYLOADS)


async def publish(engine: Engine) -> None:
    for n, name in enumerate(NAMES):
        one = json.dumps({**event(n, "undeclared.done", id=name), "payload": 0}).encode()
        await engine.publish([one.replace(b'"payload": 0', b'"payload": ' + PAYLOADS[name][0].encode())])
    await engine.publish([{key: value for key, value in event(99, id="none").items() if key != "payload"}])
    # A declared type, and a field of it that is not.
    one = json.dumps({**event(100, id="undeclared field"), "payload": 0}).encode()
    await engine.publish([one.replace(b'"payload": 0', b'"payload": {"key": "k", "n": 1e200000}')])
    stats = await engine.drain()
    assert (stats.events, dict(stats.dead)) == (len(NAMES) + 2, {})


async def test_a_payload_is_json_where_the_database_can_hold_it(engine: Engine) -> None:
    await publish(engine)
    rows = await engine.rows("SELECT deduplication_key AS id, payload, payload_json FROM v_event")
    found = {row["id"]: row for row in rows}
    assert found["none"]["payload"] is found["none"]["payload_json"] is None
    assert found["undeclared field"]["payload_json"] is None
    for name in NAMES:
        text, expected = PAYLOADS[name]
        assert found[name]["payload"] == text
        said = found[name]["payload_json"]
        if expected is None:
            assert said is None, name
        elif expected is ...:
            assert said == text, name
        else:
            assert json.loads(said) == expected, name


async def test_a_query_over_all_events_does_not_fail(engine: Engine) -> None:
    await publish(engine)
    query = (
        "SELECT event_type, count(*) AS n, sum((payload_json ->> 'x')::numeric) FROM v_event {} GROUP BY 1 ORDER BY 1"
    )
    rows = await engine.rows(query.format("WHERE deduplication_key IN ('usual', 'too large a number', 'twice')"))
    assert [tuple(row.values()) for row in rows] == [("undeclared.done", 3, 3.5)]
    assert len(await engine.rows("SELECT FROM v_event WHERE payload_json @> '{\"x\": 2}'")) == 1
    with pytest.raises(asyncpg.DataError):
        await engine.rows("SELECT payload::jsonb FROM v_event")


BROKEN = ["", " ", "{", "nope", '{"x":"\\u0000"}', '{"x":"\\ud800"}', "[" * 200, '{"x":1e131072}', "NaN", "1e200000"]


@pytest.mark.parametrize("old", [False, True])
async def test_the_function_cannot_fail(engine: Engine, old: bool) -> None:
    """Not by what servers before 16 get either, and not where the text is a constant that is folded beforehand."""
    if old:
        (migration,) = [one for one in sql.migrations() if one.name == "named_letters"]
        block = migration.text[migration.text.index("DO $migration$") : migration.text.index("COMMENT ON FUNCTION")]
        await engine.rows("ALTER FUNCTION json_or_null RENAME TO newer")
        await engine.rows(block.replace("160000", "999999"))
    for text in BROKEN:
        assert await engine.rows("SELECT json_or_null($1) AS said", text) == [{"said": None}]
        quoted = text.replace("'", "''")
        assert await engine.rows(f"SELECT json_or_null('{quoted}') AS said") == [{"said": None}]
    assert await engine.rows("SELECT json_or_null($1) AS said", None) == [{"said": None}]
    assert await engine.rows("SELECT json_or_null('1e100')::text = '1' || repeat('0', 100) AS said") == [{"said": True}]
    (row,) = await engine.rows("SELECT proparallel::text AS parallel FROM pg_proc WHERE proname = 'json_or_null'")
    assert row["parallel"] == ("u" if old else "s")


async def test_parallel_plans_may_read_payloads(engine: Engine) -> None:
    await publish(engine)
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        await connection.execute(
            "SET debug_parallel_query = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;"
            "SET min_parallel_table_scan_size = 0"
        )
        plan = await connection.fetch("EXPLAIN ANALYZE SELECT count(payload_json) FROM v_event")
        assert "Gather" in "\n".join(row[0] for row in plan)
        assert await connection.fetchval("SELECT count(payload_json) FROM v_event") == len(NAMES) - 2
    finally:
        await connection.close()

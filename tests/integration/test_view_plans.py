"""What answers cost where there is much of others: the rows that the plans of PostgreSQL touch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

import sql
from worker.store import SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

SMALL = 40
"""Decisions of the small tenant, among those of others."""
DECIDED = """
INSERT INTO unlock (
    tenant_id, scope, subject, achievement, unlock_id, version, earned_at, event_id, granted_at)
SELECT 'small', 'user', 'u' || n, 'a', gen_random_uuid(), 1, now(), 'e', now() FROM generate_series(1, 40) AS n;
INSERT INTO evaluation (
    decided_at, tenant_id, scope, subject, achievement, version, decision, final, earned_at, event_id)
SELECT
    now(), CASE n % 1000 WHEN 0 THEN 'small' ELSE 'large' || n % 4 END, 'user', 'u' || n / 1000, 'a', 1, 'granted',
    false, now(), 'e'
FROM generate_series(1, 40000) AS n;
"""
CROWD = """
INSERT INTO evaluation (
    decided_at, tenant_id, scope, subject, achievement, version, decision, final, earned_at, event_id)
SELECT now(), 'one' || n, 'user', 'u', 'a', 1, 'granted', false, now(), 'e' FROM generate_series(1, 20000) AS n;
"""
LEDGER = """
INSERT INTO event (tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, received_at, stream_seq)
SELECT
    't' || n % 10, 'e' || n, 'u' || n % 1000, 'a.done', '2026-01-01'::timestamptz + n * interval '1 minute', 0, now(), n
FROM generate_series(1, 100000) AS n;
"""


@pytest.fixture
async def database(engine: Engine) -> AsyncGenerator[asyncpg.Connection]:
    """A connection as the engine has them."""
    connection = await asyncpg.connect(engine.settings.database_url, server_settings=SETTINGS)
    yield connection
    await connection.close()


async def touched(database: asyncpg.Connection, name: str, **args: str) -> dict[str, float]:
    """Return how many rows of each table a query looks at, whether it takes them or not."""
    query = sql.query(name)
    await database.execute(f"PREPARE asked AS {query.text.rstrip().rstrip(';')}")
    given = ", ".join(args[one] for one in query.names)
    plan = await database.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked({given})")
    await database.execute("DEALLOCATE asked")
    rows: dict[str, float] = {}
    for node in nodes(json.loads(plan)[0]["Plan"]):
        if "Relation Name" in node:
            looked = sum(node.get(each, 0) for each in ("Actual Rows", "Rows Removed by Filter"))
            table = node["Relation Name"]
            rows[table] = rows.get(table, 0) + looked * node["Actual Loops"]
    return rows


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("more", ["", "ANALYZE", CROWD, f"{CROWD}; ANALYZE"])
async def test_the_feed_reads_its_own_tenant_s_decisions_alone(database: asyncpg.Connection, more: str) -> None:
    await database.execute(DECIDED + more)
    look = {"tenant_id": "'small'", "after": "0", "most": "5000"}
    assert (await touched(database, "decisions_so_far", **look))["evaluation"] <= SMALL + 1  # and the last of all
    look["after"] = str(2**63 - 1)
    assert (await touched(database, "decisions_so_far", **look))["evaluation"] <= 1
    page = look | {"after": "0", "until": "1000000", "kinds": "'{granted}'", "limit": "1000"}
    assert await touched(database, "decisions_of_tenant", **page) == {"evaluation": SMALL, "unlock": SMALL}
    assert await touched(database, "decisions_of_tenant", **(page | {"limit": "3"})) == {"evaluation": 3, "unlock": 3}
    # Of a large one no more than a page.
    look = {"tenant_id": "'large1'", "after": "20000", "most": "500"}
    assert (await touched(database, "decisions_so_far", **look))["evaluation"] <= 501
    assert (await touched(database, "decisions_of_tenant", **(page | look)))["evaluation"] <= 500


async def test_an_answer_by_the_wall_clock_reads_one_subject_of_the_ledger(
    database: asyncpg.Connection,
) -> None:
    await database.execute(LEDGER)
    asked = {"tenant_id": "'t1'", "scope": "'user'", "subject": "'u1'", "types": "'{a.done}'"}
    for name, more in (("standing_of_subject", {"stream_clock": "false"}), ("mark_of_subject", {})):
        assert (await touched(database, name, **asked, **more)).get("event", 0) <= 2, name

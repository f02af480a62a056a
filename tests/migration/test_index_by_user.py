"""Queries find a user's events by the index of bins, bounded on both sides where they have a bound of time.

A query that forgets the bin reads all events of a user, and is right all the same: only its plan tells. So all plans
are looked at, on a ledger with users of all sizes and with statistics: those for any arguments, which workers have, and
those for given ones, which the console and the mirror have.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest

import sql
from worker.app import wall_clock
from worker.store import SETTINGS, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

INDEX: Final = "event_of_user_bin"
FILL: Final = """
INSERT INTO event (tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, payload, received_at, stream_seq)
SELECT
    't' || n % 3, 'e' || lpad(n::text, 9, '0'), CASE WHEN n % 4 = 0 THEN 'hot' ELSE 'u' || n % 997 END,
    'lesson.completed', timestamptz '2026-01-01Z' + n * interval '7 seconds', 0, '{}', now(), n
FROM generate_series(1, 30000) AS n;
INSERT INTO progress (tenant_id, scope, subject, stamp, mark_at, mark_id, state, folded, updated_at)
SELECT tenant_id, 'user', user_id, 's', max(occurred_at), max(event_id), '{}', 0, now() FROM event GROUP BY 1, 3;
INSERT INTO event_subject (tenant_id, scope, subject, occurred_at, event_id)
SELECT tenant_id, 'user', 'u' || stream_seq % 89, occurred_at, event_id FROM event WHERE stream_seq % 10 = 0;
ANALYZE
"""
BY_USER: Final = re.compile(r"\bevent\.user_id = (?!event)|\bevent\s+WHERE tenant_id = \$\d+ AND user_id = ")
VALUES: Final = {
    "text": "'u5'",
    "text[]": "'{t1,u5}'",
    "timestamp with time zone": "'2026-01-02Z'",
    "timestamp with time zone[]": "'{2026-01-02Z,2026-01-02Z}'",
    "integer": "7",
    "integer[]": "'{1,2}'",
    "bigint": "7",
    "bigint[]": "'{1,2}'",
    "boolean": "true",
    "uuid[]": "'{}'",
}
"""An argument of each type."""
TYPES: Final = "'{lesson.completed}'::text[]"
MANY: Final = {"pasts_of_users_in_roles"}
"""They sort all events behind a position, since those that others did come between."""


def by_user() -> list[str]:
    return sorted(name for name, query in sql.queries().items() if BY_USER.search(query.text))


@pytest.fixture
async def filled(database_url: str) -> str:
    async with open_store(database_url) as store:
        await store.migrate(now=wall_clock())
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(FILL)
    finally:
        await connection.close()
    return database_url


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def plan_of(connection: asyncpg.Connection, name: str) -> dict[str, Any]:
    query = sql.query(name)
    text = query.text.rstrip().rstrip(";")
    taken = (await connection.prepare(text)).get_parameters()
    kinds = [await connection.fetchval("SELECT format_type($1, NULL)", one.oid) for one in taken]
    given = zip(query.names, kinds, strict=True)
    values = ", ".join([TYPES if one == "types" else f"{VALUES[kind]}::{kind}" for one, kind in given])
    await connection.execute(f"PREPARE asked AS {text}")
    try:
        found = await connection.fetchval("EXPLAIN (FORMAT JSON) EXECUTE asked" + (f"({values})" if values else ""))
    finally:
        await connection.execute("DEALLOCATE asked")
    return json.loads(found)[0]["Plan"]


def test_the_queries_by_user_are_known() -> None:
    """As many as there are: a new one comes here by itself."""
    assert len(by_user()) > 20
    assert {"standing_of_users", "events_of_users", "pasts_of_users", "events_to_archive", "latest_events_of_user"} <= {
        *by_user()
    }


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_bound_of_time_bounds_the_index(filled: str, mode: str) -> None:
    connection = await asyncpg.connect(filled, server_settings={**SETTINGS, "plan_cache_mode": mode})
    try:
        for name in by_user():
            plan = await plan_of(connection, name)
            scans = [one for one in nodes(plan) if one.get("Index Name") == INDEX]
            assert any("(user_id = " in one.get("Index Cond", "") for one in scans), (name, mode, plan)
            for one in scans:
                if "occurred_at" in one.get("Filter", "").replace("date_bin", ""):
                    assert "date_bin" in one["Index Cond"], (name, mode, one)
    finally:
        await connection.close()


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_first_or_latest_events_are_found_without_all_others(filled: str, mode: str) -> None:
    """What is limited is read in the order of the index."""
    connection = await asyncpg.connect(filled, server_settings={**SETTINGS, "plan_cache_mode": mode})
    try:
        for name in by_user():
            for limit in nodes(await plan_of(connection, name)):
                if limit["Node Type"] != "Limit":
                    continue
                for sort in limit["Plans"]:
                    scans = [one for one in nodes(sort) if one.get("Index Name") == INDEX]
                    assert not scans or sort["Node Type"] != "Sort" or name in MANY, (name, mode, sort["Sort Key"])
    finally:
        await connection.close()

"""What is there already when a run begins: users that are known, events in the ledger.

A worker works off a seed of events. What it has written is then copied by SQL, under other users' names and further
back in time: rows, ids and states are as large and as ordered as those of a database that has grown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncpg import Connection

COMPANIONS: Final = 15
"""Users who share a long history with each one of the seed."""
_DIGITS: Final = 6

# An id as producers make it, a UUID of version 7: ordered by time, and different for each number.
_ID: Final = """
CREATE FUNCTION pg_temp.copied_id(id text, at timestamptz, number integer) RETURNS text LANGUAGE sql IMMUTABLE
RETURN overlay(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') PLACING '-' FROM 9 FOR 0)
    || '-7' || left(md5(id || number), 3) || '-8' || substr(md5(id || '-' || number), 1, 3)
    || '-' || right(md5(id || number), 12)
"""
# In the order of the code points `u1-...` stands between `u1` and `u2`: those who are active lie far apart in an index.
_NAME: Final = f"""
CREATE FUNCTION pg_temp.copied_name(name text, number integer) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE number WHEN 0 THEN name ELSE name || '-' || lpad(number::text, {_DIGITS}, '0') END
"""
# In the order of time, as a ledger grows.
_EVENTS: Final = """
INSERT INTO event (
    tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, source, payload, received_at, stream_seq)
SELECT
    tenant_id, pg_temp.copied_id(event_id, moved, copy), pg_temp.copied_name(user_id, {owner}), event_type, moved,
    utc_offset, source, payload, received_at, stream_seq
FROM {source}
"""
_LATEST: Final = """
    (SELECT event.* FROM event JOIN progress ON mark_id = event_id) AS one
    CROSS JOIN generate_series({copies}, 1, -1) AS copy
    CROSS JOIN LATERAL (SELECT occurred_at - copy * interval '{step}' AS moved) AS at
ORDER BY moved
"""
_PAST: Final = """
    generate_series({copies}, 1, -1) AS copy
    CROSS JOIN LATERAL (
        SELECT *, occurred_at - copy * interval '{step}' AS moved FROM seed ORDER BY occurred_at) AS one
"""
_USERS: Final = """
INSERT INTO progress (tenant_id, scope, subject, stamp, mark_at, mark_id, state, folded, updated_at)
SELECT
    tenant_id, scope, pg_temp.copied_name(subject, copy), stamp, moved,
    pg_temp.copied_id(mark_id, moved, copy), state, folded, updated_at
FROM
    (SELECT * FROM progress ORDER BY subject) AS one
    CROSS JOIN generate_series(1, {copies}) AS copy
    CROSS JOIN LATERAL (SELECT mark_at - copy * interval '{step}' AS moved) AS at
LIMIT {limit}
"""
_UNLOCKS: Final = """
INSERT INTO unlock (
    tenant_id, scope, subject, achievement, tier, occurrence, unlock_id, version, earned_at, event_id, granted_at,
    reward, published_at)
SELECT
    tenant_id, scope, pg_temp.copied_name(subject, copy), achievement, tier, occurrence, gen_random_uuid(), version,
    moved, pg_temp.copied_id(event_id, moved, copy), granted_at, reward, published_at
FROM
    unlock
    CROSS JOIN generate_series(1, {copies}) AS copy
    CROSS JOIN LATERAL (SELECT earned_at - copy * interval '{step}' AS moved) AS at
"""
# As a worker leaves them after every so many events, but for all users at once: what is late in the measured part is
# folded from here, as it would be if the history had been worked off, and not copied.
_CHECKPOINTS: Final = """
WITH marked AS (UPDATE progress SET folded = 0 RETURNING *)
INSERT INTO checkpoint (tenant_id, scope, subject, mark_at, mark_id, stamp, state)
SELECT tenant_id, scope, subject, mark_at, mark_id, stamp, state FROM marked
ON CONFLICT DO NOTHING
"""
_MEMORY: Final = "SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'"
# What another table refers to, the primary key of events, stays: they are inserted in the order of its ids.
_INDEXES: Final = """
SELECT
    format('DROP INDEX %s', indexrelid::regclass) AS dropping,
    pg_get_indexdef(indexrelid) AS making
FROM pg_index
WHERE
    indrelid IN ('event'::regclass, 'progress'::regclass, 'unlock'::regclass)
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
SELECT
    format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE
    conrelid IN ('event'::regclass, 'progress'::regclass, 'unlock'::regclass) AND contype IN ('p', 'u')
    AND NOT EXISTS (SELECT FROM pg_constraint AS other WHERE other.confrelid = pg_constraint.conrelid)
"""
_USER_STEP: Final = "1 second"
_HISTORY_STEP: Final = "4 days"
"""Longer than the seed: what is copied lies before it."""


async def know(connection: Connection, users: int) -> None:
    """Let there be so many users, each of the new ones with one event, progress, and unlocks."""
    making = await _begin(connection)
    seeded: int = await connection.fetchval("SELECT count(*) FROM progress")
    copies = -(-(users - seeded) // seeded)
    source = _LATEST.format(copies=copies, step=_USER_STEP)
    await connection.execute(_EVENTS.format(owner="copy", source=source))
    await connection.execute(_UNLOCKS.format(copies=copies, step=_USER_STEP))
    await connection.execute(_USERS.format(copies=copies, step=_USER_STEP, limit=users - seeded))
    await _end(connection, making)


async def remember(connection: Connection, events: int) -> None:
    """Let there be so many events in the ledger, of the seed's users and the companions of each.

    The number of users is the same however many events there are; what grows is the past of each.
    """
    making = await _begin(connection)
    seeded: int = await connection.fetchval("SELECT count(*) FROM event")
    copies = events // seeded - 1
    await connection.execute("CREATE TEMPORARY TABLE seed AS SELECT * FROM event ORDER BY occurred_at")
    source = _PAST.format(copies=copies, step=_HISTORY_STEP)
    await connection.execute(_EVENTS.format(owner=f"copy % {COMPANIONS + 1}", source=source))
    # The latest events of companion number n are those of copy n.
    companions = min(copies, COMPANIONS)
    if companions > 0:
        await connection.execute(_UNLOCKS.format(copies=companions, step=_HISTORY_STEP))
        await connection.execute(_USERS.format(copies=companions, step=_HISTORY_STEP, limit="ALL"))
    await _end(connection, making)


async def _begin(connection: Connection) -> list[str]:
    """Make the functions and checkpoints; drop what is faster made anew; return how that is made."""
    for statement in (_ID, _NAME, _CHECKPOINTS, _MEMORY):
        await connection.execute(statement)
    rows = await connection.fetch(_INDEXES)
    for row in rows:
        await connection.execute(row["dropping"])
    return [row["making"] for row in rows]


async def _end(connection: Connection, making: list[str]) -> None:
    for statement in making:
        await connection.execute(statement)
    await connection.execute("VACUUM (ANALYZE)")

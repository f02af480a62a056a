"""The oracle judged: content with a run without faults, and seeing each kind of damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.faults.load import RULES, Shape, load
from tests.faults.oracle import all_acknowledged, expect_promise, findings

if TYPE_CHECKING:
    from tests.faults.oracle import Published
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

TABLES = ("event", "dead_letter", "unlock", "correction", "progress")
DAMAGE = {
    "lost: acknowledged and not in the ledger": "DELETE FROM event WHERE event_id = 'e000000'",
    "lost: acknowledged poison": "DELETE FROM dead_letter",
    "missing unlock": "DELETE FROM unlock WHERE achievement = 'three'",
    "missing, says the reference": "DELETE FROM unlock WHERE achievement = 'three'",
    "announced and not granted": "DELETE FROM unlock WHERE achievement = 'three'",
    "unlock with another version or earned_at": "UPDATE unlock SET earned_at = earned_at - interval '1 s'",
    "contested though supported": (
        "UPDATE unlock SET contested_at = now() WHERE contested_at IS NULL AND achievement = 'spotless'"
    ),
    "contested though final": "UPDATE unlock SET contested_at = now() WHERE achievement = 'three'",
    "granted and not marked as announced": "UPDATE unlock SET published_at = NULL",
    "announced ": "UPDATE unlock SET reward = '{\"xp\": 1000}'",
    "a consumer that applies": "UPDATE unlock SET version = version + 1",
    "gone, and not erased": "DELETE FROM unlock WHERE achievement = 'three'",
    "1 corrections not announced": """
        INSERT INTO correction
        SELECT unlock_id, 99, 'amended', tenant_id, scope, subject, achievement, tier, occurrence, origin, granted_at,
            reward, 'granted', 'granted', version, version, earned_at, earned_at, event_id, event_id, false, false,
            true, NULL, NULL, now()
        FROM unlock LIMIT 1
    """,
    "granted and not announced": "UPDATE unlock SET unlock_id = gen_random_uuid()",
    "progress differs": "DELETE FROM progress WHERE scope = 'team'",
}


async def _one_run(engine: Engine) -> list[Published]:
    sent = load(7, Shape(events=70, users=4, late=0.5, poison=0.1))
    await engine.apply(RULES)
    for one in sent:
        await engine.publish([one.body], subject=one.subject)
    await engine.drain(batch_size=5)
    return all_acknowledged(sent)


async def test_the_oracle_is_content_with_a_quiet_run_and_sees_every_damage(engine: Engine) -> None:
    published = await _one_run(engine)
    await expect_promise(engine.settings, published, RULES)
    contested = await engine.rows("SELECT achievement FROM unlock WHERE contested_at IS NOT NULL")
    assert contested, "the load ought to contest something"
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        await connection.execute("".join(f"CREATE TABLE kept_{table} AS TABLE {table};" for table in TABLES))
        for kind, damage in DAMAGE.items():
            await connection.execute(damage)
            found = await findings(engine.settings, published, RULES)
            assert any(one.startswith(kind) for one in found), (kind, found)
            await connection.execute("".join(_restored(table) for table in TABLES))
    finally:
        await connection.close()


def _restored(table: str) -> str:
    return f"DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM kept_{table};"  # noqa: S608

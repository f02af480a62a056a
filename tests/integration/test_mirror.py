"""The mirror against real servers: what it holds is what plain SQL says, once, whatever happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from dsl.calendar import format_instant
from tests.integration.mirrors import Read, assert_same, every_file, mirror
from tests.integration.pipelines import pipeline_on, send, sent
from worker.admin.erasure import erase_user
from worker.admin.revocation import of_achievement, revoke_all
from worker.app import wall_clock
from worker.mirror.folder import BusyError, locked
from worker.mirror.layout import LAYERS
from worker.mirror.manifest import MANIFEST, ManifestError
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

RULES = """
traits from user.updated { plan: string, seats: int, ratio: decimal }
event a.done { team: string? }
event b.done {}
achievement one { title "One" when count(event=a.done, >= 1) reward { xp: 1 } }
achievement clean { title "Clean" when count(event=a.done, >= 2, unless=b.done) }
achievement levels { title "Levels"
  tier low { when count(event=a.done, >= 2) }
  tier high { when count(event=a.done, >= 9) }
}
achievement waits { title "Waits" when count(event=b.done, >= 1) settle 1h }
achievement together { title "Together" scope team when count(event=a.done, >= 2) }
"""
HOSTILE = [
    'a,b"c',
    "new\nline\r\n",
    "''; DROP TABLE event --",
    "../../etc/passwd",
    "\\N",
    '""',
    "ünï\u202e",
    " ",
    "x" * 500,
]


def event(
    n: int, kind: str = "a.done", *, user: str = "ann", at: str = "2026-05-01T10:00:00Z", **more: object
) -> dict[str, Any]:
    return {
        "event_id": f"e{n}", "tenant_id": "acme", "user_id": user, "event_type": kind, "occurred_at": at, **more
    }  # fmt: skip


def on_day(day: int) -> str:
    return f"2026-05-{day:02d}T10:00:00Z"


async def test_layers_are_what_plain_sql_says(engine: Engine, tmp_path: Path) -> None:
    await engine.apply(RULES)
    folder = tmp_path / "mirror"
    first = await mirror(engine, folder)
    assert {path.parts[-3] for path in folder.glob("*/dt=*/*.parquet")} == {layer.name for layer in LAYERS}
    assert first.rows["rule_version"] == 7  # two have left the rules
    await engine.publish([event(n, at=on_day(n), payload={"team": "red"}) for n in range(1, 4)])
    await engine.publish([b"{no json", event(9, payload={"team": 5})])
    await engine.drain()
    await mirror(engine, folder)
    await assert_same(engine, folder)
    # Late evidence contests one, an operator revokes one, another one is granted by evidence that moves.
    noons = ("2026-04-30T12:00:00Z", "2026-05-01T12:00:00Z", "2026-05-02T12:00:00Z")
    await engine.publish([event(20 + n, "b.done", at=noon) for n, noon in enumerate(noons)])
    await engine.publish([event(30, at="2026-04-30T10:00:00Z")])
    await engine.publish([event(31, "b.done", user="ben", at=format_instant(wall_clock()))])
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        ids = [row.unlock_id for row in await of_achievement(store, "one", None, tenant=None, subject=None)]
        await revoke_all(store, ids, now=wall_clock(), by="op", reason='said "no",\nthat is')
    await mirror(engine, folder)
    await assert_same(engine, folder)
    changes = {row[0] for row in Read(folder).rows("SELECT DISTINCT change FROM unlock")}
    assert {"granted", "announced", "settling", "amended", "contested", "revoked"} <= changes
    await engine.rows("UPDATE unlock SET settles_at = earned_at WHERE granted_at IS NULL")
    await engine.drain()
    await mirror(engine, folder)
    await assert_same(engine, folder)


async def test_hostile_text_is_text(engine: Engine, tmp_path: Path) -> None:
    await engine.apply(RULES)
    events = [
        {**event(0), "event_id": text, "user_id": text, "source": text, "payload": {"team": text, "x": [text, None]}}
        for text in HOSTILE
    ]
    events.append(event(77, payload={"team": "t", "blob": 'quote"\n' * 90_000}))
    await sent(engine, *events)
    await engine.rows("UPDATE event SET source = '' WHERE event_id = 'e77'")
    await mirror(engine, tmp_path / "mirror")
    await assert_same(engine, tmp_path / "mirror")
    names = {path.name for path in (tmp_path / "mirror").rglob("*")}
    assert all(name.isascii() and len(name) < 40 for name in names)


async def test_a_transaction_under_way_holds_back_what_it_may_bring(engine: Engine, tmp_path: Path) -> None:
    """What begins later and ends earlier waits with it, so that both come; the numbers of neither say so."""
    folder = tmp_path / "mirror"
    slow = await asyncpg.connect(engine.settings.database_url)
    try:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "INSERT INTO event SELECT 'acme', 'slow', 'u', 'a.done', now(), 0, null, null, null, now(), 1"
        )
        await sent(engine, event(1), event(2))
        assert (await mirror(engine, folder)).rows["event"] == 0
        await transaction.commit()
    finally:
        await slow.close()
    assert (await mirror(engine, folder)).rows["event"] == 3
    await assert_same(engine, folder)


async def test_a_table_that_is_written_anew_brings_no_row_twice(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    await sent(engine, *(event(n) for n in range(5)))
    await mirror(engine, folder)
    await engine.rows("CREATE TABLE copy AS SELECT * FROM event")
    await engine.rows("DELETE FROM event")
    await engine.rows("INSERT INTO event SELECT * FROM copy")
    await sent(engine, event(7))
    assert (await mirror(engine, folder)).rows["event"] == 1
    await assert_same(engine, folder)


async def test_an_erased_user_is_in_no_file(engine: Engine, tmp_path: Path) -> None:
    await engine.apply(RULES)
    folder = tmp_path / "mirror"
    await engine.publish([event(n, user="mallory-7", at=on_day(n), payload={"team": "red"}) for n in range(1, 4)])
    await engine.publish([event(5, "user.updated", user="mallory-7", payload={"plan": "secret-plan"})])
    await engine.publish([event(n, at=on_day(n - 9), payload={"team": "blue"}) for n in range(10, 14)])
    await engine.publish([event(30, user="mallory-7", payload={"team": 7})])
    await engine.drain()
    await mirror(engine, folder)
    before = Read(folder)
    assert "mallory-7" in before.texts()
    assert "secret-plan" in before.texts()
    letters = before.counts()["failed_event"]
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "acme", "mallory-7", by="op", now=wall_clock())
    ran = await mirror(engine, folder)
    assert ran.erased == 1
    assert "mallory-7" not in before.texts()
    assert "secret-plan" not in before.texts()
    assert before.counts()["failed_event"] == letters
    assert before.rows("SELECT count(*) FROM event WHERE user_id = 'ann'") == [(4,)]
    assert before.rows("SELECT count(*) FROM progress_daily WHERE user_id = 'ann'")[0][0]
    left = await engine.rows("SELECT count(*) AS n FROM event")
    assert before.rows("SELECT count(*) FROM event") == [(left[0]["n"],)]
    assert (await mirror(engine, folder)).erased == 0


async def test_an_erased_user_is_in_no_file_as_others_name_it(engine: Engine, tmp_path: Path) -> None:
    likes = 'event like { author: user }\nachievement liked { title "L" when count(event=like as author, >= 9) }\n'
    await engine.apply(likes)
    folder = tmp_path / "mirror"
    await sent(
        engine,
        event(1, "like", user="ann", payload={"author": "mallory-7"}),
        event(2, "like", user="mallory-7", payload={"author": "ann"}),
        event(3, "like", user="ann", payload={"author": "bob"}),
    )
    await mirror(engine, folder)
    before = Read(folder)
    assert "mallory-7" in before.texts()
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "acme", "mallory-7", by="op", now=wall_clock())
    await mirror(engine, folder)
    assert "mallory-7" not in before.texts()
    assert before.rows("SELECT count(*), count(DISTINCT deduplication_key) FROM event") == [(3, 3)]


async def test_a_name_goes_with_an_event_that_concerns_no_one_any_more(engine: Engine, tmp_path: Path) -> None:
    """It went into the files under the pseudonym of its actor, and out of the ledger with the user that it names."""
    await engine.apply(
        'event like { author: user }\nachievement liked { title "L" when count(event=like as author, >= 9) }\n'
    )
    folder = tmp_path / "mirror"
    await sent(
        engine,
        event(1, "like", user="ann", payload={"author": "mallory-7"}),
        event(2, "like", user="ann", payload={"author": "bob"}),
        event(3, "like", user="bob", payload={"author": "cid"}),
    )
    async with open_store(engine.settings.database_url) as store:
        for user in ("ann", "mallory-7"):
            await erase_user(store, engine.settings, "acme", user, by="op", now=wall_clock())
            await mirror(engine, folder)
            assert user not in Read(folder).texts()
    assert Read(folder).rows("SELECT count(*), count(DISTINCT deduplication_key) FROM event") == [(2, 2)]


async def test_traits_have_the_moment_since_when_they_hold(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    carried = [{"plan": "free", "seats": 1}, {"plan": None, "ratio": 1.50}, {"plan": "pro"}]
    events = [event(n, "user.updated", at=on_day(9 - n), payload=payload) for n, payload in enumerate(carried)]
    await sent(engine, *events)
    await mirror(engine, folder)
    assert Read(folder).counts()["trait"] == 0  # none is declared
    await engine.apply(RULES)
    await mirror(engine, folder)
    spans = Read(folder).rows(
        "SELECT trait, value, day(valid_from), day(valid_until) FROM trait_span ORDER BY trait, valid_from"
    )
    assert spans == [
        ("plan", "pro", 7, 9),
        ("plan", "free", 9, None),
        ("ratio", "1.5", 8, None),
        ("seats", "1", 9, None),
    ]
    await sent(engine, event(5, "user.updated", at=on_day(20), payload={"plan": "team"}))
    assert (await mirror(engine, folder)).rows["trait"] == 1
    assert (await mirror(engine, folder)).rows["trait"] == 0


async def test_progress_is_that_of_the_fold(engine: Engine, tmp_path: Path) -> None:
    await engine.apply(RULES)
    await sent(engine, *(event(n, at=on_day(n), payload={"team": "red"}) for n in range(1, 4)), event(9, user="ben"))
    folder = tmp_path / "mirror"
    ran = await mirror(engine, folder)
    assert ran.stale == 0
    rows = Read(folder).rows(
        "SELECT subject, achievement, tier, status, percent, current_value::int, target_value::int FROM progress_now "
        "WHERE status <> 'locked' ORDER BY ALL"
    )
    assert rows == [
        ("ann", "clean", None, "earned", 100, 2, 2),
        ("ann", "levels", "high", "in_progress", 33, 3, 9),
        ("ann", "levels", "low", "earned", 100, 2, 2),
        ("ann", "one", None, "earned", 100, 1, 1),
        ("ben", "clean", None, "in_progress", 50, 1, 2),
        ("ben", "levels", "high", "in_progress", 11, 1, 9),
        ("ben", "levels", "low", "in_progress", 50, 1, 2),
        ("ben", "one", None, "earned", 100, 1, 1),
        ("red", "together", None, "earned", 100, 2, 2),
    ]


async def test_one_tenant_alone(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    await engine.publish([event(1), {**event(2, user="other-user"), "tenant_id": "other-tenant"}])
    other = engine.subject_of({**event(3), "tenant_id": "other-tenant"})
    await engine.publish([b'{"broken": "other-words"'], other)
    await engine.publish([b"{broken"], engine.subject_of(event(3)))
    await engine.drain()
    await mirror(engine, folder, tenant="acme")
    assert Read(folder).counts()["event"] == 1
    assert Read(folder).counts()["failed_event"] == 1
    assert "other" not in Read(folder).texts().replace("other-tenant", "other")
    with pytest.raises(ManifestError, match="a mirror of tenant 'acme' alone"):
        await mirror(engine, folder)


async def test_many_small_files_become_one(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.mirror.small_files.MOST_TODAY", 2)
    folder = tmp_path / "mirror"
    for n in range(4):
        await sent(engine, event(n))
        await mirror(engine, folder)
    assert len(Read(folder).manifest.files("event")) <= 2
    assert len(list(folder.glob("event/*/*.parquet"))) == len(Read(folder).manifest.files("event"))
    await assert_same(engine, folder)


async def test_folders_that_are_no_mirror_of_this_stay_as_they_are(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    await mirror(engine, folder)
    with locked(folder), pytest.raises(BusyError, match="another `ach mirror` is at work"):
        await mirror(engine, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "database": "1/1"}))
    with pytest.raises(ManifestError, match="another database"):
        await mirror(engine, folder)
    (folder / MANIFEST).write_text(json.dumps({**manifest, "layout": 99}))
    with pytest.raises(ManifestError, match="newer ach"):
        await mirror(engine, folder)
    path = "event/dt=2026-01-01/../../../x.parquet"
    outside = {"path": path, "dt": "2026-01-01", "run": 1, "rows": 1, "bytes": 1}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "layers": {"event": [outside]}}))
    with pytest.raises(ManifestError, match="outside of its layers"):
        await mirror(engine, folder)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(ManifestError, match="name an empty folder"):
        await mirror(engine, tmp_path / "photos")
    assert [one.name for one in (tmp_path / "photos").iterdir()] == ["one.jpg"]


async def test_dead_letters_that_are_sent_again_have_another_row(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    async with pipeline_on(engine) as pipeline:
        assert len(await send(pipeline, b"{no json", event(1))) == 1
    await mirror(engine, folder)
    await engine.rows("UPDATE dead_letter SET replayed_at = now()")
    assert (await mirror(engine, folder)).rows["failed_event"] == 1
    await engine.rows("DELETE FROM dead_letter")
    assert Read(folder).rows("SELECT change, detail IS NULL FROM failed_event ORDER BY 1") == [
        ("died", False), ("replayed", False)
    ]  # fmt: skip
    assert every_file(Read(folder).manifest)

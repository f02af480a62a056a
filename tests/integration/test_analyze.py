"""Analyses of recorded streams: through a worker and a mirror, every figure is what its definition says."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.fixture_library import STREAMS
from tests.integration.mirrors import Read, mirror
from tests.worker.analysis.reference import REFERENCE, World
from tests.worker.analysis.test_answers import assert_same
from worker.admin.erasure import erase_user
from worker.admin.revocation import of_achievement, revoke_all
from worker.analysis import small
from worker.analysis.answers import Asked, ask
from worker.analysis.questions import QUESTIONS
from worker.app import wall_clock
from worker.mirror.duck import Bounds
from worker.mirror.layout import LAYERS
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.engine import Engine
    from worker.analysis.answers import Answers

pytestmark = pytest.mark.anyio

BOUNDS = Bounds("256MB", 1)
EVERYTHING = Asked(fewest=1, landmark_day=2, near_percent=30, late_seconds=60)


async def worked_off(engine: Engine, stream: str) -> None:
    await engine.apply((STREAMS / stream / "rules.ach").read_text("utf-8"))
    lines = (STREAMS / stream / "stream.jsonl").read_bytes().splitlines()
    await engine.publish([line for line in lines if line])
    await engine.drain()


def assert_defined(answers: Answers, folder: Path) -> None:
    """Compare with the reference, which is given the rows of the layers."""
    read = Read(folder)
    layers: dict[str, list[dict[str, Any]]] = {}
    with read.opened() as duck:
        for layer in LAYERS:
            rows = duck.rows(f"SELECT {', '.join(layer.names)} FROM {layer.name}")  # noqa: S608
            layers[layer.name] = [dict(zip(layer.names, row, strict=True)) for row in rows]
    slow = World(layers, answers.asked, datetime.fromisoformat(read.manifest.at))
    for one in answers.answers:
        assert_same(one.question, one.rows, REFERENCE[one.question.name](slow))


@pytest.mark.parametrize("stream", ["fitness", "saas", "tenants"])
async def test_recorded_streams(engine: Engine, tmp_path: Path, stream: str) -> None:
    await worked_off(engine, stream)
    folder = tmp_path / "mirror"
    await mirror(engine, folder)
    answers = ask(folder, QUESTIONS, EVERYTHING, BOUNDS)
    assert_defined(answers, folder)
    filled = {one.question.name for one in answers.answers if one.rows}
    assert {"completion", "funnel", "rarity", "near-miss", "rules", "latency", "quality"} <= filled
    # What is not known is asked of the mirror alone: no file in its folder has changed.
    assert ask(folder, QUESTIONS, EVERYTHING, BOUNDS) == answers


async def test_revoked_unlocks_and_erased_users_are_in_no_figure(engine: Engine, tmp_path: Path) -> None:
    await worked_off(engine, "tenants")
    async with open_store(engine.settings.database_url) as store:
        ids = [row.unlock_id for row in await of_achievement(store, "starter", None, tenant=None, subject=None)]
        assert ids
        await revoke_all(store, ids[:1], now=wall_clock(), by="op", reason="it was a test")
        (known,) = await engine.rows("SELECT tenant_id, user_id FROM event ORDER BY 1, 2 LIMIT 1")
        await erase_user(
            store, engine.settings, known["tenant_id"], known["user_id"], now=wall_clock(), by="op"
        )  # fmt: skip
        folder = tmp_path / "mirror"
        await mirror(engine, folder)
        answers = ask(folder, QUESTIONS, EVERYTHING, BOUNDS)
        assert_defined(answers, folder)
        straight = await small.ask_database(store, engine.settings, QUESTIONS, EVERYTHING, BOUNDS)
    assert [rows_of(straight, name) for name in ("completion", "rarity", "time", "quality")] == [
        rows_of(answers, name) for name in ("completion", "rarity", "time", "quality")
    ]


def rows_of(answers: Answers, name: str) -> list[tuple[object, ...]]:
    return [*next(one.rows for one in answers.answers if one.question.name == name)]


async def test_a_large_ledger_wants_a_mirror(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await worked_off(engine, "tenants")
    monkeypatch.setattr(small, "MOST_EVENTS", 3)
    async with open_store(engine.settings.database_url) as store:
        with pytest.raises(small.LargeError, match="more than 3 events"):
            await small.ask_database(store, engine.settings, QUESTIONS, EVERYTHING, BOUNDS)

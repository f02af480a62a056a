"""The programs of docs/producing.md publish to a real stream, and the worker takes each event; and what goes wrong."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from tests.integration.engine import PATIENCE, event
from worker.broker.streams import open_broker
from worker.pipeline.dead_letters import list_letters
from worker.store import open_store

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples" / "producing"
JAVASCRIPT: Final = os.environ.get("ACH_PRODUCING_JS")
RULES: Final = """
event lesson.completed { lesson_id: string, duration_seconds: int >= 0 }
achievement first { title "First" when count(event=lesson.completed, >= 1) }
"""


async def runs(engine: Engine, *command: str) -> None:
    """Run a program on the engine's servers, and see that each of its events counts."""
    await engine.apply(RULES)
    await engine.publish([])  # makes the streams
    environment = {"PATH": os.environ["PATH"], "NATS_URL": engine.settings.nats_url}
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert (await engine.drain()).events == 3
    assert await engine.rows("SELECT * FROM dead_letter") == []
    rows = await engine.rows("SELECT user_id FROM event WHERE tenant_id = 'acme.io' ORDER BY user_id")
    assert [row["user_id"] for row in rows] == ["ann@example.com", "ben", "zoë"]
    assert len(await engine.unlocks()) == 3


async def test_python(engine: Engine) -> None:
    await runs(engine, sys.executable, str(EXAMPLES / "publish.py"))


@pytest.mark.skipif(JAVASCRIPT is None, reason="just producing-js runs it")
async def test_javascript(engine: Engine, tmp_path: Path) -> None:
    for name in ("publish.mjs", "subjects.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(Path(JAVASCRIPT or "") / "node_modules")
    await runs(engine, "node", str(tmp_path / "publish.mjs"))


async def test_a_name_that_is_not_encoded_says_how_to_encode_it(engine: Engine) -> None:
    said = event(1, tenant="acme.io", user="ann")
    await engine.publish([said], subject="events.acme.io.ann.a.done")
    async with open_broker(engine.settings) as broker:
        await broker.publish(
            "events.acme.Ann.a.done",
            b'{"event_id":"1","tenant_id":"acme","user_id":"ann",'
            b'"event_type":"a.done","occurred_at":"2026-01-01T00:00:00Z"}',
        )
    await engine.drain()
    async with open_store(engine.settings.database_url) as store:
        last, first = await list_letters(store)
    assert first.detail == "tenant_id: the subject says acme; expected the subject events.acme%2Eio.ann.a.done"
    assert last.detail == "user_id: the subject says Ann; expected the subject events.acme.ann.a.done"

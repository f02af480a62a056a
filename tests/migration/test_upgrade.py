"""An upgrade without a stop: this release and the next one side by side, restarts in the middle, and the way back.

The next release is a copy of this one with one more migration, which says that this one runs beside it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import pytest

import sql
from tests.integration.engine import PATIENCE, Engine, event
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = [pytest.mark.anyio, pytest.mark.operate]

ROOT = Path(__file__).parents[2]
NEWEST = len(sql.migrations())
EXPAND = f"-- compatible_from: {NEWEST}\nALTER TABLE unlock ADD COLUMN note text;\n"
CONTRACT = "ALTER TABLE unlock DROP COLUMN note;\n"


SERVICES = (
    ("serve", "--port", "0"),
    ("console", "--port", "0"),
    ("ingest", "--port", "0"),
    ("notify", "run", "--config", "notify.toml"),
)
SERVE = f'cursor_key = "{"c" * 43}"\n[tenants.t1]\nkeys = ["{"0" * 64}"]\n'
NOTIFY = """
[endpoint.app]
url = "http://127.0.0.1:1/app"
secret = { env = "SECRET" }
insecure = true
allow_networks = ["127.0.0.0/8"]
"""


class Release:
    """The source of a release, and its commands."""

    def __init__(self, source: Path, settings: Settings, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ACH_")},
            "PYTHONPATH": str(source),
            "NATS_URL": settings.nats_url,
            "DATABASE_URL": settings.database_url,
            "ACH_CONSUMER": settings.consumer,
            "ACH_BATCH_SIZE": "20",
            "ACH_ACK_WAIT": "2",
            "COLUMNS": "300",
            "SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        }

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from worker.cli import main; main()", *args],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    async def ended(self, *args: str) -> tuple[int, str]:
        process = self.start(*args)
        out, _ = await anyio.to_thread.run_sync(process.communicate, None, PATIENCE)
        return process.returncode, out

    @contextmanager
    def running(self) -> Generator[subprocess.Popen[str]]:
        """Run a worker from when it works until the end of the block."""
        process = self.start("run")
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "working" in line:
                    break
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode in {0, -signal.SIGKILL}, rest


def with_migrations(folder: Path, *texts: str) -> Path:
    """Return a copy of the source with more migrations."""
    for room in ("ach", "dsl", "sql", "worker"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for number, text in enumerate(texts, start=NEWEST + 1):
        (folder / "sql" / "migrations" / f"{number:04d}_step_{number}.sql").write_text(text)
    return folder


async def until_granted(engine: Engine, number: int) -> None:
    with anyio.fail_after(PATIENCE):
        # The database does not report it: it has to be asked.
        while len(await engine.unlocks()) < number:  # noqa: ASYNC110
            await anyio.sleep(0.05)


def events(first: int, number: int) -> list[dict[str, object]]:
    """Return what three unlocks need, for each of some users."""
    return [event(n, user=f"u{user}", id=f"{user}-{n}") for user in range(first, first + number) for n in range(3)]


async def test_two_releases_side_by_side_and_back(database_url: str, nats_url: str, tmp_path: Path) -> None:
    settings = Settings(nats_url=nats_url, database_url=database_url, consumer=f"c{uuid4().hex}")
    engine = Engine(settings)
    await engine.apply("event a.done {}\nachievement three { when count(event=a.done, >= 3) }")
    old = Release(ROOT, settings, tmp_path)
    new = Release(with_migrations(tmp_path / "next", EXPAND), settings, tmp_path)
    after = Release(with_migrations(tmp_path / "after", EXPAND, CONTRACT), settings, tmp_path)
    with old.running() as first:
        await engine.publish(events(0, 10))
        await until_granted(engine, 10)
        assert await new.ended("migrate") == (0, f"applied {NEWEST + 1:04d}_step_{NEWEST + 1}\n")
        await engine.publish(events(10, 10))
        with new.running():
            await engine.publish(events(20, 10))
            first.kill()
            # The old release begins again beside the new one.
            with old.running():
                await engine.publish(events(30, 10))
                await until_granted(engine, 40)
                code, said = await old.ended("unlocks", "-t", "t1", "--json")
                assert (code, said.count("announced") + said.count("granted") > 0) == (0, True), said
    # Back to the old one, alone.
    with old.running():
        await engine.publish(events(40, 10))
        await until_granted(engine, 50)
    assert await old.ended("migrate") == (0, "the schema is up to date\n")
    assert (await old.ended("run", "--drain"))[0] == 0
    assert set((await engine.unlocks()).values()) == {"announced"}
    assert len({one["unlock_id"] for one in await engine.announced()}) == len(await engine.announced()) == 50
    # What takes something away refuses older releases, by a sentence.
    assert (await after.ended("migrate"))[0] == 0
    (tmp_path / "serve.toml").write_text(SERVE)
    (tmp_path / "ingest.toml").write_text("")
    (tmp_path / "notify.toml").write_text(NOTIFY)
    for command in (("run",), ("unlocks",), ("migrate",), *SERVICES):
        code, said = await old.ended(*command)
        assert code == 1
        assert f"migration {NEWEST + 2:04d}_step_{NEWEST + 2} is unknown here: this worker is older" in said
        assert "Traceback" not in said

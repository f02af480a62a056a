"""A mirror that dies at any point, or whose disk is full: the next run makes good for it, and no row is there twice."""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.integration.buckets import bucket_on, s3_server
from tests.integration.mirrors import Died, Dying, Read, assert_same, every_file, mirror
from tests.integration.pipelines import sent
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.mirror.folder import DiskError
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio


def event(n: int, user: str = "ann") -> dict[str, object]:
    """Return an event that earns something at every third."""
    whose = {"event_id": f"e{n}", "tenant_id": "acme", "user_id": user, "event_type": "a.done"}
    return {**whose, "occurred_at": f"2026-05-01T{n // 60 % 24:02d}:{n % 60:02d}:00Z", "payload": {"key": str(n)}}


async def erase(engine: Engine, user: str) -> None:
    async with open_store(engine.settings.database_url) as store:
        await erase_user(store, engine.settings, "acme", user, by="op", now=wall_clock())


async def test_a_run_that_ends_at_any_point_loses_nothing(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.mirror.small_files.MOST_TODAY", 1)
    folder, dying = tmp_path / "mirror", Dying()
    await sent(engine, *(event(n, user="gone") for n in range(900, 904)))
    await mirror(engine, folder)
    await erase(engine, "gone")
    for n in count():
        await sent(engine, event(2 * n), event(2 * n + 1, user=f"u{n}"))
        runs = Read(folder).manifest.run
        try:
            await mirror(engine, folder, reached=dying)
        except Died:
            # A reader goes by the manifest: the run is there as a whole, or not at all.
            assert Read(folder).manifest.run == runs + (dying.seen[-1] == "manifest written")
        else:
            break
    assert {"event rewritten", "event staged", "event placed", "all placed", "manifest written"} <= {*dying.seen}
    assert "gone" not in Read(folder).texts()
    await assert_same(engine, folder)


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_a_killed_run_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    await sent(engine, *(event(n, user="gone") for n in range(900, 904)))
    await mirror(engine, folder)
    await erase(engine, "gone")
    seen = tmp_path / "seen"
    seen.touch()
    await until_none_is_killed(engine, os.fspath(folder), seen)
    assert "gone" not in Read(folder).texts()
    await assert_same(engine, folder)
    assert (await mirror(engine, folder)).rows["event"] == 0


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_a_killed_run_into_a_bucket_loses_nothing(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what it has left on this machine is gone with the next run."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("worker.mirror.bucket.gettempdir", lambda: str(scratch))
    with s3_server() as endpoint:
        store = bucket_on(endpoint)
        await sent(engine, *(event(n, user="gone") for n in range(900, 904)))
        await mirror(engine, store.objects())
        await erase(engine, "gone")
        seen = tmp_path / "seen"
        seen.touch()
        environment = {**store.environment(), "TMPDIR": os.fspath(scratch)}
        await until_none_is_killed(engine, store.url, seen, environment)
        assert (await mirror(engine, store.objects())).rows["event"] == 0
        folder = store.download(tmp_path / "here")
    assert "gone" not in Read(folder).texts()
    await assert_same(engine, folder)
    named = {file.path for file in every_file(Read(folder).manifest)}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")} == named
    assert not [*scratch.rglob("*.parquet")]


async def until_none_is_killed(
    engine: Engine, place: str, seen: Path, environment: dict[str, str] | None = None
) -> None:
    """Run victims, with new events before each, until one has passed all points."""
    for n in count():
        await sent(engine, event(2 * n), event(2 * n + 1, user=f"u{n}"))
        victim = (sys.executable, "-m", "tests.faults.mirror_victim", engine.settings.database_url)
        ended = await anyio.run_process([*victim, place, os.fspath(seen)], check=False, env=environment)
        if not ended.returncode:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert {"event rewritten", "event placed", "manifest written"} <= {*seen.read_text("utf-8").splitlines()}


async def test_a_disk_that_is_full_leaves_the_mirror_as_it_was(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mirror"
    await sent(engine, event(1))
    await mirror(engine, folder)
    before = Read(folder).counts()
    await sent(engine, event(2))
    with monkeypatch.context() as full:

        def fsync(_: int) -> None:
            raise OSError(28, "No space left on device")

        full.setattr("os.fsync", fsync)
        with pytest.raises(DiskError, match="No space left on device"):
            await mirror(engine, folder)
    assert Read(folder).counts() == before
    await mirror(engine, folder)
    await assert_same(engine, folder)

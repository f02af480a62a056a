"""Commands while a disk is full, of the database or of their files: they say so, and go on when there is room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.processes import workers
from tests.faults.scenes import OLD, write_folder
from tests.faults.small_disk import FULL, fill, small_disk
from tests.faults.tally import tell
from tests.integration.engine import Engine, event
from worker.admin.ledger_replay import Part, replay_ledger
from worker.admin.results import read_digest
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(600)]

USERS: Final = 2500
"""So many that what a command writes does not fit into the pages that there are."""


async def test_the_disk_of_the_database_is_full(own_servers: Servers, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    write_folder(tmp_path)
    commands = (("apply", "new.ach", "-m", "why"), ("archive", "--older-than", "300d"))
    async with small_disk(own_servers) as (disk, url), workers(tmp_path / "workers") as started:
        engine = Engine(Settings(nats_url=own_servers.nats_url, database_url=url))
        await engine.apply(OLD)
        await engine.backfill()
        await engine.publish([event(n, user=f"u{user}") for user in range(USERS) for n in range(2)])
        await engine.publish([event(9, "b.done", user=f"u{user}") for user in range(USERS)])
        await engine.drain()
        await engine.rows("UPDATE event SET received_at = received_at - interval '400 days'")
        for arguments in commands:
            ballast = fill(disk)
            child = await started.start(engine.settings, "command", arguments=arguments, folder=tmp_path)
            await child.until("dead")
            said = child.log_text()
            assert child.code == 1, said
            for words in (FULL, "has failed", "make room on its disk and run the command again"):
                assert words in said
            assert "Traceback" not in said
            ballast.unlink()
            child = await started.start(engine.settings, "command", arguments=arguments, folder=tmp_path)
            await child.until("dead")
            assert child.code == 0, child.log_text()
            async with open_store(url) as store:
                rules = await load_deployed(store, engine.settings)
                (replayed,) = await replay_ledger(store, rules, Part())
                assert replayed.digest == (await read_digest(store, rules)).digest
        states = await engine.rows("SELECT state FROM change WHERE epoch IS NOT NULL ORDER BY change_id")
        assert [row["state"] for row in states] == ["done", "done"]
    tell("commands on a database whose disk is full", f"{len(commands)}, each done when there is room")


async def test_the_disk_of_a_file_is_full(own_servers: Servers, tmp_path: Path) -> None:
    """What was in the file before stays."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    write_folder(tmp_path)
    async with small_disk(own_servers, megabytes=32) as (disk, _), workers(tmp_path / "workers") as started:
        engine = Engine(Settings(nats_url=own_servers.nats_url, database_url=own_servers.database_url))
        await engine.apply(OLD)
        await engine.backfill()
        for name in ("made.plan", "page.html"):
            (disk / name).write_text("as before")
        commands = (
            ("plan", "new.ach", "--out", str(disk / "made.plan")),
            ("reconcile", "1", "--html", str(disk / "page.html")),
        )
        ballast = fill(disk)
        for arguments in commands:
            child = await started.start(engine.settings, "command", arguments=arguments, folder=tmp_path)
            await child.until("dead")
            said = child.log_text()
            assert child.code == 1, said
            assert f"{arguments[3]} cannot be written: {FULL}" in said
            assert "Traceback" not in said
        assert [(disk / name).read_text() for name in ("made.plan", "page.html")] == ["as before"] * 2
        assert sorted(path.name for path in disk.iterdir() if path.is_file()) == ["ballast", "made.plan", "page.html"]
        ballast.unlink()
        child = await started.start(engine.settings, "command", arguments=commands[0], folder=tmp_path)
        await child.until("dead")
        assert child.code == 2, child.log_text()
        child = await started.start(
            engine.settings, "command", arguments=("apply", str(disk / "made.plan")), folder=tmp_path
        )
        await child.until("dead")
        assert child.code == 0, child.log_text()

"""Servers that take connections and say nothing: what is printed, in which time, with which exit code."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Final

import anyio
import pytest
from structlog.testing import capture_logs

from tests.acceptance.conftest import read_until
from tests.integration.engine import event
from tests.integration.frozen import frozen
from worker.broker.streams import open_broker
from worker.doctor.gather import WorkerChecks
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.operate]

SECONDS: Final = 15.0
"""That docs/operating.md promises."""
ONCE: Final = 40.0
"""For a command that waits a while for its server."""
NATS: Final = "NATS at nats://"
DATABASE: Final = "PostgreSQL at postgresql://"


@pytest.mark.parametrize("which", ["nats", "postgresql", "both"])
async def test_each_server_is_named_once_and_soon(shell: Shell, own_servers: Servers, which: str) -> None:
    shell.environment.update(NATS_URL=own_servers.nats_url, DATABASE_URL=own_servers.database_url)
    nats, postgres = own_servers.pids
    silent = {"nats": [NATS], "postgresql": [DATABASE], "both": [NATS, DATABASE]}[which]
    assert shell.ach("migrate").code == 0
    assert shell.ach("run", "--drain").code == 0
    shell.write("one.jsonl", json.dumps(event(1)) + "\n")
    names = [("doctor",), ("doctor", "--json"), ("status",), ("digest",), ("emit", "one.jsonl")]
    async with frozen(*(pid for pid, of in ((nats, NATS), (postgres, DATABASE)) if of in silent)):
        for args, ran in zip(names, shell.ach_all((one, {}) for one in names), strict=True):
            said, what = ran.out + ran.err, f"{args}: {ran}"
            needs = {"digest": {DATABASE}, "emit": {NATS}}.get(args[0], {NATS, DATABASE})
            assert ran.code == int(bool(needs & {*silent})), what
            assert ran.seconds < (SECONDS if args[0] in {"doctor", "status"} else ONCE), what
            assert "Traceback" not in said, what
            for server in (NATS, DATABASE):
                named = [line for line in said.splitlines() if server in line and "trying for" not in line]
                assert len(named) == int(server in needs and server in silent), what
        with shell.running("run") as process:
            read_until(process, "postgresql cannot be reached" if DATABASE in silent else "nats")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)
            assert process.returncode == 0


@pytest.mark.parametrize("which", [0, 1], ids=["nats", "postgresql"])
async def test_checks_of_a_worker_that_starts_have_a_bound(own_servers: Servers, which: int) -> None:
    settings = Settings(nats_url=own_servers.nats_url, database_url=own_servers.database_url)
    async with open_store(settings.database_url) as opened, open_broker(settings) as broker:
        store = opened.kept()
        await store.migrate(now=1)
        checks = WorkerChecks(unsafe=False)
        await checks(store, broker.client.client, settings)
        async with frozen(own_servers.pids[which]):
            with capture_logs() as logs, anyio.fail_after(2 * SECONDS):
                await WorkerChecks(unsafe=False)(store, broker.client.client, settings)
        said = "not checked" if which else "JetStream does not answer"
        assert [
            line for line in logs if line["log_level"] == "warning" and said in f"{line['event']} {line['said']}"
        ] != []

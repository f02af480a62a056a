"""`ach ingest`, nats-server and the sender are killed: what was answered with 202 is in the ledger, once."""

from __future__ import annotations

import os
import sys
from random import Random
from typing import TYPE_CHECKING, Final

import anyio
import nats
import pytest

from tests.faults import tally
from tests.faults.ingest_client import EVENTS, ids_of, taken
from tests.faults.test_notify_killed import Victim
from worker.broker.streams import open_broker
from worker.local.process_tree import free_port
from worker.serve.access import hash_of, new_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

PATIENCE: Final = 60.0
KEY: Final = new_key()
ACH: Final = [sys.executable, "-c", "from worker.cli import main; main()", "ingest"]
VICTIMS: Final = ("ingest", "nats", "client")
BETWEEN: Final = 4
"""Batches that are taken between two kills at least."""


class World:
    """An ingest, a sender, and the servers."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        port = free_port()
        config = folder / "ingest.toml"
        config.write_text(
            f'port = {port}\n[tenants.t1]\nkeys = ["{hash_of(KEY)}"]\n'
            "[limits]\nack_seconds = 2\nkey_rate = 1_000_000\nkey_burst = 1_000_000\n"
        )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ACH_")},
            "NATS_URL": servers.nats_url,
            "DATABASE_URL": servers.database_url,
        }
        self._servers = servers
        self._log = folder / "log"
        self.notes = folder / "taken"
        client = [sys.executable, "-m", "tests.faults.ingest_client", f"http://127.0.0.1:{port}", KEY, str(self.notes)]
        self.ingest = Victim([*ACH, "--config", str(config)], self._log, environment)
        self.client = Victim(client, self._log, environment)

    async def kill(self, name: str) -> None:
        """Kill one of the three, and start it again."""
        if name == "nats":
            await self._servers.kill_nats()
            await self._servers.start_nats()
            return
        victim = self.ingest if name == "ingest" else self.client
        victim.kill()
        victim.start()

    async def until(self, number: int) -> None:
        """Wait until so many batches were taken."""
        try:
            with anyio.fail_after(PATIENCE):
                while len(taken(self.notes)) < number:  # noqa: ASYNC110 - of another process
                    await anyio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"nothing is taken any more:\n{self._log.read_text(errors='replace')[-4000:]}")


async def _killed(engine: Engine, servers: Servers, folder: Path, kills: int) -> None:
    async with open_broker(engine.settings):
        pass  # the stream is there
    here = World(servers, folder)
    chance = Random(kills)  # noqa: S311
    here.ingest.start()
    here.client.start()
    try:
        for _ in range(kills):
            await here.until(len(taken(here.notes)) + BETWEEN)
            await anyio.sleep(chance.random() / 10)
            for name in chance.sample(VICTIMS, chance.choice((1, 1, 1, 2))):
                await here.kill(name)
        await here.until(len(taken(here.notes)) + BETWEEN)
    finally:
        here.client.kill()
        here.ingest.kill()
    await engine.drain(batch_size=2000)
    wanted = {one for batch in taken(here.notes) for one in ids_of(batch)}
    rows = await engine.rows("SELECT event_id AS id, count(*) AS times FROM event GROUP BY event_id")
    found = {row["id"]: row["times"] for row in rows}
    assert wanted - found.keys() == set(), "answered with 202, and lost"
    assert {name: times for name, times in found.items() if times > 1} == {}
    assert await engine.rows("SELECT reason, detail FROM dead_letter") == []
    copies = await _messages(engine) - len(found)
    tally.tell(
        "ach ingest, nats-server or sender killed",
        f"{kills:,} kills: {len(wanted):,} events in {len(wanted) // EVENTS:,} requests answered with 202, each in the "
        f"ledger once; {copies:,} copies on the stream",
    )


async def _messages(engine: Engine) -> int:
    client = await nats.connect(engine.settings.nats_url)
    try:
        return (await client.jetstream().stream_info(engine.settings.input_stream)).state.last_seq
    finally:
        await client.close()


@pytest.mark.faults
@pytest.mark.timeout(7200)
async def test_many_kills_lose_nothing(own_engine: Engine, own_servers: Servers, tmp_path: Path) -> None:
    await _killed(own_engine, own_servers, tmp_path, tally.count("INGEST", quick=20, long=1000))

"""A notifier whose broker goes away, or lets it do no more than it must."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
import nats
import pytest
from nats.errors import TimeoutError as NatsTimeoutError

from tests.integration.engine import PATIENCE, Engine
from tests.integration.notices import claimed, endpoint, endpoints, make_stream, notifier, publish
from tests.worker.notify.receiver import receiver
from worker.local.process_tree import free_port
from worker.notify.endpoints import read_endpoints
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "notify.md"
BROKER = Path(sys.executable).with_name("nats-server")


async def test_a_broker_that_comes_back(own_servers: Servers, tmp_path: Path) -> None:
    settings = Settings(nats_url=own_servers.nats_url, database_url=own_servers.database_url, ack_wait=2)
    await Engine(settings).migrate()
    await make_stream(settings)
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))) as stats:
        await publish(settings, claimed(1))
        await stats.reach("app", "delivered", 1)
        await own_servers.kill_nats()
        await own_servers.start_nats()
        await publish(settings, claimed(2))
        await stats.reach("app", "delivered", 2)
        ids = {request.headers["webhook-id"] for request in there.requests}
        assert ids == {str(claimed(1).unlock_id), str(claimed(2).unlock_id)}


@asynccontextmanager
async def guarded(folder: Path, database_url: str) -> AsyncGenerator[tuple[Settings, Settings]]:
    """Give the settings of an engine, and of a notifier that may do what the documentation says and nothing else."""
    (line,) = (line for line in DOCS.read_text().split("\n- ") if line.startswith("In NATS it needs"))
    said, _, rest = line.partition("and to subscribe")
    may = said.split("`")[1::2]
    inbox = rest.split("`")[1]
    port = free_port()
    allowed = ", ".join(f'"{subject}"' for subject in may)
    (folder / "nats.conf").write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/js" }}\n'
        "accounts { A { jetstream: enabled, users: [ { user: engine, password: x }\n"
        f'{{ user: notifier, password: x, permissions: {{ publish: [{allowed}], subscribe: "{inbox}" }} }} ] }} }}\n'
    )
    process = subprocess.Popen(  # noqa: ASYNC220 - it is there at once
        [BROKER, "-c", folder / "nats.conf", "-l", folder / "log"]
    )
    try:
        settings = [
            Settings(nats_url=f"nats://{user}:x@127.0.0.1:{port}", database_url=database_url, ack_wait=2)
            for user in ("engine", "notifier")
        ]
        with anyio.fail_after(PATIENCE):
            await Engine(settings[0]).publish([])  # for the broker to be there
        yield settings[0], settings[1]
    finally:
        process.kill()
        process.wait()


async def test_it_may_do_what_the_documentation_says(database_url: str, tmp_path: Path) -> None:
    async with guarded(tmp_path, database_url) as (engine, own), receiver() as there:
        await Engine(engine).migrate()
        await make_stream(engine)
        chosen = endpoints(tmp_path, endpoint(there.port, more='digest = { wait = "1s" }'))
        async with notifier(own, chosen) as stats:
            await publish(engine, claimed(1), claimed(2))
            await stats.reach("app", "delivered", 1)
        client = await nats.connect(own.nats_url, error_cb=_silent)
        try:
            with pytest.raises(NatsTimeoutError):
                await client.jetstream(timeout=0.3).publish("unlocks.t1.u1.a.b", b"{}")
        finally:
            await client.close()


async def _silent(_: Exception) -> None:
    """The refusal is what is wanted."""


async def test_probes_and_metrics(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """Every metric of the documentation is there, and no other."""
    settings = Settings(nats_url=nats_url, database_url=database_url, health_host="127.0.0.1", health_port=free_port())
    await Engine(settings).migrate()
    await make_stream(settings)
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))) as stats:
        await publish(settings, claimed(1))
        await stats.reach("app", "delivered", 1)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.health_port}") as client:
            assert (await client.get("/healthz")).text == "ok\n"
            assert (await client.get("/readyz")).text == "ready\n"
            page = (await client.get("/metrics")).text
    # The registry names a counter without its suffix in some releases, and with it in others.
    shown = {line.split()[2].removesuffix("_total") for line in page.splitlines() if line.startswith("# TYPE ")}
    shown = {name for name in shown if not name.endswith("_created")}
    written = {
        line.split("`")[1].removesuffix("_total")
        for line in DOCS.read_text().splitlines()
        if line.startswith("| `ach_notify_")
    }
    assert shown == written
    assert 'ach_notify_attempts_total{endpoint="app",outcome="delivered"} 1.0' in page


def test_the_files_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "app.secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    (tmp_path / "mail.url").write_text("mailtos://me:word@mail.example.com?to={subject}@corp.example.com\n")
    blocks = [block.split("```")[0] for block in DOCS.read_text().split("```toml\n")[1:]]
    assert len(blocks) == 4
    for block in blocks:
        (tmp_path / "notify.toml").write_text(block)
        assert read_endpoints(tmp_path / "notify.toml", {"APP_TOKEN": "word"})

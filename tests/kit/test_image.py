"""The image of deploy/Containerfile: what is in it, and a worker in it as the first process of a container."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import nats
import pytest
from packaging.utils import canonicalize_name

from release.lock import packages_of
from tests.integration.engine import PATIENCE, Engine, event
from tests.kit import image
from tests.kit.debian import ROOT
from worker.distribution import NAME
from worker.local.process_tree import free_port, until
from worker.process.first import STOPPED
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from anyio.abc import Process

    from worker.local.servers import Servers

pytestmark = [pytest.mark.operate, pytest.mark.anyio, pytest.mark.timeout(900)]

GRACE: Final = 30
"""Seconds that deploy/ gives a worker to stop."""
TOOLS: Final = re.compile(r"pip[\d.]*|uv|gcc.*|[cg]\+\+.*|cc|ld|as|c?make|git|curl|hatch.*|wheel|python.*-config")
MOST: Final = 100_000_000
"""Bytes that we add to the base."""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What buildah says of the image."""
    return image.build()


@pytest.fixture(scope="module")
def root(said: dict[str, Any]) -> Generator[Path]:
    assert said
    with image.mounted() as folder:
        yield folder


@pytest.fixture(scope="module")
def settings(said: dict[str, Any]) -> dict[str, str]:
    """The environment that the image sets."""
    return dict(one.split("=", 1) for one in said["config"]["Env"])


def test_what_an_engine_reads_of_it(said: dict[str, Any], settings: dict[str, str]) -> None:
    config = said["config"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("65532:65532", "/rules", "SIGTERM")
    assert (config["Entrypoint"], config["Cmd"]) == (["ach"], ["run"])
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "python", "-c"]
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    assert (labels["version"], labels["revision"], labels["name"]) == ("0.0.1", "abc", image.BASE)
    assert settings["PYTHONSAFEPATH"] == "1"


def test_it_holds_what_is_locked_and_nothing_that_builds_or_installs(root: Path) -> None:
    folders = ("usr/bin", "usr/local/bin", "opt/ach/bin")
    programs = {path.name for folder in folders for path in (root / folder).iterdir()}
    assert {"ach", "python3"} <= programs
    assert [name for name in sorted(programs) if TOOLS.fullmatch(name)] == []
    assert not (root / "opt/tools").exists()
    assert not (root / "src").exists()
    assert [*(root / "usr/local").rglob("pip*")] == []
    (packages,) = (root / "opt/ach/lib").glob("python3.*/site-packages")
    held = {canonicalize_name(path.name.partition("-")[0]) for path in packages.glob("*.dist-info")}
    locked = {canonicalize_name(one.name) for one in packages_of((ROOT / image.LOCKS[1]).read_text())}
    assert held - {NAME} <= locked
    assert NAME in held
    added = sum(path.lstat().st_size for path in (root / "opt/ach").rglob("*") if not path.is_symlink())
    assert added < MOST


def test_it_has_its_account_and_nothing_can_be_written(root: Path, settings: dict[str, str]) -> None:
    assert inside(root, settings, "ach", "--version").stdout == "ach, version 0.1.0\n"
    who = inside(root, settings, "sh", "-c", "id -u; id -g; grep -E 'CapEff|NoNewPrivs' /proc/self/status; pwd")
    assert who.stdout.split() == ["65532", "65532", "CapEff:", "0000000000000000", "NoNewPrivs:", "1", "/rules"]
    assert inside(root, settings, "touch", "/rules/x").returncode != 0
    assert inside(root, settings, "python", "-m", "pip").returncode != 0


def inside(root: Path, settings: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a container to its end."""
    return subprocess.run(image.command(root, settings, *args), capture_output=True, text=True, check=False)


class Contained:
    """A worker that is the first process of a container."""

    def __init__(self, process: Process, port: int, healthcheck: list[str]) -> None:
        self.process = process
        self.port = port
        self.healthcheck = healthcheck
        self.log = ""

    @property
    def first(self) -> int:
        """Its process id, as seen from here."""
        return image.first_process(self.process)

    async def until(self, words: str) -> None:
        """Wait until it has logged these words."""
        assert self.process.stderr is not None
        with anyio.fail_after(PATIENCE):
            while words not in self.log:
                self.log += (await self.process.stderr.receive()).decode()

    async def stop(self, how: signal.Signals) -> int:
        """Send it a signal, and return its exit code; it has as long as deploy/ gives it."""
        os.kill(self.first, how)
        assert self.process.stderr is not None
        with anyio.fail_after(GRACE):
            async for chunk in self.process.stderr:
                self.log += chunk.decode()
            return await self.process.wait()


@pytest.fixture
async def engine(own_servers: Servers) -> Engine:
    made = Engine(Settings(nats_url=own_servers.nats_url, database_url=own_servers.database_tcp_url))
    await made.apply()
    return made


@pytest.fixture
async def worker(
    root: Path, said: dict[str, Any], settings: dict[str, str], engine: Engine
) -> AsyncGenerator[Contained]:
    port = free_port()
    given = {
        **settings,
        "NATS_URL": engine.settings.nats_url,
        "DATABASE_URL": engine.settings.database_url,
        "ACH_HEALTH_HOST": "127.0.0.1",
        "ACH_HEALTH_PORT": str(port),
        "ACH_MIGRATE": "never",
    }
    config = said["config"]
    command = image.command(root, given, *config["Entrypoint"], *config["Cmd"])
    process = await anyio.open_process(command, stdout=subprocess.DEVNULL)
    try:
        yield Contained(process, port, config["Healthcheck"]["Test"][1:])
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()


async def floor(engine: Engine) -> int:
    """Return up to which message all are acknowledged."""
    client = await nats.connect(engine.settings.nats_url)
    try:
        info = await client.jetstream().consumer_info(engine.settings.input_stream, engine.settings.consumer)
        assert info.ack_floor is not None
        return info.ack_floor.stream_seq
    finally:
        await client.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_grants_and_stops(worker: Contained, engine: Engine, how: signal.Signals) -> None:
    """A stop in the middle of a stream: what is committed is acknowledged, and the rest comes to the next worker."""
    await worker.until("working")
    client = await nats.connect(engine.settings.nats_url)
    unlocks = await client.subscribe("unlocks.>")
    await engine.publish(event(n, user=f"u{n % 500}") for n in range(3000))
    assert b'"achievement"' in (await unlocks.next_msg(PATIENCE)).data
    assert await worker.stop(how) == 0, worker.log
    await client.close()
    (held,) = await engine.rows("SELECT count(*)::integer AS events FROM event")
    assert await floor(engine) <= held["events"]
    rest = await engine.drain()
    assert (rest.events, rest.duplicates) == (3000 - held["events"], 0)
    assert set((await engine.unlocks()).values()) == {"announced"}


async def test_what_ended_inside_is_in_no_ones_way(worker: Contained, engine: Engine) -> None:
    """An engine runs the health check inside. An orphan there becomes a child of the worker, which waits for none."""
    await worker.until("working")
    first = worker.first
    children = Path(f"/proc/{first}/task/{first}/children")
    enter = ["nsenter", f"--target={first}", "--mount", "--pid", "--root", "--setuid=65532", "--setgid=65532"]
    given = ["env", "-i", f"ACH_HEALTH_PORT={worker.port}", "PATH=/opt/ach/bin:/usr/bin:/bin"]
    healthy = await anyio.run_process([*enter, *given, *worker.healthcheck], check=False)
    assert (healthy.returncode, children.read_text()) == (0, ""), healthy.stderr
    await anyio.run_process([*enter, *given, "sh", "-c", "true & exec true"])
    (orphan,) = children.read_text().split()
    assert await until(lambda: Path(f"/proc/{orphan}/stat").read_text().split()[2] == "Z", PATIENCE)
    client = await nats.connect(engine.settings.nats_url)
    unlocks = await client.subscribe("unlocks.>")
    await engine.publish(event(n) for n in range(3))
    await unlocks.next_msg(PATIENCE)
    await client.close()
    assert await worker.stop(signal.SIGTERM) == 0, worker.log


async def test_a_stop_while_a_server_is_away(worker: Contained, own_servers: Servers) -> None:
    await own_servers.kill_postgres()
    await worker.until("postgresql")
    assert await worker.stop(signal.SIGTERM) == 0, worker.log


async def test_a_command_stops_at_once(root: Path, settings: dict[str, str]) -> None:
    """The kernel keeps SIGTERM from a first process that has no handler, as most commands have none."""
    given = {**settings, "DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    async with await anyio.open_process(image.command(root, given, "ach", "migrate")) as process:
        try:
            assert await until(lambda: handles(process, signal.SIGTERM), PATIENCE)
            os.kill(image.first_process(process), signal.SIGTERM)
            with anyio.fail_after(GRACE):
                assert await process.wait() == STOPPED
        finally:
            if process.returncode is None:
                process.kill()


def handles(process: Process, one: signal.Signals) -> bool:
    """Return whether the first process inside handles a signal."""
    try:
        said = Path(f"/proc/{image.first_process(process)}/status").read_text()
    except (OSError, ValueError):
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", said, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (one - 1) & 1)

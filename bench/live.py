"""`just live`: many live streams in one process, and users' answers: memory a client, delay of a toast, p99.

Everything runs on this machine: PostgreSQL, nats-server, a worker, `ach serve`, and the clients, which share its cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import nats

from tests.integration.engine import Engine, event
from worker.local.servers import embedded
from worker.serve.access import hash_of, new_key, new_secret
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

RULES = """
event lesson.completed { score: int? }

achievement first { title "First" when count(event=lesson.completed, >= 1) }
achievement ten { title "Ten" when count(event=lesson.completed, >= 10) }
achievement hundred { title "Hundred" when count(event=lesson.completed, >= 100) }
achievement far { title "Far" when count(event=lesson.completed, >= 1000) }
"""
ACH = Path(sys.executable).with_name("ach")
WAIT = 120.0
CONNECTING = 100
"""Clients that connect at the same time."""
ASKED = 200
"""Users whose answers are asked for."""
ROUNDS = 20

_reading: list[asyncio.Task[bytes]] = []
"""Of logs, which would fill their pipes."""


class Served(NamedTuple):
    """Where it is served, by which process, and with which key."""

    port: int
    pid: int
    key: str


def kilobytes(pid: int) -> int:
    """Return what a process holds in memory."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which a part of some values lies, in milliseconds."""
    return round(sorted(values)[min(int(len(values) * part), len(values) - 1)] * 1000, 1)


def request(served: Served, path: str) -> bytes:
    """Return a request as it is sent."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\n\r\n".encode()


async def listen(served: Served, user: str, ready: asyncio.Semaphore, begun: list[int]) -> float:
    """Open a live stream; return when the first unlock came."""
    async with ready:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=8192)
        writer.write(request(served, f"/v1/tenants/t1/users/{user}/live"))
        await reader.readuntil(b"event: ready")
        begun.append(1)
    while b"event: unlock" not in (line := await reader.readline()):
        if not line:
            raise ConnectionError("a stream has ended")
    at = perf_counter()
    writer.close()
    return at


async def answers(served: Served, side_by_side: int) -> list[float]:
    """Ask for users' answers over kept connections; return the seconds that each took, the first round left out."""
    users = iter([f"u{number}" for _ in range(ROUNDS) for number in range(ASKED)])
    took: list[float] = []

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for user in users:
            began = perf_counter()
            writer.write(request(served, f"/v1/tenants/t1/users/{user}/achievements"))
            head = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head.lower())
            await reader.readexactly(0 if size is None else int(size[1]))
            took.append(perf_counter() - began)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(side_by_side)))
    return took[ASKED:]


async def process(words: str, *args: str, environment: dict[str, str]) -> tuple[asyncio.subprocess.Process, str]:
    """Start a command; return it once its log has some words, with that line."""
    made = await asyncio.create_subprocess_exec(
        ACH, *args, env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE, limit=1 << 20
    )
    if made.stderr is None:
        raise AssertionError(args)
    while words not in (line := (await made.stderr.readline()).decode()):
        if not line:
            raise RuntimeError(f"{args} has ended")
    _reading.append(asyncio.create_task(made.stderr.read()))
    return made, line


async def toasts(engine: Engine, served: Served, clients: int) -> None:
    """Open live streams, publish an event for each of their users, and print what came of it."""
    before = kilobytes(served.pid)
    ready, begun = asyncio.Semaphore(CONNECTING), list[int]()
    began = perf_counter()
    tasks = [asyncio.create_task(listen(served, f"live{n}", ready, begun)) for n in range(clients)]
    while len(begun) < clients:
        await asyncio.sleep(0.05)
        for failed in (task for task in tasks if task.done()):
            raise RuntimeError(f"after {len(begun):,} streams") from failed.exception()
    print(f"{clients:,} streams opened in {perf_counter() - began:.1f} s")
    grown = kilobytes(served.pid) - before
    print(f"memory: {before / 1024:.0f} MB before, {grown / clients:.1f} KB a client")
    few = min(100, clients)
    client = await nats.connect(engine.settings.nats_url)
    at: dict[int, float] = {}

    async def publish(number: int) -> None:
        said = event(1, "lesson.completed", user=f"live{number}")
        at[number] = perf_counter()
        await client.publish(engine.subject_of(said), json.dumps(said).encode())

    async with asyncio.timeout(WAIT):
        alone: list[float] = []
        for number in range(few):
            await publish(number)
            alone.append(await tasks[number] - at[number])
        print(f"toast, one after another: p50 {share(alone, 0.5)} ms, p99 {share(alone, 0.99)} ms")
        for number in range(few, clients):
            await publish(number)
        rest = [await tasks[number] - at[number] for number in range(few, clients)]
        spent = max(at.values()) - at[few] if rest else 0
        print(f"published {len(rest):,} events in {spent:.1f} s")
        print(f"toast, all at once: p50 {share(rest, 0.5)} ms, p99 {share(rest, 0.99)} ms")
    await client.close()


async def measure(clients: int) -> None:
    """Run everything once."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        key = new_key()
        config = folder / "serve.toml"
        config.write_text(
            f'cursor_key = "{new_secret()}"\nport = 0\nkey_rate = 100000\nkey_burst = 100000\n'
            f'[tenants.t1]\nkeys = ["{hash_of(key)}"]\n',
            "utf-8",
        )
        config.chmod(0o600)
        async with embedded(folder / "servers", durable=True) as servers:
            settings = Settings(nats_url=servers.nats_url, database_url=servers.database_url)
            engine = Engine(settings)
            await engine.apply(RULES)
            environment = {"NATS_URL": settings.nats_url, "DATABASE_URL": settings.database_url, "NO_COLOR": "1"}
            worker, _ = await process("working", "run", environment=environment)
            serve, line = await process("serving", "serve", "--config", str(config), environment=environment)
            port = re.search(r"127\.0\.0\.1:(\d+)", line)
            if port is None:
                raise AssertionError(line)
            served = Served(int(port[1]), serve.pid, key)
            try:
                await engine.publish(
                    [event(n, "lesson.completed", user=f"u{u}") for n in range(5) for u in range(ASKED)]
                )
                await asyncio.sleep(2)
                for side_by_side in (1, 8):
                    took = await answers(served, side_by_side)
                    p50, p99 = share(took, 0.5), share(took, 0.99)
                    print(f"answers, {side_by_side} at a time: p50 {p50} ms, p99 {p99} ms")
                await toasts(engine, served, clients)
            finally:
                for one in (serve, worker):
                    one.terminate()
                    await one.wait()


def main() -> None:
    """Measure."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    clients: int = parser.parse_args().clients
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * clients + 1000), hard))
    asyncio.run(measure(clients))


if __name__ == "__main__":
    main()

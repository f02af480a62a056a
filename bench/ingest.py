"""`just ingest-bench`: events a second through `ach ingest`, beside nats-py's own publishing, in one run.

Both send the same events, with a message id each, to one stream on disk, and wait for every acknowledgement. They take
turns, and the median of their rounds counts. Everything runs on this machine and shares its cores: nats-server, `ach
ingest`, and the sender. nats-py publishes straight to the broker, so one process less is at work then.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
from argparse import ArgumentParser
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import httpx
import nats

from tests.integration.engine import event
from worker.broker.streams import open_broker
from worker.contract.partition import event_subject
from worker.local.servers import embedded
from worker.serve.access import hash_of, new_key
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.local.servers import Servers

ACH: Final = Path(sys.executable).with_name("ach")
BATCH: Final = 1000
"""Events of a request, and acknowledgements that nats-py gathers at a time."""
WAIT: Final = 60.0
EVENTS: Final = "/v1/events"


def drawn(number: int, mark: str) -> list[dict[str, Any]]:
    """Return events whose ids no earlier round has had."""
    return [
        event(n % 100_000, user=f"user{n % 5000}", id=f"{mark}-{n}", score=n % 100, lesson=f"lesson-{n % 40}")
        for n in range(number)
    ]


async def by_nats_py(settings: Settings, events: Sequence[dict[str, Any]]) -> float:
    """Return the events a second of nats-py's `publish`, with its acknowledgements gathered."""
    client = await nats.connect(settings.nats_url)
    stream = client.jetstream()
    messages = [
        (
            event_subject("events", one["tenant_id"], one["user_id"], one["event_type"]),
            json.dumps(one).encode(),
            {"Nats-Msg-Id": f"t1:{one['event_id']}"},
        )
        for one in events
    ]
    began = perf_counter()
    for at in range(0, len(messages), BATCH):
        await asyncio.gather(
            *(
                stream.publish(subject, body, headers=headers, timeout=WAIT)
                for subject, body, headers in messages[at : at + BATCH]
            )
        )
    seconds = perf_counter() - began
    await client.close()
    return len(events) / seconds


def by_ingest(address: str, key: str, side_by_side: int, size: int) -> Callable[[Any, Sequence[Any]], Awaitable[float]]:
    """Return how to measure the events a second of requests with `size` events each, so many at a time."""

    async def run(_settings: Settings, events: Sequence[dict[str, Any]]) -> float:
        bodies = [json.dumps(events[at : at + size]).encode() for at in range(0, len(events), size)]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=WAIT) as client:

            async def send() -> None:
                while bodies:
                    answer = await client.post(EVENTS, content=bodies.pop())
                    if answer.status_code != HTTPStatus.ACCEPTED:
                        raise SystemExit(f"{answer.status_code}: {answer.text}")

            began = perf_counter()
            await asyncio.gather(*(send() for _ in range(side_by_side)))
        return len(events) / (perf_counter() - began)

    return run


async def measure(servers: Servers, folder: Path, events: int, rounds: int) -> dict[str, list[float]]:
    """Return the rates of each round, by what was measured."""
    settings = Settings(nats_url=servers.nats_url)
    async with open_broker(settings):
        pass  # it makes the stream
    key = new_key()
    config = folder / "ingest.toml"
    config.write_text(
        f'port = 0\n[tenants.t1]\nkeys = ["{hash_of(key)}"]\n[limits]\nkey_rate = 10_000_000\nkey_burst = 10_000_000\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACH_")}
    process = await asyncio.create_subprocess_exec(
        *(ACH, "ingest", "--config", config),
        env=environment | {"NATS_URL": servers.nats_url},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        address = await _address(process)
        contestants: dict[str, Callable[[Settings, Sequence[Any]], Awaitable[float]]] = {
            "nats-py, publish with gathered acknowledgements": by_nats_py,
            "ach ingest, requests of 1,000 events, 1 at a time": by_ingest(address, key, 1, BATCH),
            "ach ingest, requests of 1,000 events, 4 at a time": by_ingest(address, key, 4, BATCH),
            "ach ingest, requests of 100 events, 4 at a time": by_ingest(address, key, 4, 100),
        }
        found: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(rounds + 1):
            for place, (name, run) in enumerate(contestants.items()):
                rate = await run(settings, drawn(events, f"{number}-{place}"))
                if number:  # the first round warms up
                    found[name].append(rate)
        return found
    finally:
        process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    if process.stderr is None:
        raise SystemExit("ach ingest has no log")
    while line := await process.stderr.readline():
        if found := re.search(rb"http://127\.0\.0\.1:\d+", line):
            _reading.append(asyncio.create_task(process.stderr.read()))
            address = found[0].decode()
            async with httpx.AsyncClient(base_url=address) as client:
                # It has no other way to say that the broker is there.
                while (await client.get("/v1/health")).status_code != HTTPStatus.OK:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            return address
    raise SystemExit("ach ingest has ended")


_reading: list[asyncio.Task[bytes]] = []
"""Of its log, which would fill the pipe."""


async def main(events: int, rounds: int) -> None:
    """Measure, and print a table for docs/ingest.md."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with embedded(folder / "servers", postgres=False) as servers:
            found = await measure(servers, folder, events, rounds)
    first = statistics.median(next(iter(found.values())))
    print(f"{events:,} events a round, {rounds} rounds by turns, {os.cpu_count()} cores\n")
    print("| events a second | median | slowest, fastest | of nats-py |")
    print("|---|---|---|---|")
    for what, rates in found.items():
        median = statistics.median(rates)
        print(f"| {what} | {median:,.0f} | {min(rates):,.0f}, {max(rates):,.0f} | {median / first:.2f} |")


if __name__ == "__main__":
    parser = ArgumentParser(prog="just ingest-bench")
    parser.add_argument("--events", type=int, default=20_000, help="of a round (default: 20,000)")
    parser.add_argument("--rounds", type=int, default=5, help="of each (default: 5)")
    asked = parser.parse_args()
    asyncio.run(main(asked.events, asked.rounds))

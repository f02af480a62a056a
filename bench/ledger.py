"""`just bench replay --ledger EVENTS`: memory and CPU of what reads a whole ledger: `ach digest`, `replay`, `rebuild`.

The ledger is filled by SQL, in two sizes with the same history a user, and folded once. Memory should not grow with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

from bench.change import FILL, TYPES, rules_of
from bench.machine import machine, versions
from bench.measured import ACH, measure
from tests.integration.engine import Engine
from worker.local.servers import embedded
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.local.servers import Servers

PER_USER: Final = 20
"""Events."""
COMMANDS: Final = (("digest",), ("replay", "--from-ledger", "--quiet"), ("rebuild", "--quiet"))


async def fill(servers: Servers, url: str, events: int) -> None:
    """Fill an empty database, and bring all users up to date."""
    engine = Engine(Settings(nats_url=servers.nats_url, database_url=url))
    await engine.apply(rules_of(5))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL, events, events // PER_USER, list(TYPES), timeout=3600)
        await connection.execute("ANALYZE", timeout=3600)
    finally:
        await connection.close()
    await engine.backfill()


async def _fill_all(servers: Servers, sizes: list[int]) -> dict[int, str]:
    urls: dict[int, str] = {}
    connection = await asyncpg.connect(servers.database_url)
    try:
        for events in sizes:
            name = f"ledger_{events}"
            await connection.execute(f"CREATE DATABASE {name}")
            urls[events] = servers.url_of(name)
    finally:
        await connection.close()
    for events, url in urls.items():
        await fill(servers, url, events)
    return urls


def measure_ledgers(events: int) -> None:
    """Measure each command over a ledger of so many events, and over one of a quarter."""
    print(json.dumps({**machine(), **versions()}))
    print("| command | events | subjects | seconds | CPU seconds | memory |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measured(Path(folder), [events // 4, events]))


async def _measured(folder: Path, sizes: list[int]) -> None:
    async with embedded(folder / "servers", durable=False) as servers:
        for events, url in (await _fill_all(servers, sizes)).items():
            environment = {**os.environ, "DATABASE_URL": url, "NATS_URL": servers.nats_url}
            for words in COMMANDS:
                seconds, cpu, peak, _ = await asyncio.to_thread(measure, [ACH, *words], environment)
                print(
                    f"| `ach {' '.join(words)}` | {events:,} | {events // PER_USER:,} | {seconds:.1f} | {cpu:.1f} "
                    f"| {peak / 1e6:.0f} MB |",
                    flush=True,
                )

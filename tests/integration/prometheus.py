"""Debian's Prometheus beside a test, scraping one target each second."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from time import time
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx
import pytest

from tests.integration.engine import PATIENCE
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

RATE_INTERVAL: Final = "8s"
"""What Grafana would put for `$__rate_interval`: several scrapes."""


class Prometheus:
    """A running server, by its API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._began = time()

    async def asked(self, path: str, **query: str) -> dict[str, Any]:
        """Return the data of an answer of the API; a query that Prometheus refuses fails with its words."""
        found = (await self._client.get(f"/api/v1/{path}", params=query)).json()
        assert found["status"] == "success", f"{query}: {found.get('error')}"
        return found["data"]

    async def series(self, expr: str) -> list[dict[str, str]]:
        """Return the labels of all series that an expression has had since the start, as a panel asks for them."""
        # A test lasts a minute, so steps of a minute become steps of a second.
        asked = expr.replace("$__rate_interval", RATE_INTERVAL).replace(":1m]", ":1s]")
        found = await self.asked("query_range", query=asked, start=f"{self._began}", end=f"{time()}", step="1")
        return [one["metric"] for one in found["result"] if any(value != "NaN" for _, value in one["values"])]

    async def until(self, expr: str) -> None:
        """Wait until an expression holds for some series."""
        with anyio.fail_after(PATIENCE):
            while not (await self.asked("query", query=expr))["result"]:  # noqa: ASYNC110 - it has to be asked
                await anyio.sleep(0.2)


@asynccontextmanager
async def prometheus(folder: Path, target: int, rules: Path) -> AsyncGenerator[Prometheus]:
    """Run a server for the length of a block; it evaluates some rules each second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is missing, of Debian's package prometheus")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "ach", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), "utf-8")
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it is there at once
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
            stdout=log,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                await _ready(client, process, folder / "prometheus.log")
                yield Prometheus(client)
        finally:
            process.terminate()
            process.wait()


async def _ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    with anyio.fail_after(PATIENCE):
        while True:
            assert process.poll() is None, log.read_text("utf-8")
            try:
                if (await client.get("/-/ready")).is_success:
                    return
            except httpx.TransportError:
                pass
            await anyio.sleep(0.1)

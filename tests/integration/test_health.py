from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.integration.engine import event
from worker.engine.stats import Stats
from worker.probes.http import Probes, serve
from worker.probes.metrics import Metrics

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio


async def get(port: int, path: str, request: bytes | None = None) -> tuple[int, str]:
    async with await anyio.connect_tcp("127.0.0.1", port) as client:
        await client.send(request or f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        with anyio.fail_after(5):
            while True:
                try:
                    answer += await client.receive()
                except anyio.EndOfStream:
                    break
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


async def test_probes_tell_what_they_are_told() -> None:
    stats, missing = Stats(), ["nats"]
    stats.events = 3
    stats.dead["malformed_json"] = 2
    stats.batch_seconds.append(0.5)

    async def ready() -> str:
        return ", ".join(missing)

    probes = Probes(stuck=lambda: "", ready=ready, metrics=Metrics(stats, {("ach_x", "X."): lambda: 7}).render)
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, probes, "127.0.0.1", 0)
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/readyz") == (503, "waiting for nats\n")
        missing.clear()
        assert await get(port, "/readyz?verbose") == (200, "ready\n")
        status, metrics = await get(port, "/metrics")
        assert status == 200
        assert "ach_events_total 3.0" in metrics
        assert 'ach_dead_letters_total{reason="malformed_json"} 2.0' in metrics
        assert 'ach_batch_seconds{quantile="0.5"} 0.5' in metrics
        assert "ach_x 7.0" in metrics
        assert (await get(port, "/other"))[0] == 404
        assert (await get(port, "", b"nonsense\r\n\r\n"))[0] == 404
        assert (await get(port, "", b"x" * 9000))[0] == 404
        tasks.cancel_scope.cancel()


async def test_a_worker_tells_which_server_is_away(
    own_engine: Engine, own_servers: Servers, free_tcp_port: int
) -> None:
    async with own_engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
        await own_engine.publish([event(1)])
        await stats.reach("events", 1)
        assert await get(free_tcp_port, "/readyz") == (200, "ready\n")
        await own_servers.kill_postgres()
        assert await get(free_tcp_port, "/readyz") == (503, "waiting for postgresql\n")
        assert (await get(free_tcp_port, "/healthz"))[0] == 200
        await own_servers.start_postgres()
        assert await get(free_tcp_port, "/readyz") == (200, "ready\n")
        assert "ach_events_total 1.0" in (await get(free_tcp_port, "/metrics"))[1]


async def test_the_answer_is_that_of_http() -> None:
    async def ready() -> str:
        return "nats"

    async def ask(port: int, request: str) -> bytes:
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b""
            with anyio.fail_after(5):
                while True:
                    try:
                        answer += await client.receive()
                    except anyio.EndOfStream:
                        return answer

    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, Probes(stuck=str, ready=ready, metrics=lambda: b"m 1\n"), "127.0.0.1", 0)
        for path, status in (
            ("/healthz", b"200 OK"),
            ("/readyz", b"503 Service Unavailable"),
            ("/metrics", b"200 OK"),
            ("/other", b"404 Not Found"),
        ):
            got, head = await ask(port, f"GET {path}"), await ask(port, f"HEAD {path}")
            assert got.partition(b"\r\n")[0] == b"HTTP/1.1 " + status
            assert head == got.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            assert f"Content-Length: {len(got) - len(head)}\r\n".encode() in head
        tasks.cancel_scope.cancel()

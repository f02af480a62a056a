"""Probes while servers are frozen or away: the first second of a worker, and reasons within a second."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.integration.engine import event
from tests.integration.frozen import frozen
from tests.integration.ingesting import ingesting
from tests.integration.notices import endpoint, endpoints, make_stream
from tests.integration.probe_client import get
from tests.integration.serving import serving
from worker.app import run
from worker.local.process_tree import free_port
from worker.notify.service import run as run_notifier
from worker.probes.families import Scrape
from worker.probes.front import MIGRATING, Front
from worker.probes.http import MOST_CLIENTS, Probes, serve
from worker.probes.readiness import QUESTION_SECONDS, Readiness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.engine import Engine
    from worker.local.servers import Servers
    from worker.settings import Settings

pytestmark = pytest.mark.anyio


def scraped(body: bytes) -> Callable[[str], Scrape]:
    def answer(accept: str) -> Scrape:
        return Scrape(accept or "text/plain", body)

    return answer


AWAY = {"ok": False, "nats": False}
SECOND = 1.0
"""A probe of Kubernetes waits no longer."""


async def timed(port: int, path: str) -> tuple[int, str]:
    """Return what a path answers, within a second."""
    began = monotonic()
    found = await get(port, path)
    assert monotonic() - began < SECOND, f"{path} took {monotonic() - began:.2f} s"
    return found


async def ready_says(port: int, what: str) -> None:
    """Return once a worker says so; every answer on the way takes less than a second."""
    with anyio.fail_after(30):
        while (await timed(port, "/readyz"))[1] != what:  # noqa: ASYNC110 - it has to be polled, as by Kubernetes
            await anyio.sleep(0.02)


async def test_probes_answer_within_a_second_while_a_server_is_frozen(
    own_engine: Engine, own_servers: Servers, free_tcp_port: int
) -> None:
    nats, postgres = own_servers.pids
    async with own_engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
        await own_engine.publish([event(1)])
        await stats.reach("events", 1)
        assert await timed(free_tcp_port, "/readyz") == (200, "ready\n")
        async with frozen(postgres):
            for _ in range(2):  # the second finds the question of the first without an answer
                assert await timed(free_tcp_port, "/readyz") == (503, "waiting for postgresql\n")
            assert await timed(free_tcp_port, "/healthz") == (200, "ok\n")
        await ready_says(free_tcp_port, "ready\n")
        async with frozen(nats, postgres):
            assert await timed(free_tcp_port, "/readyz") == (503, "waiting for nats, postgresql\n")
            assert await timed(free_tcp_port, "/healthz") == (200, "ok\n")
        await ready_says(free_tcp_port, "ready\n")


async def test_a_worker_answers_before_it_has_reached_a_server(
    own_engine: Engine, own_servers: Servers, free_tcp_port: int
) -> None:
    settings = own_engine.with_settings(health_port=free_tcp_port, health_host="127.0.0.1").settings
    stop, ready = anyio.Event(), anyio.Event()
    nats, postgres = own_servers.pids

    async def work() -> None:
        await run(settings, stop=stop, on_ready=ready.set)

    async with frozen(nats), anyio.create_task_group() as tasks:
        async with frozen(postgres):
            tasks.start_soon(work)
            await listening(free_tcp_port)
            assert await timed(free_tcp_port, "/healthz") == (200, "ok\n")
            assert await timed(free_tcp_port, "/readyz") == (503, "waiting for postgresql\n")
            assert "ach_events_total 0.0" in (await timed(free_tcp_port, "/metrics"))[1]
        await ready_says(free_tcp_port, "waiting for nats\n")
        assert await timed(free_tcp_port, "/healthz") == (200, "ok\n")
        os.kill(nats, signal.SIGCONT)
        with anyio.fail_after(30):
            await ready.wait()
        await ready_says(free_tcp_port, "ready\n")
        stop.set()


async def listening(port: int) -> None:
    with anyio.fail_after(10):
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                await anyio.sleep(0.01)
            else:
                return


async def test_services_answer_probes_before_they_have_reached_a_server_and_while_it_is_frozen(
    own_engine: Engine, own_servers: Servers, tmp_path: Path
) -> None:
    await own_engine.apply()
    await make_stream(own_engine.settings)
    nats, postgres = own_servers.pids
    api_port, events_port, notices_port = free_port(), free_port(), free_port()
    waiting = {
        api_port: "waiting for postgresql, nats\n",
        events_port: "waiting for nats\n",
        notices_port: "waiting for nats\n",
    }
    stop, chosen = anyio.Event(), endpoints(tmp_path, endpoint(1))

    def probed(port: int) -> Settings:
        return own_engine.with_settings(health_port=port, health_host="127.0.0.1").settings

    async def notify() -> None:
        await run_notifier(probed(notices_port), chosen, stop=stop)

    async def all_wait() -> None:
        for port, reasons in waiting.items():
            for _ in range(2):  # the second finds the question of the first without an answer
                assert await timed(port, "/readyz") == (503, reasons)
            assert await timed(port, "/healthz") == (200, "ok\n")

    async with AsyncExitStack() as services:
        async with frozen(nats, postgres):
            tasks = await services.enter_async_context(anyio.create_task_group())
            tasks.start_soon(notify)
            api = await services.enter_async_context(serving(probed(api_port), health_port=api_port))
            events = await services.enter_async_context(ingesting(probed(events_port)))
            await listening(notices_port)
            await all_wait()
        for port in waiting:
            await ready_says(port, "ready\n")
        async with frozen(nats, postgres):
            await all_wait()
            for client, said in ((api, {"ok": False, "postgresql": False, "nats": False}), (events, AWAY)):
                began = monotonic()
                answer = await client.get("/v1/health")
                assert monotonic() - began < SECOND
                assert (answer.status_code, answer.json()) == (503, said)
        for port in waiting:
            await ready_says(port, "ready\n")
        stop.set()


async def test_reasons_stand_side_by_side() -> None:
    async def here() -> bool:
        return True

    async def away() -> bool:
        return False

    readiness = Readiness({"nats": away, "postgresql": here}, lambda: (["nats"], ["unlocks are refused"]))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(readiness.run)
        assert await readiness.reasons() == "waiting for nats; unlocks are refused"
        tasks.cancel_scope.cancel()


async def test_a_server_that_is_silent_is_asked_one_question_at_a_time() -> None:
    asked = 0

    async def silent() -> bool:
        nonlocal asked
        asked += 1
        await anyio.sleep(QUESTION_SECONDS)
        return True

    readiness = Readiness({"postgresql": silent}, lambda: ((), ()))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(readiness.run)
        async with anyio.create_task_group() as probes:
            for _ in range(20):
                probes.start_soon(readiness.reasons)
        assert await readiness.reasons() == "waiting for postgresql"
        assert asked == 1
        tasks.cancel_scope.cancel()


async def test_a_worker_that_starts_is_alive_and_says_what_it_does() -> None:
    async def ready() -> str:
        return ""

    front = Front(scraped(b"early 1\n"))
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, front.probes, "127.0.0.1", 0)
        assert await get(port, "/readyz") == (503, "starting\n")
        front.phase = MIGRATING
        assert await get(port, "/readyz") == (503, "migrating\n")
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/metrics") == (200, "early 1\n")
        front.hand_over(Probes(stuck=lambda: "no progress", ready=ready, metrics=scraped(b"late 1\n")))
        assert await get(port, "/readyz") == (200, "ready\n")
        assert await get(port, "/healthz") == (503, "no progress\n")
        assert await get(port, "/metrics") == (200, "late 1\n")
        tasks.cancel_scope.cancel()


async def test_clients_that_say_nothing_take_no_more_than_their_places() -> None:
    async def ready() -> str:
        return ""

    async with anyio.create_task_group() as tasks:
        port = await tasks.start(serve, Probes(stuck=str, ready=ready, metrics=scraped(b"")), "127.0.0.1", 0)
        silent = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(MOST_CLIENTS)]
        async with await anyio.connect_tcp("127.0.0.1", port) as beyond:
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(2):
                await beyond.receive()
        for one in silent:
            await one.aclose()
        with anyio.fail_after(2):
            while True:
                try:
                    assert await get(port, "/healthz") == (200, "ok\n")
                except (anyio.EndOfStream, anyio.BrokenResourceError, IndexError):
                    await anyio.sleep(0.01)
                else:
                    break
        tasks.cancel_scope.cancel()

"""A connection that is refused, falls silent, or whose client ends: another one takes its place, and work goes on."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import pytest
import structlog

from tests.faults.interjector import (
    GARBAGE,
    HALF,
    LAME_DUCK,
    OK,
    SHORT,
    SMALLER,
    Interjector,
    Moment,
    Speech,
    error,
    interjecting,
)
from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, Engine, Watched, event
from tests.integration.probe_client import get
from worker.app import run
from worker.broker import connection as connecting
from worker.broker import pull
from worker.broker.announce import Announcement
from worker.broker.private import FastClient
from worker.broker.publish import Outgoing, Publisher
from worker.broker.streams import Broker, BrokerAwayError, BrokerMismatchError, open_broker
from worker.commands.dead import replay
from worker.commands.dead.replay import Wanted
from worker.local import sandbox
from worker.retry import delays
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from pathlib import Path

    from worker.broker.client import BrokerClient
    from worker.contract.message import Message

pytestmark = pytest.mark.anyio


def port_of(engine: Engine) -> int:
    port = urlsplit(engine.settings.nats_url).port
    assert port is not None
    return port


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for what is only there to be gentle."""
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(connecting, "LOOK_SECONDS", 0.1)
    # What is asked again after a silence would hide that it was not asked on a new connection.
    monkeypatch.setattr(pull, "SILENCE_SECONDS", 2 * PATIENCE)


@asynccontextmanager
async def through(engine: Engine) -> AsyncGenerator[tuple[Engine, Interjector]]:
    """Give an engine whose worker meets the broker through a proxy."""
    async with interjecting(port_of(engine)) as proxy:
        yield engine.with_settings(nats_url=proxy.url), proxy


async def expect_work(engine: Engine, stats: Watched, user: str) -> None:
    """Expect that something published now is granted, announced, and acknowledged."""
    events, answered = stats.events, stats.answered
    await engine.publish(event(n, user=user) for n in range(3))
    await stats.reach("events", events + 3)
    await stats.reach("answered", answered + 2)
    assert {(user, "three"), (user, "clean")} <= (await engine.unlocks()).keys()


SPOKEN = [
    (Moment.BETWEEN, error("Authorization Violation", close=True)),
    (Moment.BETWEEN, error("User Authentication Expired", close=False)),
    (Moment.IN_BATCH, error("maximum connections exceeded", close=True)),
    (Moment.IN_ANNOUNCING, error("Maximum Payload Violation", close=True)),
    (Moment.IN_PULL, error("maximum subscriptions exceeded", close=False)),
    (Moment.BEFORE_INFO, error("maximum connections exceeded", close=True)),
    (Moment.AFTER_CONNECT, error("Authorization Violation", close=True)),
    (Moment.AFTER_CONNECT, OK),
    (Moment.BETWEEN, HALF),
    (Moment.BETWEEN, SHORT),
    (Moment.BETWEEN, GARBAGE),
    (Moment.BETWEEN, LAME_DUCK),
    (Moment.BETWEEN, Speech(b"INFO {}}\r\n")),
]


@pytest.mark.usefixtures("hurried")
async def test_work_goes_on_whatever_the_broker_says(engine: Engine) -> None:
    async with through(engine.with_settings(ack_wait=1)) as (behind, proxy):
        async with behind.worker() as stats:
            await expect_work(engine, stats, "before")
            for number, (moment, speech) in enumerate(SPOKEN):
                proxy.arm(moment, speech)
                await expect_work(engine, stats, f"u{number}")
                with anyio.fail_after(PATIENCE):
                    await proxy.said.wait()
        assert len(await engine.announced()) == len({one["unlock_id"] for one in await engine.announced()})


async def test_a_password_is_rotated_and_rotated_back(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.2)

    def users(word: str) -> str:
        return f'authorization {{ users: [{{user: ach, password: "{word}"}}, {{user: adm, password: p}}] }}'

    async with configured(tmp_path / "nats", users("p")) as server:
        engine = Engine(Settings(nats_url=server.url("ach:p"), database_url=database_url, batch_size=100))
        await engine.apply()
        operator = engine.with_settings(nats_url=server.url("adm:p"))
        with structlog.testing.capture_logs() as logs:
            async with engine.worker() as stats:
                await expect_work(operator, stats, "u1")
                await server.reload(users("other"))
                # Until it has been refused, and has tried again.
                with anyio.fail_after(PATIENCE):
                    while sum(line["event"] == "nats cannot be reached" for line in logs) < 2:  # noqa: ASYNC110
                        await anyio.sleep(0.02)
                await server.reload(users("p"))
                await expect_work(operator, stats, "u2")
        said = [line["said"] for line in logs if line["event"] in {"lost nats", "nats cannot be reached"}]
        assert all("uthorization" in one or "uthentication" in one for one in said), said
        assert any(line["event"] == "nats is back" for line in logs)


async def test_a_first_login_that_is_refused_ends_the_worker(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "REFUSED_SECONDS", 0.5)
    users = 'authorization { users: [{user: ach, password: "right"}] }'
    async with configured(tmp_path / "nats", users) as server:
        engine = Engine(Settings(nats_url=server.url("ach:wrong"), database_url=database_url))
        with (
            anyio.fail_after(PATIENCE),
            pytest.raises(BrokerMismatchError, match=r"refuses the login.*NATS_URL") as ended,
        ):
            await engine.drain()
        assert "wrong" not in str(ended.value)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", ["reader", "ping", "flusher"])
async def test_a_task_of_the_library_that_ends_is_noticed(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[FastClient] = []
    tap = FastClient.tap

    async def noting(client: FastClient, *args: object) -> object:
        clients.append(client)
        return await tap(client, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FastClient, "tap", noting)
    async with engine.worker() as stats:
        await expect_work(engine, stats, "u1")
        task = clients[-1].tasks()[name]
        assert task is not None
        task.cancel()
        await stats_of(clients, 2)
        await expect_work(engine, stats, "u2")


async def stats_of(clients: Sequence[object], number: int) -> None:
    with anyio.fail_after(PATIENCE):
        while len(clients) < number:  # noqa: ASYNC110 - a patched method calls nothing back
            await anyio.sleep(0.02)


@pytest.mark.usefixtures("hurried")
async def test_pings_that_are_not_answered(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(connecting, "ANSWER_SECONDS", 0.5)
    async with through(engine) as (behind, proxy), behind.worker() as stats:
        await expect_work(engine, stats, "u1")
        with structlog.testing.capture_logs() as logs:
            proxy.mute = True
            with anyio.fail_after(8):  # the library's own patience takes twice as long
                while not any(line["event"] == "lost nats" for line in logs):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            proxy.mute = False
        await expect_work(engine, stats, "u2")


async def test_a_smaller_payload_is_heard_of(engine: Engine) -> None:
    async with through(engine) as (behind, proxy), open_broker(behind.settings) as broker:
        assert broker.client.client.max_payload > 512 * 1024
        proxy.arm(Moment.BETWEEN, SMALLER)
        await broker.backlog()
        with anyio.fail_after(PATIENCE):
            await proxy.said.wait()
        await broker.backlog()
        assert broker.client.client.max_payload == 512 * 1024


@pytest.mark.usefixtures("hurried")
async def test_a_client_that_is_refused_again_and_again_is_not_made_in_a_hot_loop(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Welcomed each time, and refused at once: only who has lived for a while is followed without a pause."""
    begun = 0

    def counting(*, longest: float) -> Iterator[float]:
        nonlocal begun
        begun += 1
        return delays(longest=longest)

    monkeypatch.setattr(connecting, "delays", counting)
    async with through(engine) as (behind, proxy), behind.worker() as stats:
        await expect_work(engine, stats, "u1")
        before = begun
        proxy.cut()
        for _ in range(6):
            proxy.arm(Moment.IN_PULL, error("Authorization Violation", close=True))
            with anyio.fail_after(PATIENCE):
                await proxy.said.wait()
        assert begun == before
        proxy.arm(Moment.IN_PULL, OK)
        await expect_work(engine, stats, "u2")


@pytest.mark.usefixtures("hurried")
async def test_a_round_of_announcements_does_not_wait_for_answers_that_cannot_come(engine: Engine) -> None:
    async with through(engine) as (behind, proxy), open_broker(behind.settings) as broker:
        proxy.arm(Moment.IN_ANNOUNCING, error("Maximum Payload Violation", close=True))
        one = Announcement("unlocks.t.u.a.1", b"{}", "one")
        began = anyio.current_time()
        try:
            said = await broker.announce([one])
        except BrokerAwayError:
            assert anyio.current_time() - began < 4  # and not the five seconds of an answer
            await back(broker)
            said = await broker.announce([one])
        assert said.new.keys() == {"one"}


async def back(broker: Broker) -> None:
    with anyio.fail_after(PATIENCE):
        while not broker.connected:  # noqa: ASYNC110
            await anyio.sleep(0.02)


@pytest.mark.usefixtures("hurried")
async def test_acknowledgements_are_sent_when_the_broker_is_back(engine: Engine) -> None:
    await engine.publish(event(n) for n in range(20))
    async with through(engine) as (behind, proxy), open_broker(behind.settings) as broker:
        await broker.subscribe()
        messages: list[Message] = []
        while len(messages) < 20:
            messages += await broker.next_batch() or []
        broker.client.client.abandon()  # as closed as can be
        await broker.ack(messages)
        await back(broker)
        await broker.client.flush()
        with anyio.fail_after(5):  # long before they would be delivered again
            while await broker.backlog():  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert not proxy.mute


@pytest.mark.usefixtures("hurried")
async def test_publishing_in_bulk_continues_over_another_connection(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.broker import publish  # noqa: PLC0415

    monkeypatch.setattr(publish, "RESEND_SECONDS", 0.5)
    subject = f"{engine.settings.input_prefix}.raw"
    async with open_broker(engine.settings) as broker:
        publisher = Publisher(broker.client.window)

        def on_progress(_done: int) -> None:
            if not ended:
                ended.append(broker.client.client)
                broker.client.client.abandon()

        ended: list[BrokerClient] = []
        await publisher.publish([Outgoing(subject, b"%d" % n, f"{uuid4().hex}") for n in range(600)], on_progress)
    assert publisher.stored + publisher.duplicates == 600


@pytest.mark.usefixtures("hurried")
async def test_what_the_probes_tell_of_a_broker_that_is_gone(engine: Engine, free_tcp_port: int) -> None:
    async with through(engine) as (behind, proxy):
        settings = {"health_port": free_tcp_port, "health_host": "127.0.0.1", "broker_gone": 1}
        async with behind.worker(**settings) as stats:
            await expect_work(engine, stats, "u1")
            assert await get(free_tcp_port, "/healthz") == (200, "ok\n")
            refusing = error("Authorization Violation", close=True)
            proxy.arm(Moment.AFTER_CONNECT, refusing)
            with anyio.fail_after(PATIENCE):
                while (await get(free_tcp_port, "/healthz"))[0] == 200:
                    await proxy.said.wait()
                    proxy.arm(Moment.AFTER_CONNECT, refusing)
            status, said = await get(free_tcp_port, "/healthz")
            assert (status, said[: len("no nats for ")]) == (503, "no nats for ")
            assert await get(free_tcp_port, "/readyz") == (503, "waiting for nats\n")
            proxy.arm(Moment.BETWEEN, OK)
            await expect_work(engine, stats, "u2")
            assert (await get(free_tcp_port, "/healthz"), await get(free_tcp_port, "/readyz")) == (
                (200, "ok\n"),
                (200, "ready\n"),
            )
            metrics = (await get(free_tcp_port, "/metrics"))[1]
            assert re.search(r'ach_nats_errors_total\{kind="authorization"\} [1-9]', metrics)
            assert re.search(r"ach_nats_connections_total ([2-9]|\d\d)", metrics)
            assert re.search(r"ach_nats_silent_seconds [0-9.]+", metrics)


async def test_a_pull_subject_that_is_refused_shows_in_readiness(
    database_url: str, tmp_path: Path, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "SILENCE_SECONDS", 1.0)
    denied = 'permissions: {publish: {allow: ">", deny: "$JS.API.CONSUMER.MSG.NEXT.>"}}'
    users = "authorization {{ users: [{{user: ach, password: p, {more}}}] }}"
    async with configured(tmp_path / "nats", users.format(more=denied)) as server:
        engine = Engine(Settings(nats_url=server.url("ach:p"), database_url=database_url, batch_size=100))
        await engine.apply()
        with structlog.testing.capture_logs() as logs:
            async with engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
                with anyio.fail_after(PATIENCE):
                    while (await get(free_tcp_port, "/readyz"))[0] == 200:  # noqa: ASYNC110
                        await anyio.sleep(0.02)
                said = (await get(free_tcp_port, "/readyz"))[1]
                assert "Permissions Violation for Publish" in said
                assert "$JS.API.CONSUMER.MSG.NEXT.EVENTS.ach" in said
                assert (await get(free_tcp_port, "/healthz"))[0] == 200  # a restart would not help
                # Refused again by now, and still one line.
                with anyio.fail_after(PATIENCE):
                    while sum(line["event"] == "pulling again" for line in logs) < 2:  # noqa: ASYNC110
                        await anyio.sleep(0.02)
                assert sum(line["event"] == "nats refuses" for line in logs) == 1
                await server.reload(users.format(more='permissions: {publish: ">"}'))
                await expect_work(engine, stats, "u1")
                assert await get(free_tcp_port, "/readyz") == (200, "ready\n")


async def test_commands_do_not_wait_for_ever(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(replay, "PATIENCE_SECONDS", 0.5)
    away = engine.with_settings(nats_url="nats://127.0.0.1:1")
    with anyio.fail_after(10):
        with pytest.raises(BrokerAwayError, match=r"for 0 s: .*(refused|Connect)"):
            await sandbox.publish(away.settings, [Outgoing("events.raw", b"x")], lambda _: None)
        with pytest.raises(BrokerAwayError, match=r"refused|Connect"):
            await replay.send_again(away.settings, Wanted(), None, dry=False)


async def test_a_worker_ends_for_what_does_not_pass(engine: Engine) -> None:
    async with open_broker(engine.settings) as broker:
        jetstream = broker.client.client.jetstream()
        await jetstream.delete_consumer(engine.settings.input_stream, engine.settings.consumer)
        await jetstream.add_consumer(
            engine.settings.input_stream, durable_name=engine.settings.consumer, deliver_subject="somewhere"
        )
    with anyio.fail_after(PATIENCE), pytest.raises(BrokerMismatchError, match="push consumer"):
        await run(engine.settings)

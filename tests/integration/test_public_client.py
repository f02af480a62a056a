"""A worker on the public interface of nats-py, as if a release had changed its private names: slower, and right."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import anyio
import pytest
import structlog

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.test_connection import back, expect_work, through
from worker.broker import connection as connecting
from worker.broker import private
from worker.broker.announce import Announced, Announcement
from worker.broker.choice import client_class
from worker.broker.client import BrokerClient
from worker.broker.publish import Outgoing, Publisher
from worker.broker.streams import BrokerAwayError, open_broker
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def fallback(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Force the client on the public interface."""
    client_class.cache_clear()
    monkeypatch.setattr(private, "flaw", lambda: "Client._ps")
    monkeypatch.setattr(connecting, "LONGEST_PAUSE", 0.2)
    yield
    client_class.cache_clear()


async def test_the_right_unlocks_once_and_one_warning(engine: Engine) -> None:
    users = [f"u{n}" for n in range(40)]
    events = [event(n, user=user) for n in range(3) for user in users]
    with structlog.testing.capture_logs() as logs:
        await engine.publish([*events, b"poison", *events[:20]])  # some of them twice
        stats = await engine.drain()
        assert (stats.events, stats.announced, stats.repeated) == (120, 80, 0)
        assert stats.dead == {"malformed_json": 1}
        # Announced and marked; the broker refuses a second announcement.
        await engine.rows("UPDATE unlock SET published_at = NULL")
        again = await engine.drain()
        assert (again.messages, again.announced, again.repeated) == (0, 0, 80)
    said = await engine.announced()
    assert len(said) == 80
    assert await engine.unlocks() == {(user, name): "announced" for user in users for name in ("three", "clean")}
    async with open_broker(engine.settings) as broker:
        assert type(broker.client.client) is BrokerClient
        assert await broker.backlog() == 0
    (warning,) = [line for line in logs if line["event"].startswith("nats-py has changed")]
    assert warning["missing"] == "Client._ps"


async def test_headers_and_copies(engine: Engine) -> None:
    subject = f"{engine.settings.input_prefix}.t.u.a.done"
    async with open_broker(engine.settings) as broker:
        assert await broker.publish(subject, b"1", message_id="one", headers={"Ach-Some": "thing"})
        assert not await broker.publish(subject, b"2", message_id="one")
        await broker.subscribe()
        messages = await broker.next_batch() or []
        assert [(one.subject, one.body, one.headers["Ach-Some"], one.seq) for one in messages] == [
            (subject, b"1", "thing", 1)
        ]
        await broker.ack(messages)
        one = Announcement("unlocks.t.u.a.1", b"{}", "one")
        large = Announcement("unlocks.t.u.a.2", b"x" * (broker.client.client.max_payload + 1), "large")
        said = await broker.announce([one, large])
        assert (said.new, said.refused.keys()) == ({"one": True}, {"large"})
        assert "more than the broker takes" in said.refused["large"]
        assert await broker.announce([one]) == Announced({"one": False}, {})
        with pytest.raises(BrokerAwayError, match="more than the broker takes"):
            await broker.publish(subject, large.body)


async def test_large_messages(engine: Engine) -> None:
    await engine.publish([event(n, key="x" * 900_000) for n in range(20)])
    assert (await engine.drain()).events == 20


async def test_publishing_in_bulk(engine: Engine) -> None:
    messages = [Outgoing("events.raw", b"%d" % n, uuid4().hex) for n in range(5000)]
    async with open_broker(engine.settings) as broker:
        large = Outgoing("events.raw", b"x" * (broker.client.client.max_payload + 1))
        publisher = Publisher(broker.client.window)
        await publisher.publish([*messages, *messages[:10], large], lambda _: None)
    assert (publisher.stored, publisher.duplicates) == (5000, 10)
    assert [one.message for one in publisher.refused] == [large]


async def test_work_goes_on_over_another_connection(engine: Engine) -> None:
    async with through(engine) as (behind, proxy), behind.worker() as stats:
        await expect_work(engine, stats, "u1")
        for user in ("u2", "u3"):
            proxy.cut()
            await expect_work(engine, stats, user)


async def test_a_client_that_is_abandoned_is_replaced(engine: Engine) -> None:
    async with open_broker(engine.settings) as broker:
        before = broker.client.client
        before.abandon()
        with anyio.fail_after(PATIENCE):
            while broker.client.client is before:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        await back(broker)
        assert await broker.backlog() == 0


async def test_a_login_and_what_is_not_permitted(database_url: str, tmp_path: Path) -> None:
    word = "p@s/w:rd?#,% [é"
    deny = 'permissions: {publish: {allow: ">", deny: "unlocks.T1.>"}}'
    users = f'authorization {{ users: [{{user: "a@b", password: "{word}", {deny}}}] }}'
    async with configured(tmp_path / "nats", users) as server:
        url = server.url(f"{quote('a@b', safe='')}:{quote(word, safe='')}")
        engine = Engine(Settings(nats_url=url, database_url=database_url, batch_size=100))
        await engine.apply()
        with structlog.testing.capture_logs() as logs:
            async with open_broker(engine.settings) as broker:
                one, other = (Announcement(f"unlocks.{tenant}.u.a.1", b"{}", tenant) for tenant in ("t1", "T1"))
                said = await broker.announce([one, other])
        assert (said.new, said.refused.keys()) == ({"t1": True}, {"T1"})
        (refusal,) = [line["said"] for line in logs if line["event"] == "nats refuses"]
        assert "permissions violation for publish" in refusal.lower()

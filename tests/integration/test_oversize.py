"""Messages that are larger than a pull request may bring, where an operator lets the broker take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.integration.brokers import configured
from tests.integration.engine import Engine, event
from worker.broker import pull
from worker.broker.streams import Broker
from worker.contract.fields import MAX_MESSAGE_BYTES
from worker.pipeline.pipeline import Pipeline
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from worker.contract.message import Message
    from worker.engine.batch import Batch, DeadLetter

pytestmark = pytest.mark.anyio

HUGE = 17 * 1024 * 1024


@pytest.fixture
async def roomy(database_url: str, tmp_path: Path) -> AsyncGenerator[Engine]:
    """An engine whose broker takes messages of 20 MiB."""
    async with configured(tmp_path / "nats", "max_payload: 20MB\nmax_pending: 100MB") as server:
        engine = Engine(Settings(nats_url=server.url(), database_url=database_url, batch_size=100))
        await engine.apply()
        yield engine


class Held:
    """How many bytes were taken up and not acknowledged yet, at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        self._two = anyio.Event()
        self._sizes: dict[str, int] = {}
        commit = Pipeline.commit
        take_up, done_with = Broker._take_up, Broker._done_with  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

        def taking(broker: Broker, messages: Sequence[Message]) -> None:
            self._sizes.update({message.reply: len(message.body) for message in messages})
            self.most = max(self.most, sum(self._sizes.values()))
            if self.most > 2 * HUGE:
                self._two.set()
            take_up(broker, messages)

        def letting_go(broker: Broker, replies: Sequence[str]) -> None:
            for reply in replies:
                self._sizes.pop(reply, None)
            done_with(broker, replies)

        async def slowly(
            pipeline: Pipeline, batch: Batch, *, waiting: Callable[[], Awaitable[None]]
        ) -> list[DeadLetter]:
            # As long as it takes another one to arrive, were it asked for.
            with anyio.move_on_after(0.5):
                await self._two.wait()
            return await commit(pipeline, batch, waiting=waiting)

        monkeypatch.setattr(Pipeline, "commit", slowly)
        monkeypatch.setattr(Broker, "_take_up", taking)
        monkeypatch.setattr(Broker, "_done_with", letting_go)


async def test_huge_messages_become_dead_letters_one_at_a_time(roomy: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    huge = [b"%d" % n + b"x" * HUGE for n in range(4)]
    small = [event(n, user=f"u{n % 2}") for n in range(20)]
    await roomy.publish([*small[:5], huge[0], *small[5:10], huge[1], huge[2], huge[3], *small[10:]])
    async with roomy.worker() as stats:
        await stats.reach("events", 20)
        await stats.reach("messages", 24)
        assert stats.dead == {"oversize": 4}
    assert held.most < 2 * HUGE
    rows = await roomy.rows(
        "SELECT detail, length(body) AS kept, substr(body, 1, 1) AS first FROM dead_letter ORDER BY 1"
    )
    assert [row["kept"] for row in rows] == [MAX_MESSAGE_BYTES] * 4
    assert sorted(row["first"] for row in rows) == [b"0", b"1", b"2", b"3"]
    assert all(f"{HUGE + 1} bytes" in row["detail"] for row in rows)
    # Ended, and not to be delivered again.
    assert (await roomy.drain()).messages == 0


async def test_two_workers_and_a_huge_message(roomy: Engine) -> None:
    async with roomy.worker() as one, roomy.worker() as other:
        await roomy.publish([event(0), b"x" * HUGE, *(event(n) for n in range(1, 6))])
        await roomy.drain()
        assert one.messages + other.messages > 0
    assert len(await roomy.rows("SELECT FROM event")) == 6
    assert len(await roomy.rows("SELECT FROM dead_letter")) == 1


async def test_smaller_limits_the_same_way(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mechanism, without large messages: requests may bring 2,000 bytes."""
    monkeypatch.setattr(pull, "PULL_BYTES", 2000)
    bodies = [event(n, note="x" * (3000 if n % 4 == 0 else 5)) for n in range(40)]
    await engine.publish(bodies)
    stats = await engine.drain()
    assert stats.events == 40

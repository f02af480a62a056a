"""The outbox between two servers that may both end, and one unlock that nothing can announce."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import nats
import pytest
from nats.js import api
from nats.js.errors import NotFoundError
from structlog.testing import capture_logs

from dsl.outcome import Subject
from tests.integration.engine import PATIENCE, Engine, Watched, event
from tests.integration.pipelines import pipeline_on, send
from tests.integration.probe_client import get
from tests.integration.test_operators import PAIR, hand, only, take_back
from worker.admin.revocation import revoke
from worker.app import wall_clock
from worker.broker.streams import Broker, BrokerAwayError, open_broker
from worker.engine import refusals
from worker.engine.stats import Stats
from worker.pipeline import outbox as relaying
from worker.pipeline.outbox import OutboxRelay
from worker.settings import Clock
from worker.store import Session, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from worker.pipeline.pipeline import Committed

pytestmark = pytest.mark.anyio

BIG = """
event a.done {}
event b.done {}
achievement big { title "Big" when count(event=b.done, >= 1) reward { x: "%s" } }
achievement one { title "One" when count(event=a.done, >= 1) }
"""


@asynccontextmanager
async def notifier_on(engine: Engine, stats: Stats | None = None) -> AsyncGenerator[OutboxRelay]:
    async with open_store(engine.settings.database_url) as store, open_broker(engine.settings) as broker:
        yield OutboxRelay(store, broker, engine.settings, stats or Stats(), now=wall_clock)


# -- what is announced is in the books as granted ----------------------------------------------------------------------


class Dies(BaseException):
    """As if the process had been killed: what is under way is rolled back, and nothing more is done."""


STEPS: dict[str, tuple[type, str, str | None]] = {
    "granting": (Session, "run", "grant_settled"),
    "claiming": (Session, "rows", "claim_unlocks"),
    "publishing": (Broker, "announce", None),
    "marking": (Session, "run", "mark_published"),
}
"""What the relay does, in order: the method, and the statement if there is one."""
GAPS = [(step, after) for step in STEPS for after in (False, True)]


def die(monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool) -> None:
    """Let a relay that comes to a step die before it or behind it."""
    owner, method, statement = STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(owner, method)

    async def dying(this: object, *args: Any, **named: Any) -> Any:  # noqa: ANN401
        here = statement is None or statement in args
        if here and not after:
            raise Dies
        result = await original(this, *args, **named)
        if here:
            raise Dies
        return result

    monkeypatch.setattr(owner, method, dying)


async def contradict(engine: Engine, user: str = "u1") -> None:
    """Let a late event take the evidence away."""
    async with pipeline_on(engine, owner="next") as pipeline:
        await send(pipeline, event(1, "b.done", user=user))


async def amend(engine: Engine, user: str) -> None:
    """Let a late event move the evidence."""
    async with pipeline_on(engine, owner="next") as pipeline:
        await send(pipeline, event(1, user=user))


async def revoked(engine: Engine, user: str) -> None:
    """Let an operator revoke it."""
    (row,) = await engine.rows("SELECT unlock_id FROM unlock WHERE subject = $1", user)
    async with open_store(engine.settings.database_url) as store:
        await revoke(store, row["unlock_id"], now=wall_clock())


async def granted_by_hand(engine: Engine, user: str) -> None:
    """Let an operator grant it."""
    await hand(engine, "pair", subject=Subject("t1", "user", user))


async def leave(engine: Engine, user: str) -> None:
    """Do nothing."""


MEANWHILE: dict[str, tuple[Callable[[Engine, str], Awaitable[object]], str | None, str]] = {
    "contradicted": (contradict, None, "contested"),
    "amended": (amend, "announced", "announced"),
    "revoked": (revoked, "revoked", "revoked"),
    "granted": (granted_by_hand, "announced", "announced"),
    "left": (leave, "announced", "announced"),
}
"""What happens in a gap to a user of that name, and where their unlock stands in the end: where it had not been granted
by then, and where it had."""


async def settles(engine: Engine, *users: str) -> Engine:
    """Give each user an unlock that has settled, and was not granted yet."""
    engine = engine.with_settings(clock=Clock.STREAM)
    await engine.apply(PAIR)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n, user=user) for n in (0, 2) for user in users))
        await send(pipeline, event(100, user="clock"))
    return engine


@pytest.fixture
async def settled(engine: Engine) -> Engine:
    """An engine with one unlock that has settled, and was not granted yet."""
    return await settles(engine, "u1")


@pytest.mark.parametrize(("step", "after"), GAPS)
async def test_a_relay_that_dies_between_two_steps(engine: Engine, step: str, *, after: bool) -> None:
    engine = await settles(engine, *MEANWHILE)
    with pytest.MonkeyPatch.context() as patched:
        die(patched, step, after=after)
        with pytest.raises(Dies):
            async with notifier_on(engine) as outbox_relay:
                await outbox_relay.relay()
    was_granted = (step, after) != ("granting", False)
    assert len(await engine.rows("SELECT FROM unlock WHERE granted_at IS NOT NULL")) == was_granted * len(MEANWHILE)
    for user, (work, _, _) in MEANWHILE.items():
        await work(engine, user)
    async with notifier_on(engine) as outbox_relay:
        await outbox_relay.relay()
        assert await outbox_relay.is_empty()
    wanted = {user: behind if was_granted else before for user, (_, before, behind) in MEANWHILE.items()}
    assert await engine.unlocks() == {(user, "pair"): state for user, state in wanted.items() if state is not None}
    # Whatever is announced is known to the tables; what was granted, and not revoked before, is announced once.
    published = (step, after) in {("publishing", True), ("marking", False), ("marking", True)}
    said = sorted(one["subject"] for one in await engine.announced())
    assert said == sorted(user for user, state in wanted.items() if published or state in {"announced", "contested"})
    rows = await engine.rows("SELECT subject, decision FROM evaluation")
    granted = sorted(row["subject"] for row in rows if row["decision"] == "granted")
    assert granted == sorted(MEANWHILE if was_granted else ["amended", "left"])


async def test_what_settles_is_granted_though_its_achievement_was_retired(settled: Engine) -> None:
    """It was earned while the rules had it, and nothing takes it away any more."""
    other = 'achievement other { title "Other" when count(event=a.done, >= 99, unless=b.done) }'
    await settled.apply(PAIR[: PAIR.index("achievement")] + other)
    await settled.backfill()
    async with notifier_on(settled) as outbox_relay:
        assert await outbox_relay.relay() == 1
    assert await settled.unlocks() == {("u1", "pair"): "announced"}


async def test_two_relays_grant_and_announce_once(settled: Engine) -> None:
    stats = Stats()
    async with (
        notifier_on(settled, stats) as one,
        notifier_on(settled, stats) as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(one.relay)
        tasks.start_soon(other.relay)
    assert (stats.announced, stats.repeated, stats.unlocks) == (1, 0, 1)
    assert len(await settled.rows("SELECT FROM evaluation WHERE decision = 'granted' AND achievement = 'pair'")) == 1


async def test_a_late_event_waits_for_a_grant_under_way_and_contests_it(
    settled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that reads an unlock under its lock reads it as granted."""
    publish = Broker.announce

    async def meanwhile(broker: Broker, announcements: Any) -> Any:  # noqa: ANN401
        # It waits for what is claimed, and ends behind it.
        tasks.start_soon(contradict, settled)
        return await publish(broker, announcements)

    monkeypatch.setattr(Broker, "announce", meanwhile)
    async with anyio.create_task_group() as tasks, notifier_on(settled) as outbox_relay:
        assert await outbox_relay.relay() == 1
    assert await settled.unlocks() == {("u1", "pair"): "contested"}


VERSIONS = """
event a.done {}
event b.done {}
achievement pair { title "Pair" when count(event=a.done, >= 2, unless=b.done) settle 100h }
achievement pair version 2 from 2026-04-12T13:50:00Z {
  title "Pair" when count(event=a.done, >= 2, unless=b.done) reward { xp: 2 }
}
"""


async def test_what_settled_by_an_earlier_version_is_granted_by_one_that_does_not_settle(engine: Engine) -> None:
    engine = engine.with_settings(clock=Clock.STREAM)
    await engine.apply(VERSIONS)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(0), event(2), event(40), event(41))
        assert (await only(engine, "pair"))["version"] == 1
        await send(pipeline, event(1, "b.done"), event(30, "b.done"))
    row = await only(engine, "pair")
    assert (row["version"], row["event_id"], row["status"]) == (2, "a.done-41-u1", "settling")
    async with notifier_on(engine) as outbox_relay:
        assert await outbox_relay.relay() == 1
    rows = await engine.rows("SELECT decision, version FROM evaluation ORDER BY evaluation_id")
    assert [tuple(one.values()) for one in rows] == [("settling", 1), ("amended", 2), ("granted", 2)]


async def test_what_settles_again_later_is_not_granted_before(settled: Engine) -> None:
    """Late evidence may move it to later: it is asked when it is granted, and not when it was looked for."""
    async with pipeline_on(settled) as pipeline:
        await send(pipeline, event(1, "b.done"), event(98))
    async with notifier_on(settled) as outbox_relay:
        assert await outbox_relay.relay() == 0
    assert await settled.unlocks() == {("u1", "pair"): "settling"}


# -- what the broker refuses waits by itself -------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try what was refused again at once."""
    monkeypatch.setattr(refusals, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(refusals, "LONGEST_SECONDS", 0.05)


async def unlock_stream(engine: Engine, **config: object) -> None:
    """Make the stream of announcements, or change it, as an operator would."""
    client = await nats.connect(engine.settings.nats_url)
    try:
        jetstream = client.jetstream()
        name, prefix = engine.settings.unlock_stream, engine.settings.unlock_prefix
        wanted = api.StreamConfig.from_response({"name": name, "subjects": [f"{prefix}.>"], **config})
        try:
            await jetstream.update_stream(wanted)
        except NotFoundError:
            await jetstream.add_stream(wanted)
    finally:
        await client.close()


async def test_headers_count(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker closes the connection on a message that is too large by its headers alone."""
    monkeypatch.setattr(refusals, "FIRST_SECONDS", 10 * PATIENCE)
    await engine.apply(BIG % "x")
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1, "b.done"))
    async with notifier_on(engine) as outbox_relay:
        assert await outbox_relay.relay() == 1
    client = await nats.connect(engine.settings.nats_url)
    small = len((await client.jetstream().get_msg(engine.settings.unlock_stream, 1)).data or b"")
    limit = client.max_payload
    await client.close()
    # The body alone would just fit.
    await engine.apply((BIG % ("x" * (limit - small))).replace("achievement big", "achievement bag"))
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(3, "b.done", user="u3"), event(4, user="u4"))
    stats = Stats()
    async with notifier_on(engine, stats) as outbox_relay:
        with anyio.fail_after(PATIENCE):
            assert (await outbox_relay.relay(), outbox_relay.refused, stats.refused) == (1, 1, 1)
        # The next look passes over it.
        assert (await outbox_relay.relay(), stats.refused) == (0, 1)
    unlocks = await engine.unlocks()
    assert (unlocks["u4", "one"], unlocks["u3", "bag"]) == ("announced", "granted")


@pytest.mark.usefixtures("hasty")
async def test_one_that_is_refused_holds_up_no_other(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    """And is announced once the reason is gone, without a restart."""
    monkeypatch.setattr(relaying, "LONGEST_NAP", 10 * PATIENCE)
    await engine.apply(BIG % ("x" * 5000))
    await unlock_stream(engine, max_msg_size=3000)
    with capture_logs() as logs:
        async with engine.worker(health_port=free_tcp_port, health_host="127.0.0.1") as stats:
            await engine.publish([event(1, "b.done"), event(2, user="u2")])
            await stats.reach("announced", 1)
            await engine.publish([event(3, user="u3")])
            await stats.reach("announced", 2)
            assert (await engine.unlocks())["u1", "big"] == "granted"
            with anyio.fail_after(PATIENCE):
                while stats.refused < 3:  # it goes on being tried  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            # Nothing that a restart would mend.
            assert await get(free_tcp_port, "/readyz") == (200, "ready\n")
            said = (await get(free_tcp_port, "/metrics"))[1]
            assert "ach_refused_unlocks 1.0" in said
            assert "ach_refused_announcements_total 0.0" not in said
            await unlock_stream(engine, max_msg_size=-1)
            await stats.reach("announced", 3)
    assert (await engine.unlocks())["u1", "big"] == "announced"
    (row,) = await engine.rows("SELECT unlock_id FROM unlock WHERE achievement = 'big'")
    refused = [one for one in logs if "cannot be announced" in one["event"]]
    assert {(one["unlock"], one["tenant"], one["subject"], one["achievement"]) for one in refused} == {
        (str(row["unlock_id"]), "t1", "u1", "big")
    }
    assert "10054" in refused[0]["said"]


async def test_draining_ends_and_says_what_waits(engine: Engine) -> None:
    await engine.apply(BIG % ("x" * 5000))
    await unlock_stream(engine, max_msg_size=3000)
    await engine.publish([event(1, "b.done"), event(2, user="u2")])
    with capture_logs() as logs:
        stats = await engine.drain()
    assert (stats.announced, stats.refused >= 1) == (1, True)
    assert [one["unlocks"] for one in logs if one["event"] == "unlocks that the broker refuses wait in the outbox"] == [
        1
    ]


async def test_a_tenant_without_a_stream_holds_up_no_other(engine: Engine) -> None:
    await unlock_stream(engine, subjects=[f"{engine.settings.unlock_prefix}.t1.>"])
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n, tenant=tenant) for n in (1, 2) for tenant in ("t1", "t2")))
    async with notifier_on(engine) as outbox_relay:
        assert await outbox_relay.relay() == 1
        assert outbox_relay.refused == 1
    rows = await engine.rows("SELECT tenant_id, status FROM v_unlock ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("t1", "announced"), ("t2", "granted")]


@pytest.mark.usefixtures("hasty")
async def test_one_alone_that_no_stream_keeps_is_put_off_in_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing else to announce, no other tells whether the server is at fault."""
    monkeypatch.setattr(refusals, "MOST_AWAY", 3)
    await unlock_stream(engine, subjects=[f"{engine.settings.unlock_prefix}.t1.>"])
    await engine.publish([event(n, tenant="t2") for n in (1, 2)])
    stats = await engine.drain()
    assert (stats.announced, stats.refused >= 1) == (0, True)


async def test_a_broker_that_takes_nothing_is_waited_for(engine: Engine) -> None:
    await unlock_stream(engine, max_msgs=1, discard="new")
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(n, user=f"u{user}") for n in (1, 2) for user in range(5)))
    async with notifier_on(engine) as outbox_relay:
        await outbox_relay.relay()  # one is kept, so that the others are refused by themselves
        assert outbox_relay.refused == 4
    async with notifier_on(engine) as outbox_relay:
        with pytest.raises(BrokerAwayError, match="10077"):
            await outbox_relay.relay()
        assert outbox_relay.refused == 0
        await unlock_stream(engine, max_msgs=-1)
        assert await outbox_relay.relay() == 4


async def test_too_many_that_are_refused_are_the_brokers_fault(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST", 2)
    await engine.apply(BIG % ("x" * 5000))
    await unlock_stream(engine, max_msg_size=3000)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, *(event(1, "b.done", user=f"u{user}") for user in range(3)))
    async with notifier_on(engine) as outbox_relay:
        with pytest.raises(BrokerAwayError, match="refuses everything"):
            await outbox_relay.relay()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("gone", ["revoked", "erased", "announced by another"])
async def test_what_is_refused_no_more_is_forgotten(engine: Engine, gone: str) -> None:
    await engine.apply(BIG % ("x" * 5000))
    await unlock_stream(engine, max_msg_size=3000)
    async with pipeline_on(engine) as pipeline:
        await send(pipeline, event(1, "b.done"))
    async with notifier_on(engine) as outbox_relay:
        assert (await outbox_relay.relay(), outbox_relay.refused) == (0, 1)
        if gone == "revoked":
            await take_back(engine, "big")
            await engine.rows("DELETE FROM correction")  # with the reward to take back it is too large itself
        elif gone == "erased":
            await engine.rows("DELETE FROM unlock")
        else:
            await engine.rows("UPDATE unlock SET published_at = now()")
        with anyio.fail_after(PATIENCE):
            while outbox_relay.refused:
                await outbox_relay.relay()
                await anyio.sleep(0.01)


async def test_what_is_refused_is_not_marked_with_the_rest_of_its_batch(engine: Engine) -> None:
    """What was granted a moment ago is announced without a claim."""
    await engine.apply(BIG % ("x" * 5000))
    await unlock_stream(engine, max_msg_size=3000)
    decided: list[Committed] = []
    async with pipeline_on(engine, on_committed=decided.append) as pipeline:
        await send(pipeline, event(1, "b.done"), event(2, user="u2"))
    stats = Watched()
    async with notifier_on(engine, stats) as outbox_relay:
        for done in decided:
            outbox_relay.committed(done)
        outbox_relay.stop()
        await outbox_relay.run()
    assert await engine.unlocks() == {("u1", "big"): "granted", ("u2", "one"): "announced"}

"""A notifier on real servers: what it sends, when it sends it again, and what it never sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import nats
import pytest
from standardwebhooks import Webhook

from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.notices import (
    SECRET,
    claimed,
    endpoint,
    endpoints,
    make_stream,
    message_of,
    notifier,
    publish,
    revoked,
    state_of,
    until_state,
)
from tests.worker.notify.receiver import receiver, respond
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.broker.connection import Connection
from worker.notify import courier
from worker.notify.delivery_log import KEPT_DAYS, list_deliveries, prune
from worker.notify.health import DISABLED, FAILING
from worker.notify.metrics import render_of
from worker.notify.service import consumer_name, consumer_of
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.notify.receiver import Request

pytestmark = pytest.mark.anyio

QUICK = 'schedule = ["100ms"]'
BULK = 5000


@pytest.fixture
async def settings(database_url: str, nats_url: str) -> Settings:
    made = Settings(nats_url=nats_url, database_url=database_url, ack_wait=2, consumer=f"c{uuid4().hex}")
    await Engine(made).migrate()
    await make_stream(made)
    return made


def ids(requests: list[Request]) -> list[str]:
    return [request.headers["webhook-id"] for request in requests]


async def logged(settings: Settings, number: int) -> list[dict[str, Any]]:
    """Return the account of deliveries, once it has so many rows, oldest first."""
    with anyio.fail_after(PATIENCE):
        while True:
            rows = await Engine(settings).rows("SELECT * FROM delivery ORDER BY delivery_id")
            if len(rows) >= number:
                return rows
            await anyio.sleep(0.05)


# -- what arrives ------------------------------------------------------------------------------------------------------


async def test_an_unlock_of_a_real_worker_arrives_signed(settings: Settings, tmp_path: Path) -> None:
    engine = Engine(settings)
    await engine.apply()
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))) as stats:
        await engine.publish([event(0), event(1), event(2)])
        await engine.drain()
        requests = await there.until(2)
        await stats.reach("app", "delivered", 2)
    announced = {one["unlock_id"]: one for one in await engine.announced()}
    for request in requests:
        said = Webhook(SECRET).verify(request.body, request.headers)
        assert said["type"] == "unlock.granted"
        assert said["data"] == announced[request.headers["webhook-id"]]
        assert request.headers["content-type"] == "application/json"
        assert request.line == "POST /app HTTP/1.1"
    state = await state_of(settings)
    assert state is not None
    assert (state.waiting, state.unacknowledged) == (0, 0)


async def test_revisions_come_in_order_under_ids_of_their_own(settings: Settings, tmp_path: Path) -> None:
    one = claimed(1)
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))):
        await publish(settings, one, revoked(one), revoked(one, 3))
        requests = await there.until(3)
    assert ids(requests) == [str(one.unlock_id), f"{one.unlock_id}_2", f"{one.unlock_id}_3"]
    assert [request.said["data"]["revision"] for request in requests] == [1, 2, 3]


async def test_what_was_announced_before_the_endpoint_is_not_sent(settings: Settings, tmp_path: Path) -> None:
    await publish(settings, claimed(1))
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))):
        await publish(settings, claimed(2))
        assert ids(await there.until(1)) == [str(claimed(2).unlock_id)]


async def test_what_was_announced_while_it_was_away_is_sent(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there:
        chosen = endpoints(tmp_path, endpoint(there.port))
        async with notifier(settings, chosen):
            pass
        await publish(settings, claimed(1))
        async with notifier(settings, chosen):
            await there.until(1)


async def test_a_backfill_sends_nothing_unless_it_is_asked_for(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there:
        chosen = endpoints(
            tmp_path,
            endpoint(there.port),
            endpoint(there.port, "asked", 'origins = ["backfill"]\nachievements = ["a7"]'),
        )
        async with notifier(settings, chosen) as stats:
            await publish(settings, *(claimed(number, origin="backfill") for number in range(BULK)), claimed(BULK))
            await stats.reach("app", "passed_over", BULK)
            await stats.reach("app", "delivered", 1)
            await stats.reach("asked", "passed_over", BULK)
            assert sorted(request.line for request in there.requests) == ["POST /app HTTP/1.1", "POST /asked HTTP/1.1"]
            assert {*ids(there.requests)} == {str(claimed(7).unlock_id), str(claimed(BULK).unlock_id)}


async def test_a_grant_by_hand_is_sent_and_one_of_a_dead_letter_is_not(settings: Settings, tmp_path: Path) -> None:
    granted = claimed(2, origin="by_hand")
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))) as stats:
        await publish(settings, claimed(1, origin="replayed"), granted, revoked(granted), claimed(3, origin="settled"))
        await stats.reach("app", "delivered", 3)
        assert stats.count("app", "passed_over") == 1
    expected = {str(granted.unlock_id), f"{granted.unlock_id}_2", str(claimed(3).unlock_id)}
    assert {*ids(there.requests)} == expected


async def test_tenants_never_see_each_other(settings: Settings, tmp_path: Path) -> None:
    """Also if a publisher with permission for one tenant names another one in the body."""
    async with receiver() as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more='tenants = ["t1"]'))
        async with notifier(settings, chosen) as stats:
            subject, _ = message_of(settings, claimed(2, tenant="t2"))
            _, body = message_of(settings, claimed(2))
            await publish(settings, claimed(1, tenant="t2"), (subject, body), ("unlocks.t1.x", b"{}"), claimed(3))
            assert ids(await there.until(1)) == [str(claimed(3).unlock_id)]
            assert stats.count("app", "passed_over") == 1
            assert stats.count("app", "unreadable") == 2
    state = await state_of(settings)
    assert state is not None
    assert state.unacknowledged == 0


# -- what is sent again ------------------------------------------------------------------------------------------------


async def test_a_failure_is_tried_again_with_the_same_id_and_body(settings: Settings, tmp_path: Path) -> None:
    answers = [respond(500), respond(302, location="https://elsewhere.example/"), b"", respond(404), respond()]
    async with receiver(lambda _: answers.pop(0)) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more=QUICK))
        async with notifier(settings, chosen) as stats:
            await publish(settings, claimed(1))
            requests = await there.until(5)
            await stats.reach("app", "delivered", 1)
    assert len({(request.headers["webhook-id"], request.body) for request in requests}) == 1
    for request in requests:
        Webhook(SECRET).verify(request.body, request.headers)
    rows = await logged(settings, 5)
    assert [(row["attempt"], row["outcome"], row["status"]) for row in rows] == [
        (1, "failed", 500),
        (2, "failed", 302),
        (3, "failed", None),
        (4, "failed", 404),
        (5, "delivered", 204),
    ]
    assert {(row["tenant_id"], row["scope"], row["subject"]) for row in rows} == {("t1", "user", "u1")}


async def test_a_receiver_that_fails_is_left_alone_for_a_while(settings: Settings, tmp_path: Path) -> None:
    arrived: list[float] = []

    def answer(_: Request) -> bytes:
        arrived.append(anyio.current_time())
        return respond(500) if len(arrived) < 3 else respond()

    async with receiver(answer) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more='schedule = ["300ms", "700ms"]'))
        async with notifier(settings, chosen) as stats:
            await publish(settings, claimed(1))
            await stats.reach("app", "delivered", 1)
    assert arrived[1] - arrived[0] >= 0.3
    assert arrived[2] - arrived[1] >= 0.7


async def test_retry_after_is_kept_for_the_whole_endpoint(settings: Settings, tmp_path: Path) -> None:
    arrived: list[float] = []

    def answer(_: Request) -> bytes:
        arrived.append(anyio.current_time())
        return respond(429, retry_after="1") if len(arrived) == 1 else respond()

    async with receiver(answer) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more=f"{QUICK}\nconcurrency = 1"))
        async with notifier(settings, chosen) as stats:
            await publish(settings, *map(claimed, range(5)))
            await stats.reach("app", "delivered", 5)
    assert arrived[1] - arrived[0] >= 0.9
    assert len(arrived) == 6


async def test_the_receiver_aborts_one_message(settings: Settings, tmp_path: Path) -> None:
    async with receiver(lambda _: respond(500, webhook_delivery="abort-message")) as there:
        async with notifier(settings, endpoints(tmp_path, endpoint(there.port, more=QUICK))) as stats:
            await publish(settings, claimed(1), claimed(2))
            await stats.reach("app", "aborted", 2)
        assert len(there.requests) == 2
    state = await state_of(settings)
    assert state is not None
    assert state.unacknowledged == 0


async def test_gone_disables_until_it_is_enabled(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "LOOK_SECONDS", 0.2)
    said = respond(410)
    async with receiver(lambda _: said) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more=QUICK))
        async with notifier(settings, chosen) as stats:
            await publish(settings, claimed(1))
            await stats.reach("app", "gone", 1)
            await until_state(settings, lambda state: "410 Gone" in state.metadata.get(DISABLED, ""))
            await publish(settings, claimed(2))
            assert stats.count("app", "disabled") == 1
        assert len(there.requests) == 1
        said = respond()
        async with notifier(settings, chosen) as stats:  # another process remembers
            assert stats.count("app", "disabled") == 1
            connection = Connection(settings)
            await connection.open()
            await consumer_of(lambda: connection.client, settings, "app").remember({DISABLED: "", FAILING: ""})
            await connection.close()
            await stats.reach("app", "delivered", 2)
            assert stats.count("app", "disabled") == 0
        assert {*ids(there.requests)} == {str(claimed(1).unlock_id), str(claimed(2).unlock_id)}


async def test_an_endpoint_that_only_fails_is_disabled(settings: Settings, tmp_path: Path) -> None:
    async with receiver(lambda _: respond(500)) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more=f'{QUICK}\ndisable_after = "1s"'))
        async with notifier(settings, chosen) as stats:
            await publish(settings, claimed(1))
            state = await until_state(settings, lambda state: DISABLED in state.metadata)
            assert "every attempt has failed for" in state.metadata[DISABLED]
            assert stats.count("app", "disabled") == 1
            assert len(there.requests) >= 2  # the first, and one behind the second that it may fail for


async def test_a_dead_endpoint_delays_no_other(settings: Settings, tmp_path: Path) -> None:
    async with receiver(lambda _: None) as dead, receiver() as well:
        chosen = endpoints(tmp_path, endpoint(dead.port, "dead", 'timeout = "2s"'), endpoint(well.port, "well"))
        async with notifier(settings, chosen) as stats:
            await publish(settings, *map(claimed, range(100)))
            await stats.reach("well", "delivered", 100)
            assert stats.count("dead", "delivered") == 0
            await dead.until(1)


async def test_an_address_that_is_not_allowed_gets_nothing(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there:
        text = endpoint(there.port, more=QUICK).replace('["127.0.0.0/8"]', '["10.0.0.0/8"]')
        async with notifier(settings, endpoints(tmp_path, text)) as stats:
            await publish(settings, claimed(1))
            await stats.reach("app", "refused", 2)
        assert there.requests == []
    assert "127.0.0.1 (loopback)" in (await logged(settings, 2))[0]["detail"]


# -- digests -----------------------------------------------------------------------------------------------------------


async def test_unlocks_of_one_user_come_in_one_delivery(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more='digest = { wait = "2s" }'))
        async with notifier(settings, chosen) as stats:
            await publish(settings, claimed(1), claimed(2, subject="u2"), claimed(3), claimed(4, origin="backfill"))
            await until_state(settings, lambda state: not state.waiting and not state.unacknowledged)
            assert stats.count("app", "failed") == 0
    sent = [uid for request in there.requests for uid in unlocks_in(request)]
    assert sorted(sent) == sorted(str(claimed(number).unlock_id) for number in (1, 2, 3))
    digests = [request for request in there.requests if request.said["type"] == "unlock.digest"]
    for request in digests:
        assert Webhook(SECRET).verify(request.body, request.headers)["data"]["subject"] == "u1"
        assert request.headers["webhook-id"].startswith("digest_")


def unlocks_in(request: Request) -> list[str]:
    said = request.said
    if said["type"] != "unlock.digest":
        return [said["data"]["unlock_id"]]
    return [one["data"]["unlock_id"] for one in said["data"]["unlocks"]]


async def test_a_digest_has_a_bound_and_one_user(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "MOST_ITEMS", 3)
    answers = [respond(), respond(500)]
    async with receiver(lambda _: answers.pop(0) if answers else respond()) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more=f'digest = {{ wait = "1s" }}\n{QUICK}'))
        async with notifier(settings, chosen):
            many = [claimed(number, tenant=f"t{number % 2}") for number in range(20)]
            await publish(settings, *many)
            await until_state(settings, lambda state: not state.waiting and not state.unacknowledged)
    delivered = {request.headers["webhook-id"]: request for request in there.requests}
    for request in delivered.values():
        assert len(unlocks_in(request)) <= 3
        data = request.said["data"]
        assert {one["data"]["tenant_id"] for one in data.get("unlocks", [])} <= {data["tenant_id"]}
    sent = [uid for request in delivered.values() for uid in unlocks_in(request)]
    assert sorted(sent) == sorted(str(one.unlock_id) for one in many)


async def test_a_digest_that_fails_comes_again_as_it_was(settings: Settings, tmp_path: Path) -> None:
    answers = [respond(500), respond(500)]
    async with receiver(lambda _: answers.pop() if answers else respond()) as there:
        chosen = endpoints(tmp_path, endpoint(there.port, more=f'digest = {{ wait = "1s" }}\n{QUICK}'))
        async with notifier(settings, chosen):
            await publish(settings, *map(claimed, range(5)))
            await until_state(settings, lambda state: not state.waiting and not state.unacknowledged)
    bodies: dict[str, set[bytes]] = {}
    for request in there.requests:
        bodies.setdefault(request.headers["webhook-id"], set()).add(request.body)
    assert all(len(versions) == 1 for versions in bodies.values())
    delivered = {request.headers["webhook-id"]: request for request in there.requests}
    sent = [uid for request in delivered.values() for uid in unlocks_in(request)]
    assert sorted(sent) == sorted(str(claimed(number).unlock_id) for number in range(5))


# -- the account -------------------------------------------------------------------------------------------------------


async def test_an_erasure_takes_the_deliveries_of_its_user(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))):
        await publish(settings, claimed(1), claimed(2, subject="u2"))
        await logged(settings, 2)
        async with open_store(settings.database_url) as store:
            await erase_user(store, settings, "t1", "u1", by="ann", now=wall_clock())
            rows = await list_deliveries(store, endpoint=None, outcome=None, webhook_id=None, limit=10)
            assert [row.subject for row in rows] == ["u2"]
        await publish(settings, claimed(3))  # it was on its way
        rows = await logged(settings, 2)
        assert [row["subject"] for row in rows] == ["u2", None]


async def test_old_deliveries_are_removed(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there, notifier(settings, endpoints(tmp_path, endpoint(there.port))):
        await publish(settings, claimed(1))
        await logged(settings, 1)
    async with open_store(settings.database_url) as store:
        days = 86_400_000_000
        assert await prune(store, now=wall_clock() + (KEPT_DAYS - 1) * days) == 0
        assert await prune(store, now=wall_clock() + (KEPT_DAYS + 1) * days) == 1


async def test_deliveries_do_not_wait_for_the_database(settings: Settings, tmp_path: Path) -> None:
    async with receiver() as there:
        away = Settings(nats_url=settings.nats_url, database_url="postgresql://127.0.0.1:1/x", ack_wait=2)
        async with notifier(away, endpoints(tmp_path, endpoint(there.port))) as stats:
            await publish(settings, claimed(1))
            await there.until(1)
        assert stats.unlogged == 1


async def test_nothing_secret_is_in_the_log_or_the_metrics(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiver(lambda _: respond(500)) as there:
        text = endpoint(there.port, more=QUICK).replace("/app", "/sesame-path?key=sesame")
        async with notifier(settings, endpoints(tmp_path, text)) as stats:
            await publish(settings, claimed(1))
            rows = await logged(settings, 2)
            page = render_of(stats, lambda: 0)("").body.decode()
    said = capsys.readouterr()
    for shown in (said.out, said.err, page, json.dumps(rows, default=str)):
        for secret in ("sesame", SECRET, SECRET.removeprefix("whsec_")):
            assert secret not in shown
    assert 'ach_notify_attempts_total{endpoint="app",outcome="failed"}' in page


async def test_the_stream_may_come_later(database_url: str, nats_url: str, tmp_path: Path) -> None:
    settings = Settings(nats_url=nats_url, database_url=database_url, ack_wait=2, unlock_stream="LATER")
    await Engine(settings).migrate()
    async with receiver() as there, anyio.create_task_group() as tasks:

        async def make() -> None:
            await anyio.sleep(0.2)
            await make_stream(settings)

        tasks.start_soon(make)
        async with notifier(settings, endpoints(tmp_path, endpoint(there.port))):
            await publish(settings, claimed(1))
            await there.until(1)


async def test_each_endpoint_has_a_consumer_of_its_own(settings: Settings, tmp_path: Path) -> None:
    async with notifier(settings, endpoints(tmp_path, endpoint(1, "one"), endpoint(1, "two"))):
        client = await nats.connect(settings.nats_url)
        consumers = await client.jetstream().consumers_info(settings.unlock_stream)
        await client.close()
    assert {one.name for one in consumers} == {consumer_name("one"), consumer_name("two")}
    assert all(one.config.max_deliver in {None, -1} for one in consumers)

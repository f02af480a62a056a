"""The worker as a function: records in, the books right, and what is to come again out."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec
import pytest

import ach
from ach.ready import wall_clock
from ach.runner import Function
from dsl.outcome import Subject
from tests.integration.engine import RULES, Engine, event
from tests.integration.pipelines import sent
from tests.integration.roles import with_roles
from worker.admin.results import read_results
from worker.engine.answer import Reader
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store
from worker.view.reader import View

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from ach import Announcement

pytestmark = pytest.mark.anyio

SECONDS = 30.0
FIRST = 'achievement first { title "First" when count(event=a.done, >= 1) }'


@pytest.fixture
async def function(engine: Engine) -> AsyncGenerator[Function]:
    made = Function(engine.settings)
    yield made
    await made.close()


def sqs(one: dict[str, Any] | str, number: int) -> dict[str, Any]:
    """Return a record as Lambda gets it from SQS."""
    body = one if isinstance(one, str) else json.dumps(one)
    return {
        "messageId": f"m-{number}",
        "receiptHandle": "AQEB",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1776000000000"},
        "messageAttributes": {},
        "md5OfBody": "0",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:1:events",
        "awsRegion": "eu-central-1",
    }


def kinesis(body: bytes, number: int) -> dict[str, Any]:
    """Return a record as Lambda gets it from Kinesis."""
    held = {"partitionKey": "p", "sequenceNumber": f"4954{number}", "data": b64encode(body).decode()}
    return {"kinesis": held, "eventSource": "aws:kinesis", "eventID": f"shardId-0:{number}"}


async def test_a_batch_is_committed_and_nothing_comes_again(engine: Engine, function: Function) -> None:
    records = {"Records": [sqs(event(number), number) for number in range(5)]}
    assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
    assert await engine.unlocks() == {("u1", "three"): "granted", ("u1", "clean"): "granted"}
    assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
    assert (function.stats.events, function.stats.duplicates) == (5, 5)
    rows = await engine.rows("SELECT DISTINCT stream_seq FROM event")
    assert [row["stream_seq"] for row in rows] == [0]


async def test_what_is_no_event_is_kept_with_its_reason_and_not_tried_again(engine: Engine, function: Function) -> None:
    records = [
        sqs("not json", 1),
        sqs(event(1), 2),
        sqs(event(2) | {"occurred_at": "yesterday"}, 3),
        kinesis(b"{}", 4),
        {"kinesis": {"sequenceNumber": "5", "data": "*"}},
        {"nothing": "known"},
        b"\xff",
        "",
        {"messageId": "m-9\r\nAch-Dead-Letter: 1", "body": "x"},
    ]
    for _ in range(2):
        assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
    rows = await engine.rows("SELECT * FROM dead_letter ORDER BY body")
    assert len(rows) == 8
    by_body = {row["body"]: row for row in rows}
    first = by_body[b"not json"]
    assert (first["reason"], first["stream"], first["deliveries"]) == ("malformed_json", "function", 3)
    assert json.loads(first["headers"]) == {"Ach-Record": "m-1"}
    assert json.loads(by_body[b"x"]["headers"]) == {"Ach-Record": "unprintable"}
    assert {row["replayed_at"] for row in rows} == {None}
    assert function.stats.events == 1


async def test_a_queue_speaks_for_its_tenant_alone(engine: Engine, function: Function) -> None:
    mine, others = [event(n) for n in range(3)], [event(n, tenant="t2") for n in range(3)]
    records = [sqs(one, number) for number, one in enumerate([*mine, *others])]
    assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
    rows = await engine.rows("SELECT reason FROM dead_letter")
    assert [row["reason"] for row in rows] == ["tenant_mismatch"] * 3
    assert {row["tenant_id"] for row in await engine.rows("SELECT tenant_id FROM event")} == {"t1"}


async def test_a_function_of_the_caller_says_whose_a_record_is(engine: Engine, function: Function) -> None:
    def tenant(record: Any) -> str | None:  # noqa: ANN401 - as it comes
        return record.get("messageAttributes", {}).get("tenant")

    records = [sqs(event(n, tenant=f"t{n}"), n) | {"messageAttributes": {"tenant": "t1"}} for n in (1, 2)]
    records.append(sqs(event(3, tenant="t1"), 3))
    await function.batch(records, tenant=tenant, seconds=SECONDS)
    assert [row["tenant_id"] for row in await engine.rows("SELECT tenant_id FROM event")] == ["t1"]
    assert len(await engine.rows("SELECT FROM dead_letter WHERE reason = 'tenant_mismatch'")) == 2
    await function.batch(records, tenant=ach.ANY_TENANT, seconds=SECONDS)
    assert len(await engine.rows("SELECT FROM event")) == 3


async def test_records_of_two_tenants_are_no_copies_of_each_other(engine: Engine, function: Function) -> None:
    for _ in range(2):
        for tenant in ("t1", "t2"):
            assert await function.batch([b"x"], tenant=tenant, seconds=SECONDS) == {"batchItemFailures": []}
    rows = await engine.rows("SELECT nats_subject FROM dead_letter ORDER BY 1")
    assert [row["nats_subject"] for row in rows] == ["events.t1.~batch.batch", "events.t2.~batch.batch"]


async def test_what_is_granted_is_delivered_once_it_is_committed(function: Function) -> None:
    said: list[Announcement] = []
    tries = 0

    async def announce(announcements: Sequence[Announcement]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("the receiver is away")
        said.extend(announcements)

    records = [sqs(event(number), number) for number in range(3)]
    assert await function.batch(records, tenant="t1", announce=announce, seconds=SECONDS) == {"batchItemFailures": []}
    assert said == []
    for _ in range(2):
        await function.batch([], tenant="t1", announce=announce, seconds=SECONDS)
    messages = {json.loads(one.body)["achievement"]: one for one in said}
    assert sorted(messages) == ["clean", "three"]
    assert len(said) == 2
    three = json.loads(messages["three"].body)
    assert (three["unlock_id"], three["kind"], three["origin"]) == (messages["three"].id, "granted", "live")
    assert three["title"] == {"und": "Three"}
    session = ach.load_text(RULES).user("t1", "u1")
    provisional = [grant for number in range(3) for grant in session.feed(json.dumps(event(number)))]
    assert {one.unlock_id for one in provisional} == {one.id for one in said}


async def test_a_correction_follows_its_grant_and_a_refusal_waits(engine: Engine, function: Function) -> None:
    said: list[Announcement] = []
    willing = True

    async def announce(announcements: Sequence[Announcement]) -> list[str]:
        if not willing:
            return [one.id for one in announcements]
        said.extend(announcements)
        return []

    await function.batch([json.dumps(event(n)) for n in (1, 3)], tenant="t1", announce=announce, seconds=SECONDS)
    await function.batch([json.dumps(event(2, "b.done"))], tenant="t1", announce=announce, seconds=SECONDS)
    assert [json.loads(one.body)["kind"] for one in said] == ["granted", "contested"]
    assert said[1].id == f"{said[0].id}.2"
    willing = False
    await function.batch([json.dumps(event(9))], tenant="t1", announce=announce, seconds=SECONDS)
    assert len(await engine.rows("SELECT FROM unlock WHERE published_at IS NULL")) == 1
    assert await function.batch([], tenant="t1", announce=announce, seconds=SECONDS) == {"batchItemFailures": []}


async def test_a_worker_announces_what_a_function_has_granted(engine: Engine, function: Function) -> None:
    await function.batch([json.dumps(event(n)) for n in range(3)], tenant="t1", seconds=SECONDS)
    assert [row["published_at"] for row in await engine.rows("SELECT published_at FROM unlock")] == [None, None]
    await engine.drain()
    assert sorted(one["achievement"] for one in await engine.announced()) == ["clean", "three"]


async def test_functions_and_a_worker_over_the_same_users_agree_with_the_fold(engine: Engine) -> None:
    dice = Random(22)  # noqa: S311 - an order, not a secret
    kinds = ["a.done", "a.done", "b.done", "c.done"]
    events = [event(n, dice.choice(kinds), user=f"u{n % 3}") for n in range(240)]
    expected = ach.evaluate(ach.load_text(RULES), [json.dumps(one) for one in events])

    async def run(number: int) -> None:
        own = Function(engine.settings)
        mine = [*events]
        Random(number).shuffle(mine)  # noqa: S311 - an order, not a secret
        try:
            for at in range(0, len(mine), 30):
                records = [sqs(one, at + place) for place, one in enumerate(mine[at : at + 30])]
                assert await own.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
        finally:
            await own.close()

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(run, number)
        tasks.start_soon(sent, engine, *events[:60])
    async with open_store(engine.settings.database_url) as store:
        found = await read_results(store, await load_deployed(store, engine.settings))
    assert (found.unlocks, found.digest) == (expected.unlocks, expected.digest)
    assert len(await engine.rows("SELECT FROM event")) == len(events)
    assert await engine.rows("SELECT FROM dead_letter") == []


async def test_a_session_shows_what_the_read_api_does(engine: Engine, function: Function) -> None:
    events = [json.dumps(event(number, kind)) for kind in ("a.done", "c.done") for number in range(2)]
    await function.batch(events, tenant="t1", seconds=SECONDS)
    session = ach.load_text(RULES).user("t1", "u1")
    for one in sorted(events, key=lambda text: (json.loads(text)["occurred_at"], json.loads(text)["event_id"])):
        session.feed(one)
    now = wall_clock()
    async with open_store(engine.settings.database_url) as store:
        standing = await View(store, engine.settings).standing(Subject("t1", "user", "u1"), Reader(as_user=True), now)
    mine = json.loads(msgspec.json.encode(session.progress(now=now)))
    theirs = json.loads(msgspec.json.encode(standing.items))
    missing = {"granted_at", "rarity", "by_hand", "in_force"}
    assert mine == [{name: said for name, said in one.items() if name not in missing} for one in theirs]
    assert len(mine) == 3


async def test_a_connection_that_was_cut_off_is_replaced(engine: Engine, function: Function) -> None:
    async def cut() -> None:
        await engine.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'ach' AND pid <> pg_backend_pid()"
        )

    for number in range(3):
        records = [sqs(event(number), number)]
        assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
        await cut()
    assert len(await engine.rows("SELECT FROM event")) == 3


async def test_a_process_that_was_frozen_opens_another_connection(
    engine: Engine, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connections() -> set[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ach'"
        return {row["pid"] for row in await engine.rows(query)}

    await function.batch([sqs(event(1), 1)], tenant="t1", seconds=SECONDS)
    before = await connections()
    await function.batch([sqs(event(2), 2)], tenant="t1", seconds=SECONDS)
    assert await connections() == before
    hour = 3600.0
    monkeypatch.setattr("ach.runner.time", lambda: _time() + hour)
    await function.batch([sqs(event(3), 3)], tenant="t1", seconds=SECONDS)
    assert not await connections() & before


def _time() -> float:
    from time import time  # noqa: PLC0415 - the real one

    return time()


async def test_what_is_not_committed_in_time_comes_again(engine: Engine, function: Function) -> None:
    await function.batch([sqs(event(0), 0)], tenant="t1", seconds=SECONDS)
    records = [sqs(event(1), 1), kinesis(json.dumps(event(2)).encode(), 2), json.dumps(event(3))]
    async with open_store(engine.settings.database_url) as store, store.transaction() as session:
        await session.run("take_partitions", partitions=list(range(64)), owner="")
        answer = await function.batch(records, tenant="t1", seconds=0.2)
    assert [one["itemIdentifier"] for one in answer["batchItemFailures"]] == ["m-1", "49542", "2"]
    assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
    assert len(await engine.rows("SELECT FROM event")) == 4


async def test_rules_that_are_not_those_in_force_are_refused(engine: Engine) -> None:
    same, other = ach.load_text(RULES), ach.load_text(RULES.replace(">= 3", ">= 4"))
    fitting, failing = Function(engine.settings, same), Function(engine.settings, other)
    await fitting.batch([sqs(event(1), 1)], tenant="t1", seconds=SECONDS)
    with pytest.raises(ach.DatabaseError, match="rule set 1 is"):
        await failing.batch([sqs(event(2), 2)], tenant="t1", seconds=SECONDS)
    await engine.apply(RULES + FIRST)
    with pytest.raises(ach.DatabaseError, match="rule set 2 is"):
        await fitting.batch([sqs(event(2), 2)], tenant="t1", seconds=SECONDS)
    assert len(await engine.rows("SELECT FROM event")) == 1
    for one in (fitting, failing):
        await one.close()


async def test_new_rules_are_taken_up(engine: Engine, function: Function) -> None:
    await function.batch([sqs(event(n), n) for n in range(2)], tenant="t1", seconds=SECONDS)
    await engine.apply(RULES + FIRST)
    await function.batch([sqs(event(3), 3)], tenant="t1", seconds=SECONDS)
    assert ("u1", "first") in await engine.unlocks()


async def test_a_database_without_tables_is_said_at_once(database_url: str, engine: Engine) -> None:
    bare = engine.with_settings(database_url=database_url.replace("/test_", "/nowhere_"))
    with pytest.raises(ach.DatabaseError):
        await Function(bare.settings).batch([], tenant="t1", seconds=SECONDS)


async def test_a_worker_s_role_checks_the_schema_at_the_start_and_changes_nothing(engine: Engine) -> None:
    async with with_roles(engine.settings.database_url) as made:
        role = made.roles.worker
        settings = msgspec.structs.replace(engine.settings, database_url=made.url_as(role))

        async def said() -> str:
            function = Function(settings)
            try:
                assert await function.batch([sqs(event(1), 1)], tenant="t1", seconds=SECONDS) == {
                    "batchItemFailures": []
                }
            except ach.DatabaseError as error:
                return str(error)
            finally:
                await function.close()
            return ""

        assert await said() == ""
        (last,) = await engine.rows(
            "DELETE FROM schema_migration WHERE number = (SELECT max(number) FROM schema_migration) RETURNING *"
        )
        assert await said() == (
            f"the database lacks migration {last['number']:04d}_{last['name']}, and role {role} may not change it: "
            "run `ach migrate` as the owner of the tables, then the SQL that `ach grants` prints"
        )
        await engine.rows("INSERT INTO schema_migration VALUES ($1, $2, $3, now(), $4)", *last_but_time(last))
        assert await said() == ""
        await engine.rows("INSERT INTO schema_migration VALUES (9999, 'later', '', now(), 9999)")
        assert "9999_later is unknown here" in await said()
        await engine.rows("DELETE FROM schema_migration WHERE number = 9999")
        await engine.rows(f"REVOKE SELECT ON schema_migration FROM {role}")  # noqa: S608 - a name of ours
        assert "permission denied for table schema_migration" in await said()
    assert len(await engine.rows("SELECT FROM event")) == 1


def last_but_time(row: dict[str, Any]) -> tuple[object, ...]:
    """Return a migration's record without the time of its application."""
    return row["number"], row["name"], row["checksum"], row["compatible_from"]


async def test_a_malformed_setting_is_an_error_of_this_package() -> None:
    with pytest.raises(ach.DatabaseError, match="DATABASE_URL: expected a URL"):
        await ach.batch([], tenant="t1", database_url="mysql://x")


async def test_the_console_counts_what_a_function_has_done(engine: Engine, function: Function) -> None:
    await function.batch([sqs(event(n), n) for n in range(3)] + ["x"], tenant="t1", seconds=SECONDS)
    (row,) = await engine.rows("SELECT tenant_id, events, dead::text AS dead FROM minute")
    assert (row["tenant_id"], row["events"], json.loads(row["dead"])) == ("t1", 3, {"malformed_json": 1})


async def test_a_record_of_any_shape_is_kept_and_holds_up_no_other(engine: Engine, function: Function) -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    odd: list[Any] = [{"x": "\ud800"}, deep, {"x": object}, {"n": 2**70}, {"n": float("nan")}, None, 3, [b"x"]]
    records = [*odd, sqs(event(1), 1), {"messageId": "\ud800", "body": "\ud800"}]
    for _ in range(2):
        assert await function.batch(records, tenant="t1", seconds=SECONDS) == {"batchItemFailures": []}
    assert len(await engine.rows("SELECT FROM event")) == 1
    assert len(await engine.rows("SELECT FROM dead_letter")) == len(records) - 1
    assert await function.batch([sqs(event(2), 2)], tenant=lambda _: "t\ud800", seconds=SECONDS) == {
        "batchItemFailures": []
    }
    assert len(await engine.rows("SELECT FROM event")) == 1


async def test_records_have_to_be_records(function: Function) -> None:
    with pytest.raises(TypeError, match="Records"):
        await function.batch({"messageId": "m", "body": "{}"}, tenant="t1", seconds=SECONDS)


async def test_the_module_keeps_one_connection_by_loop_and_by_thread(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ACH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", engine.settings.database_url)

    def work() -> list[ach.BatchResponse]:
        return [ach.batch_sync([sqs(event(n), n)], tenant="t1") for n in range(3)]

    assert await anyio.to_thread.run_sync(work) == [{"batchItemFailures": []}] * 3
    assert await ach.batch([sqs(event(4), 4)], tenant="t1") == {"batchItemFailures": []}
    assert await ach.batch([sqs(event(5), 5)], tenant="t1") == {"batchItemFailures": []}
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ach'"
    assert len(await engine.rows(query)) == 2
    assert len(await engine.rows("SELECT FROM event")) == 5


async def test_code_with_a_loop_is_sent_to_the_other_form() -> None:
    with pytest.raises(RuntimeError, match=r"await ach\.batch"):
        ach.batch_sync([], tenant="t1")

"""Producers who may publish to a part of the subjects, on a real broker that enforces it: nothing crosses.

What is published is generated: subjects of one to six tokens, bodies that name others in every way, headers of the
broker and of ours, answers to other subjects.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import uuid4

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE, Engine, event
from worker.contract.partition import token
from worker.local.process_tree import free_port
from worker.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nats.aio.client import Client

pytestmark = pytest.mark.anyio

RULES = """
event a.done { team: string? }
achievement first { title "First" when count(event=a.done, >= 1) }
achievement busy { title "Busy" when count(event=a.done, >= 1) scope tenant }
achievement crew { title "Crew" when count(event=a.done, >= 1) scope team }
"""
MAY: Final = {
    "acme": "events.acme.>",
    "ann": "events.acme.ann.>",
    "hashed": f"events.acme.{token('long' * 100)}.>",
    "globex": "events.globex.>",
}
ODD = "p@s/w:rd?#,% [é"
BROKER = Path(sys.executable).with_name("nats-server")
MESSAGES = 500
"""Of each producer."""
NAMES = ["acme", "globex", "ann", "bob", "raw", "batch", "a.b", "acme.ann", "~batch", "globex%2E", "é", "long" * 100]
TOKENS = [*map(token, NAMES), "~batch", "~", "~3", "%61cme", "globex%2E", "*", ">", "a", "done"]
PERMISSIONS = "\n".join(
    f'{{ user: {user}, password: x, permissions: {{ publish: "{subject}", subscribe: "_INBOX.>" }} }}'
    for user, subject in MAY.items()
)


@pytest.fixture
async def guarded(tmp_path: Path, database_url: str) -> AsyncGenerator[Engine]:
    """An engine on a broker that knows its producers."""
    port = free_port()
    (tmp_path / "nats.conf").write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{tmp_path}/js" }}\n'
        f"accounts {{ A {{ jetstream: enabled, users: [ {{ user: engine, password: x }}\n"
        f'{{ user: "o@d", password: "{ODD}" }}\n{PERMISSIONS} ] }} }}\n'
    )
    process = subprocess.Popen(  # noqa: ASYNC220 - it is there at once
        [BROKER, "-c", tmp_path / "nats.conf", "-l", tmp_path / "log"]
    )
    try:
        url = f"nats://engine:x@127.0.0.1:{port}"
        engine = Engine(Settings(nats_url=url, database_url=database_url, consumer=f"c{uuid4().hex}"))
        await engine.apply(RULES)
        with anyio.fail_after(PATIENCE):
            await engine.publish([])  # for the broker and its streams to be there
        yield engine
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def producer(engine: Engine, user: str) -> AsyncGenerator[Client]:
    async def refused(error: Exception) -> None:
        assert "permissions violation" in str(error).lower(), error

    url = engine.settings.nats_url.replace("engine", user)
    client = await nats.connect(url, error_cb=refused, skip_subject_validation=True)
    try:
        yield client
    finally:
        await client.close()


# -- what is published -------------------------------------------------------------------------------------------------


def subjects(dice: Random, begin: str) -> str:
    some = [dice.choice(TOKENS) for _ in range(dice.randint(0, 5))]
    if dice.random() < 0.3:
        return f"{begin}.{dice.choice(['~batch', 'ann', 'bob'])}.a.done"
    if dice.random() < 0.7:
        return ".".join([begin, *some]) if some else begin
    return ".".join(["events", *some])


def body(dice: Random, name: str) -> bytes:
    events = [forged(dice, f"{name}-{at}") for at in range(dice.randint(1, 4))]
    match dice.randrange(6):
        case 0:
            return b"[" + b",".join(events) + b"]"
        case 1:
            return b" \n[" + b" , ".join([*events, b"7", b"[" + events[0] + b"]", b"{}"]) + b"]\t"
        case 2:
            return b'{"event": ' + events[0] + b"}"
        case _:
            return events[0]


def forged(dice: Random, name: str) -> bytes:
    """Return an event of any user, or one that names two."""
    tenant, user = (dice.choice(["acme", "ann", "globex", *NAMES]) for _ in range(2))
    tenant = dice.choice(["acme", "globex", tenant])
    one = event(0, id=name, tenant=tenant, user=dice.choice(["ann", "bob", user]), team=dice.choice(NAMES))
    one["payload"] |= {"tenant_id": "globex", "user_id": "bob"}
    text = json.dumps(one)
    match dice.randrange(4):
        case 0:
            other = json.dumps(dice.choice(NAMES))
            text = text.replace("{", f'{{"tenant_id": {other}, "user_id": {other}, ', 1)
        case 1:
            other = json.dumps(dice.choice(NAMES))
            text = f'{text[:-1]}, "tenant\\u005fid": {other}, "user_id": "\\u0061nn"}}'
        case _:
            pass
    return text.encode()


def headers(dice: Random, number: int) -> dict[str, str] | None:
    return dice.choice(
        [
            None,
            None,
            {"Ach-Dead-Letter": "1"},
            {"Nats-Msg-Id": f"globex:kept-{dice.randrange(9)}"},
            {"Nats-Msg-Id": f"acme:{number}", "tenant_id": "globex"},
            {"Nats-Rollup": dice.choice(["all", "sub"])},
            {"Nats-Expected-Stream": "UNLOCKS"},
            {"Nats-Subject": "events.globex.ann.a.done", "Nats-Stream": "EVENTS"},
            {"Nats-Schedule": "@at 2026-01-01T00:00:00Z", "Nats-Schedule-Target": "events.globex.ann.a.done"},
        ]
    )


def replies(dice: Random) -> str:
    return dice.choice(
        [
            "",
            "",
            "",
            "events.globex.ann.a.done",
            "events.raw",
            "unlocks.globex.x.first.y",
            "$JS.API.STREAM.PURGE.EVENTS",
        ]
    )


async def all_stored(client: Client, begin: str) -> None:
    """Return once the stream has all that was published: a last message, of no event, is acknowledged.

    The client's `flush` sends its ping ahead of messages that wait in memory, and a connection that is closed while the
    broker writes refusals to it loses what the broker has not read.
    """
    await client.request(f"{begin}.last", b"{}", timeout=PATIENCE)


async def publish(engine: Engine, user: str) -> None:
    dice, begin = Random(user), MAY[user].removesuffix(".>")  # noqa: S311 - reproducible
    async with producer(engine, user) as client:
        for number in range(MESSAGES):
            subject, said, reply = subjects(dice, begin), headers(dice, number), replies(dice)
            await client.publish(subject, body(dice, f"{user}-{number}"), reply, headers=said)
        await all_stored(client, begin)


# -- what came of it ---------------------------------------------------------------------------------------------------


async def known(engine: Engine) -> dict[str, set[tuple[str, str, str]]]:
    """Return the subjects that a table or stream knows, by its name: tenant, scope and subject."""
    # What the broker has answered elsewhere is in its streams too, and announces nothing.
    announced = [one for one in await engine.announced() if "unlock_id" in one]
    found = {"announced": {(one["tenant_id"], one["scope"], one["subject"]) for one in announced}}
    for table, columns in {
        "event": "tenant_id, 'user' AS scope, user_id AS subject",
        "event_subject": "tenant_id, scope, subject",
        "unlock": "tenant_id, scope, subject",
        "progress": "tenant_id, scope, subject",
        "evaluation": "tenant_id, scope, subject",
    }.items():
        rows = await engine.rows(f"SELECT DISTINCT {columns} FROM {table}")  # noqa: S608 - names of ours
        found[table] = {(row["tenant_id"], row["scope"], row["subject"]) for row in rows}
    return found


async def test_a_tenants_producer_reaches_no_other_tenant(guarded: Engine) -> None:
    await publish(guarded, "acme")
    stats = await guarded.drain()
    found = await known(guarded)
    assert {tenant for of_one in found.values() for tenant, _, _ in of_one} == {"acme"}
    # It was tried, and what is the tenant's own came through.
    assert stats.dead["tenant_mismatch"] > 50
    assert stats.dead["user_mismatch"] > 20
    assert len(found["event"]) > 3
    assert stats.events > 20


@pytest.mark.parametrize(("producer_of", "user"), [("ann", "ann"), ("hashed", "long" * 100)])
async def test_a_users_producer_reaches_no_other_user(guarded: Engine, producer_of: str, user: str) -> None:
    await publish(guarded, producer_of)
    await guarded.drain()
    found = await known(guarded)
    assert {(tenant, scope) for of_one in found.values() for tenant, scope, _ in of_one} <= {
        ("acme", "user"),
        ("acme", "tenant"),
        ("acme", "team"),
    }
    for of_one in found.values():
        assert {subject for _, scope, subject in of_one if scope == "user"} <= {user}
    assert producer_of != "ann" or found["event"] == {("acme", "user", "ann")}


async def test_nothing_that_one_tenant_does_keeps_anothers_events_out(guarded: Engine) -> None:
    await publish(guarded, "acme")
    async with producer(guarded, "globex") as client:
        for number in range(9):
            one = event(number, id=f"kept-{number}", tenant="globex", user=f"u{number}")
            await client.request(f"events.globex.u{number}.a.done", json.dumps(one).encode(), timeout=PATIENCE)
    await guarded.drain()
    rows = await guarded.rows("SELECT event_id FROM event WHERE tenant_id = 'globex' ORDER BY 1")
    assert [row["event_id"] for row in rows] == [f"kept-{number}" for number in range(9)]


async def test_no_answer_of_the_broker_takes_the_place_of_an_unlock(guarded: Engine) -> None:
    """A producer names the subject of another tenant's unlock as the one to be answered on, before there is any."""
    await guarded.publish([event(1, tenant="globex")])
    await guarded.drain(unlock_stream="ELSEWHERE", unlock_prefix="elsewhere")
    (name,) = [str(row["unlock_id"]) for row in await guarded.rows("SELECT unlock_id FROM unlock WHERE scope = 'user'")]
    # Ids of unlocks are no secret: it would have been the same before.
    await guarded.rows("UPDATE unlock SET published_at = NULL")
    subject = f"unlocks.globex.u1.first.{name}"
    async with producer(guarded, "acme") as client:
        for _ in range(2):
            await client.publish("events.acme.x", b"{}", subject)
        await all_stored(client, "events.acme")
    await guarded.drain()
    said = [one.get("unlock_id") for one in await guarded.announced() if one.get("scope") != "tenant"]
    assert said == [None, None, name]
    # A second announcement is refused as ever.
    await guarded.rows("UPDATE unlock SET published_at = NULL")
    await guarded.drain()
    assert len(await guarded.announced()) == 4


async def test_a_password_of_any_characters(guarded: Engine) -> None:
    """Written with percent signs, as the page says, it is sent as it is."""
    url = guarded.settings.nats_url.replace("engine:x", f"{quote('o@d', safe='')}:{quote(ODD, safe='')}")
    assert read_settings({"NATS_URL": url}).nats_url == url
    with anyio.fail_after(PATIENCE):
        await guarded.with_settings(nats_url=url).publish([event(1)])
    assert (await guarded.drain()).events == 1

"""The roles of deploy/nats on a real server: each does all that it is for, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import httpx
import nats
import pytest

from tests.integration.brokers import binary, configured
from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.ingesting import by_key, ingesting
from tests.integration.ingesting import connected as ingest_connected
from tests.integration.notices import endpoint, endpoints, notifier
from tests.integration.serving import connected as serving_connected
from tests.integration.serving import serving
from tests.worker.notify.receiver import receiver
from worker.admin.purge import purge_streams
from worker.broker.connection import Connection
from worker.broker.durable import DurableConsumer
from worker.broker.follow import Followed, Follower
from worker.broker.group_store import GroupStore
from worker.broker.once import connected_once
from worker.broker.shares import REST
from worker.commands.dead.replay import Wanted, send_again
from worker.commands.workers import list_workers
from worker.environment import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from tests.integration.brokers import Configured
    from worker.broker.client import BrokerClient
    from worker.settings import Settings

    OnError = Callable[[Exception], Awaitable[None]]

pytestmark = [pytest.mark.anyio, pytest.mark.operate]

TEMPLATES: Final = Path(__file__).parent.parent.parent / "deploy" / "nats"
ROLES: Final = ("worker", "operator", "notify", "serve", "ingest", "acme_producer", "acme_reader")
INSIDE: Final = frozenset({"worker", "operator"})
"""In the account of the streams."""
OUTSIDE_API: Final = "JS.engine.API"
RULES = 'event a.done {}\nachievement first { title "First" when count(event=a.done, >= 1) }'


def password_of(role: str) -> str:
    return f"{role}-password"


class Company(NamedTuple):
    """A server with the roles, and a database."""

    server: Configured
    database_url: str

    def settings_of(self, role: str) -> Settings:
        """Return the settings of a role, as its process gets them."""
        return load_settings(
            {
                "NATS_URL": self.server.url(),
                "DATABASE_URL": self.database_url,
                "NATS_USER": role,
                "NATS_PASSWORD": password_of(role),
                "NATS_INBOX_PREFIX": f"_INBOX_{role}",
                "NATS_JS_API_PREFIX": "$JS.API" if role in INSIDE else OUTSIDE_API,
            }
        )

    def engine_of(self, role: str) -> Engine:
        return Engine(self.settings_of(role))


@pytest.fixture
async def company(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Company]:
    """The roles, rules in force, streams that a worker has made, consumers of unlocks that an operator has made."""
    for role in ROLES:
        monkeypatch.setenv(f"{role.upper()}_PASSWORD", password_of(role))
    (tmp_path / "accounts.conf").write_text((TEMPLATES / "accounts.conf").read_text())
    async with configured(tmp_path, 'include "accounts.conf"', jetstream=", strict: true") as server:
        made = Company(server, database_url)
        await made.engine_of("worker").apply(RULES)
        await made.engine_of("worker").drain()
        async with connected(made, "operator") as client:
            for name, subjects in (("acme", "unlocks.acme.>"), ("other", "unlocks.globex.>")):
                config = {"durable_name": name, "ack_policy": "explicit", "filter_subject": subjects}
                asked = {"stream_name": "UNLOCKS", "config": config}
                what = f"$JS.API.CONSUMER.DURABLE.CREATE.UNLOCKS.{name}"
                said = await client.request(what, json.dumps(asked).encode())
                assert "error" not in json.loads(said.data), said.data
        yield made


@asynccontextmanager
async def connected(company: Company, role: str, on_error: OnError | None = None) -> AsyncGenerator[Client]:
    """Give a client of a role for the length of a block; `on_error` gets what the server says of it."""
    client = await nats.connect(
        company.server.url(f"{role}:{password_of(role)}"),
        inbox_prefix=f"_INBOX_{role}",
        error_cb=on_error,
        allow_reconnect=False,
    )
    try:
        yield client
    finally:
        await client.close()


def test_the_whole_server_starts_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ROLES:
        monkeypatch.setenv(f"{role.upper()}_PASSWORD", password_of(role))
    for name in ("server.conf", "accounts.conf"):
        (tmp_path / name).write_text((TEMPLATES / name).read_text())
    done = subprocess.run([binary(), "-t", "-c", tmp_path / "server.conf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- what each role is for ---------------------------------------------------------------------------------------------


async def test_each_role_does_what_it_is_for(company: Company, tmp_path: Path) -> None:
    producer, worker, operator = (company.engine_of(role) for role in ("acme_producer", "worker", "operator"))
    async with receiver() as there:
        file = endpoints(tmp_path, endpoint(there.port))
        async with notifier(company.settings_of("notify"), file), worker.worker() as stats:
            seen, arrived = list[Followed](), anyio.Event()

            def deliver(one: Followed) -> None:
                seen.append(one)
                arrived.set()

            connection = Connection(company.settings_of("serve"))
            await connection.open()
            async with anyio.create_task_group() as tasks:
                follower = Follower(connection, "UNLOCKS", deliver)
                tasks.start_soon(follower.run)
                with anyio.fail_after(PATIENCE):
                    while follower.seq is None:
                        await anyio.lowlevel.checkpoint()
                    async with connected(company, "acme_producer") as client:
                        for one in (event(1, tenant="acme", user="ann"), event(2, tenant="acme", user="bob", id="x")):
                            said = await client.request(producer.subject_of(one), json.dumps(one).encode())
                            assert json.loads(said.data)["stream"] == "EVENTS"
                        await client.request("events.acme.ann.a", b"poison")
                    await stats.reach("announced", 2)
                    assert {json.loads(request.body)["data"]["subject"] for request in await there.until(2)} == {
                        "ann",
                        "bob",
                    }
                    await arrived.wait()
                tasks.cancel_scope.cancel()
            await connection.close()
            await expect_ingest(company, stats)
    await send_again(operator.settings, Wanted(), None, dry=False)
    purged = await purge_streams(operator.settings, "acme", "ann")
    assert (purged.events, purged.announcements) == (3, 1)
    await expect_reader(company)


async def expect_ingest(company: Company, stats: Any) -> None:  # noqa: ANN401 - of `Engine.worker`
    async with ingesting(company.settings_of("ingest")) as client:
        await ingest_connected(client)
        one = event(3, tenant="t1", user="cid")
        answer = await client.post("/v1/events", content=json.dumps(one), headers=by_key())
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        await stats.reach("announced", 3)


async def expect_reader(company: Company) -> None:
    """Expect that the consumer of a tenant gives its unlocks alone, and goes on where it has stopped."""
    seen: list[str] = []
    for _ in range(2):
        connection = Connection(company.settings_of("acme_reader"))
        await connection.open()
        consumer = DurableConsumer(
            lambda now=connection: now.client,
            "UNLOCKS",
            "acme",
            subjects="unlocks.acme.>",
            ack_seconds=9,
            most_pending=9,
        )
        await consumer.ensure()
        for one in await consumer.fetch(1, 0.2):
            seen.append(json.loads(one.body)["subject"])
            await consumer.ack(one)
        await connection.flush()
        await connection.close()
    assert seen == ["bob"]  # ann is erased, and cid is of another tenant


async def test_workers_of_a_group_need_no_other_rights(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    """One makes the group, one joins, one leaves, and an operator sees it: nothing of that is refused."""
    grouped = company.engine_of("worker").with_settings(group="main")
    store = GroupStore(grouped.settings, "main")

    async def made(client: BrokerClient) -> int:
        return len([one for one in await store.consumers(client) if not one.endswith(REST)])

    async def until_consumers(number: int) -> None:
        async with connected_once(grouped.settings, seconds=5) as client:
            with anyio.fail_after(PATIENCE):
                while await made(client) != number:  # noqa: ASYNC110 - the broker does not tell
                    await anyio.sleep(0.02)

    async with grouped.worker() as first:
        async with grouped.worker():
            await until_consumers(2)
            await list_workers(company.settings_of("operator"), as_json=True)
        await until_consumers(1)
        async with connected(company, "acme_producer") as client:
            one = event(1, tenant="acme", user="ann")
            await client.request(grouped.subject_of(one), json.dumps(one).encode())
        await first.reach("announced", 1)
    said = capsys.readouterr().out
    assert "ermissions" not in said
    assert "cannot be looked after" not in said
    at = re.search(r'^\{\s*"workers"', said, re.MULTILINE)
    assert at is not None, said
    listed, _ = json.JSONDecoder().raw_decode(said, at.start())
    assert [len(one["members"]) for one in listed["groups"]] == [2]


SERVICE: Final[dict[str, tuple[str, object]]] = {
    "ask for this tenant": ("ach.v1.acme.progress", {"user": "ann"}),
    "ask for another tenant": ("ach.v1.globex.progress", {"user": "eve"}),
    "ask who is there": ("$SRV.PING.ach", None),
    "answer in its place": ("_R_.x", {}),
}


async def test_a_tenant_asks_the_service_for_itself_and_no_other_role_does(company: Company) -> None:
    async with serving(company.settings_of("serve")) as http:
        await serving_connected(http)
        async with connected(company, "acme_reader") as client:
            for target in TARGETS:
                await client.publish("ach.v1.acme.progress", b"{}", reply=target)
            # It answers in order, so all those are answered by then.
            said = await client.request("ach.v1.acme.progress", b'{"user": "ann"}', timeout=PATIENCE)
            assert json.loads(said.data)["tenant_id"] == "acme"
        for role in ROLES:
            may = await tried(company, role, SERVICE, [])
            assert may == ({"ask for this tenant"} if role == "acme_reader" else set()), role
    await expect_untouched(company)


# -- all else ----------------------------------------------------------------------------------------------------------

EVENT = json.dumps(event(9, tenant="globex", user="eve")).encode()
PUSH = {"deliver_subject": "_INBOX_worker.x", "ack_policy": "none"}
API: Final[dict[str, tuple[str, object]]] = {
    "delete a stream": ("$JS.API.STREAM.DELETE.EVENTS", None),
    "delete the other": ("$JS.API.STREAM.DELETE.UNLOCKS", None),
    "update a stream": ("$JS.API.STREAM.UPDATE.EVENTS", {"name": "EVENTS", "subjects": ["events.>"], "max_msgs": 1}),
    "purge events": ("$JS.API.STREAM.PURGE.EVENTS", None),
    "purge unlocks": ("$JS.API.STREAM.PURGE.UNLOCKS", None),
    "delete a message": ("$JS.API.STREAM.MSG.DELETE.UNLOCKS", {"seq": 1}),
    "read an event": ("$JS.API.STREAM.MSG.GET.EVENTS", {"seq": 1}),
    "read an event directly": ("$JS.API.DIRECT.GET.EVENTS", {"seq": 1}),
    "read an unlock": ("$JS.API.STREAM.MSG.GET.UNLOCKS", {"last_by_subj": "unlocks.>"}),
    "make a stream": ("$JS.API.STREAM.CREATE.SPY", {"name": "SPY", "subjects": ["spy.>"]}),
    "mirror unlocks": ("$JS.API.STREAM.CREATE.SPY", {"name": "SPY", "mirror": {"name": "UNLOCKS"}}),
    "take a snapshot": ("$JS.API.STREAM.SNAPSHOT.UNLOCKS", {"deliver_subject": "_INBOX_acme_reader.s"}),
    "consume events": ("$JS.API.CONSUMER.CREATE.EVENTS", {"stream_name": "EVENTS", "config": PUSH}),
    "consume unlocks": (
        "$JS.API.CONSUMER.CREATE.UNLOCKS",
        {"stream_name": "UNLOCKS", "config": {"ack_policy": "none"}},
    ),
    "make a durable of unlocks": (
        "$JS.API.CONSUMER.DURABLE.CREATE.UNLOCKS.spy",
        {"stream_name": "UNLOCKS", "config": {"durable_name": "spy", "ack_policy": "explicit"}},
    ),
    "widen a tenant's consumer": (
        "$JS.API.CONSUMER.DURABLE.CREATE.UNLOCKS.acme",
        {"stream_name": "UNLOCKS", "config": {"durable_name": "acme", "ack_policy": "explicit"}, "action": "update"},
    ),
    "pull events": ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.ach", {"batch": 1, "no_wait": True}),
    "pull a tenant's unlocks": ("$JS.API.CONSUMER.MSG.NEXT.UNLOCKS.acme", {"batch": 1, "no_wait": True}),
    "pull another consumer": ("$JS.API.CONSUMER.MSG.NEXT.UNLOCKS.other", {"batch": 1, "no_wait": True}),
    "delete the stream of a group": ("$JS.API.STREAM.DELETE.EVENTS-main", None),
    "delete a consumer": ("$JS.API.CONSUMER.DELETE.EVENTS.ach", None),
    "pause a consumer": ("$JS.API.CONSUMER.PAUSE.EVENTS.ach", {"pause_until": "2100-01-01T00:00:00Z"}),
    "list streams": ("$JS.API.STREAM.NAMES", None),
    "see the account": ("$JS.API.INFO", None),
    "acknowledge an event": ("$JS.ACK.EVENTS.ach.1.1.1.1.0", None),
    "acknowledge an unlock": ("$JS.ACK.UNLOCKS.other.1.1.1.1.0", None),
    "publish an unlock": ("unlocks.acme.eve.first.x", {}),
    "publish for any tenant": ("events.raw", EVENT),
    "publish for another tenant": ("events.globex.eve.a", EVENT),
    "publish for this tenant": ("events.acme.eve.a", EVENT),
    "ask the server": ("$SYS.REQ.SERVER.PING", None),
}
MAY: Final[dict[str, frozenset[str]]] = {
    "worker": frozenset(
        {
            "read an event",
            "read an unlock",
            "pull events",
            "acknowledge an event",
            "publish an unlock",
            "delete the stream of a group",
        }
    ),
    "operator": frozenset(
        {
            "purge events",
            "purge unlocks",
            "read an event",
            "read an unlock",
            "consume events",
            "consume unlocks",
            "make a durable of unlocks",
            "widen a tenant's consumer",
            "delete a consumer",
            "list streams",
            "see the account",
            "publish for any tenant",
            "publish for another tenant",
            "publish for this tenant",
        }
    ),
    "notify": frozenset(
        {
            "consume unlocks",
            "make a durable of unlocks",
            "widen a tenant's consumer",
            "pull a tenant's unlocks",
            "pull another consumer",
            "acknowledge an unlock",
        }
    ),
    "serve": frozenset({"read an unlock", "consume unlocks", "ach.v1.*.*", "$SRV.>"}),
    "ingest": frozenset({"publish for any tenant", "publish for another tenant", "publish for this tenant"}),
    "acme_producer": frozenset({"publish for this tenant"}),
    "acme_reader": frozenset({"pull a tenant's unlocks"}),
}


async def tried(company: Company, role: str, asked: dict[str, tuple[str, object]], heard: list[str]) -> set[str]:
    """Return what a role may publish, by name, and what it may subscribe to.

    The server refuses in order; a last publication that no role may make shows that all is answered. Where no one
    listens it says so at once (503).
    """
    refused, over, silent = list[str](), anyio.Event(), set[str]()

    async def on_error(error: Exception) -> None:
        refused.append(str(error))
        if "end.of.table" in str(error):
            over.set()

    async def on_answer(msg: Msg) -> None:
        if (msg.headers or {}).get("Status") == "503":
            silent.add(msg.subject.rpartition(".")[2])

    async with connected(company, role, on_error) as client:
        await client.subscribe(f"_INBOX_{role}.*", cb=on_answer)
        for number, (subject, body) in enumerate(asked.values()):
            raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            await client.publish(subject, raw, reply=f"_INBOX_{role}.{number}")
        for subject in heard:
            await client.subscribe(subject)
        await client.publish("end.of.table", b"")
        with anyio.fail_after(PATIENCE):
            await over.wait()
    said = "\n".join(refused)
    may = {
        name
        for number, (name, (subject, _)) in enumerate(asked.items())
        if str(number) not in silent and f'publish to "{subject.lower()}"' not in said
    }
    return may | {subject for subject in heard if f'subscription to "{subject.lower()}"' not in said}


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_nothing_else(company: Company, role: str) -> None:
    others = [f"_INBOX_{other}.>" for other in ROLES if other != role]
    heard = [*others, "_INBOX.>", ">", "*.>", "events.>", "unlocks.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$SYS.>"]
    heard += ["$KV.>", "ach.>", "ach.group.>", "ach.v1.>", "ach.v1.*.*", "$SRV.>"]
    found = await tried(company, role, API, heard)
    outside = {name: (subject.replace("$JS.API", OUTSIDE_API), asked) for name, (subject, asked) in API.items()}
    assert found | await tried(company, role, outside, []) == MAY[role]


STREAMS = ["EVENTS", "UNLOCKS"]
TARGETS: Final = (
    *(f"$JS.API.STREAM.{verb}.{name}" for verb in ("DELETE", "PURGE") for name in STREAMS),
    "$JS.API.CONSUMER.DELETE.EVENTS.ach",
    "unlocks.acme.eve.first.x",
    "events.globex.eve.a",
)
"""Subjects that a client may name for an answer."""


@pytest.mark.parametrize("role", ["acme_producer", "acme_reader", "ingest", "notify", "serve"])
async def test_no_answer_of_the_server_reaches_what_the_role_may_not(company: Company, role: str) -> None:
    """A client names the subject of each answer, and no permission covers it: the accounts do."""
    asked = {
        "acme_producer": ("events.acme.x", b"{}"),
        "ingest": ("events.raw", b"{}"),
        "acme_reader": ("JS.engine.API.CONSUMER.MSG.NEXT.UNLOCKS.acme", b'{"batch": 1, "no_wait": true}'),
        "notify": ("JS.engine.API.CONSUMER.MSG.NEXT.UNLOCKS.acme", b'{"batch": 1, "no_wait": true}'),
        "serve": ("JS.engine.API.STREAM.INFO.UNLOCKS", b""),
    }[role]
    async with connected(company, role) as client:
        for target in TARGETS:
            await client.publish(*asked, reply=target)
        await client.flush()
    await expect_untouched(company)


async def expect_untouched(company: Company) -> None:
    async with connected(company, "operator") as client:
        said = json.loads((await client.request("$JS.API.STREAM.NAMES", b"")).data)
        assert sorted(said["streams"]) == STREAMS
        assert json.loads((await client.request("$JS.API.CONSUMER.NAMES.EVENTS", b"")).data)["consumers"] == ["ach"]
        subjects = {"events.acme.x", "events.raw"}
        for name in STREAMS:
            asks = json.dumps({"subjects_filter": ">"}).encode()
            state = json.loads((await client.request(f"$JS.API.STREAM.INFO.{name}", asks)).data)["state"]
            assert set(state.get("subjects") or ()) <= subjects

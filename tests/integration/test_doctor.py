"""Each misconfiguration made on real servers: the line, the command that mends it, and the same edit by the API."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import anyio
import asyncpg
import msgspec
import nats
import pytest
from structlog.testing import capture_logs

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, Engine, event
from worker.broker.streams import open_broker
from worker.doctor import examine
from worker.doctor.ask_broker import ask_broker
from worker.doctor.ask_database import ask_database
from worker.doctor.finding import Level
from worker.doctor.gather import UnsafeError, WorkerChecks, examine_all
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, MutableMapping, Sequence
    from pathlib import Path

    from nats.aio.client import Client

    from worker.broker.client import BrokerClient
    from worker.doctor.finding import Finding
    from worker.local.servers import Servers
    from worker.store import Store

pytestmark = pytest.mark.anyio

SECOND = 1_000_000_000
E, W = Level.ERROR, Level.WARNING
EDIT = "nats stream edit "
CONSUMER = "nats consumer edit EVENTS ach "
REMAKE = "nats consumer rm EVENTS ach --force"


class Case(NamedTuple):
    """A setting that is wrong; `edit` is what the command changes, None where the thing has to be made again."""

    check: str
    wrong: dict[str, Any]
    level: Level
    said: str
    mend: str
    edit: dict[str, Any] | None = None


def copied(name: str, change: str) -> str:
    """Return the part of the commands that shows how a stream is restored otherwise."""
    return (
        f"jq '.config | {change}' > {name}.json && nats stream rm {name} --force && nats stream restore {name}.backup"
    )


def filed(name: str, change: str) -> str:
    change = f"nats stream info {name} --json | jq '.config | {change}' > {name}.json"
    return f"{change} && nats stream edit {name} --config {name}.json --force"


EVENTS = [
    Case("subjects", {"subjects": ["other.>"]}, E, "takes other.>, and nothing on events.> reaches it",
         f"{EDIT}EVENTS --subjects 'events.>' --force", {"subjects": ["events.>"]}),
    Case("subjects", {"subjects": ["events.t1.>"]}, W, "which is not all of events.>",
         f"{EDIT}EVENTS --subjects 'events.>' --force", {"subjects": ["events.>"]}),
    Case("other subjects", {"subjects": ["events.>", "unlocks.>"]}, E, "each announcement comes back",
         f"{EDIT}EVENTS --subjects 'events.>' --force", {"subjects": ["events.>"]}),
    Case("retention", {"retention": "workqueue"}, W, "cannot read them again",
         copied("EVENTS", '.retention = "limits"')),
    Case("retention", {"retention": "interest"}, E, "while there is no consumer",
         f"{EDIT}EVENTS --retention limits --force", {"retention": "limits"}),
    Case("storage", {"storage": "memory"}, E, "a restart of nats-server loses events",
         "nats stream rm EVENTS --force && nats stream add EVENTS --subjects 'events.>' --storage file"
         " --retention limits --replicas 1 --max-age 30d --defaults"),
    Case("persistence", {"persist_mode": "async"}, E, "a crash loses it", copied("EVENTS", "del(.persist_mode)")),
    Case("age", {"max_age": 3600 * SECOND}, W, "max_age is 1 h",
         f"{EDIT}EVENTS --max-age 30d --force", {"max_age": 30 * 86_400 * SECOND}),
    Case("size", {"max_msgs": 1000}, W, "max_msgs is 1000, discard old",
         f"{EDIT}EVENTS --discard new --force", {"discard": "new"}),
    Case("size", {"max_bytes": 10_000_000, "max_msgs": 9}, W, "max_msgs is 9 and max_bytes is 10000000",
         f"{EDIT}EVENTS --discard new --force", {"discard": "new"}),
    Case("messages per subject", {"max_msgs_per_subject": 1}, E, "push each other out",
         f"{EDIT}EVENTS --max-msgs-per-subject=-1 --force", {"max_msgs_per_subject": -1}),
    Case("duplicate window", {"duplicate_window": 7200 * SECOND}, W, "duplicate_window is 2 h",
         f"{EDIT}EVENTS --dupe-window 2m --force", {"duplicate_window": 120 * SECOND}),
    Case("acknowledgement", {"no_ack": True}, E, "cannot know that an event is stored",
         f"{EDIT}EVENTS --ack --force", {"no_ack": False}),
    Case("sealed", {"sealed": True}, E, "takes no message",
         copied("EVENTS", ".sealed = false | .deny_delete = false | .deny_purge = false")),
    Case("purge", {"deny_purge": True}, W, "`ach erase --purge-streams` cannot",
         copied("EVENTS", ".deny_purge = false")),
    Case("origin", {"subjects": [], "mirror": {"name": "ORIGIN"}}, W, "a mirror of ORIGIN",
         f"{EDIT}EVENTS --no-mirror --force"),
    Case("republish", {"republish": {"src": ">", "dest": "copies.>"}}, W, "republished on copies.>",
         filed("EVENTS", "del(.republish)"), {"republish": None}),
    Case("transform", {"subject_transform": {"src": "events.>", "dest": "moved.>"}}, E, "not below events.>",
         f"{EDIT}EVENTS --no-transform --force", {"subject_transform": None}),
    Case("roll-up", {"allow_rollup_hdrs": True}, W, "deletes all others, of all tenants",
         f"{EDIT}EVENTS --no-allow-rollup --force", {"allow_rollup_hdrs": False}),
    Case("atomic batches", {"allow_atomic": True}, W, "producers of its account can delete streams",
         f"{EDIT}EVENTS --no-allow-batch --force", {"allow_atomic": False}),
    Case("counters", {"allow_msg_counter": True}, E, "refuses all other messages",
         copied("EVENTS", ".allow_msg_counter = false")),
    Case("schedules", {"allow_msg_schedules": True, "allow_rollup_hdrs": True}, W, "where it may not publish",
         copied("EVENTS", ".allow_msg_schedules = false")),
]  # fmt: skip
UNLOCKS = [
    Case("subjects", {"subjects": ["unlocks.t1.>"]}, E, "which is not all of unlocks.>",
         f"{EDIT}UNLOCKS --subjects 'unlocks.>' --force", {"subjects": ["unlocks.>"]}),
    Case("other subjects", {"subjects": ["unlocks.>", "more.>"]}, W, "it takes more.> too",
         f"{EDIT}UNLOCKS --subjects 'unlocks.>' --force", {"subjects": ["unlocks.>"]}),
    Case("retention", {"retention": "workqueue"}, E, "the memory of what was announced",
         copied("UNLOCKS", '.retention = "limits"')),
    Case("retention", {"retention": "interest"}, E, "the memory of what was announced",
         f"{EDIT}UNLOCKS --retention limits --force", {"retention": "limits"}),
    Case("storage", {"storage": "memory"}, E, "a restart of nats-server loses the memory",
         "nats stream rm UNLOCKS --force && nats stream add UNLOCKS --subjects 'unlocks.>' --storage file"
         " --retention limits --replicas 1 --defaults"),
    Case("age", {"max_age": 86_400 * SECOND}, W, "is there twice",
         f"{EDIT}UNLOCKS --max-age 0s --force", {"max_age": 0}),
    Case("size", {"max_msgs": 1000}, W, "discard old: what goes may be announced again",
         f"{EDIT}UNLOCKS --max-msgs=-1 --force", {"max_msgs": -1}),
    Case("size", {"max_bytes": 1_000_000, "discard": "new"}, W, "wait in the outbox",
         f"{EDIT}UNLOCKS --max-bytes=-1 --force", {"max_bytes": -1}),
    Case("message size", {"max_msg_size": 1000}, W, "unlocks with a larger announcement wait",
         f"{EDIT}UNLOCKS --max-msg-size=-1 --force", {"max_msg_size": -1}),
    Case("acknowledgement", {"no_ack": True}, E, "a worker waits for ever",
         f"{EDIT}UNLOCKS --ack --force", {"no_ack": False}),
    Case("origin", {"subjects": [], "mirror": {"name": "ORIGIN"}}, E, "nothing can be announced in it",
         f"{EDIT}UNLOCKS --no-mirror --force"),
    Case("origin", {"sources": [{"name": "ORIGIN"}]}, W, "it takes messages from ORIGIN",
         filed("UNLOCKS", "del(.sources)"), {"sources": None}),
    Case("transform", {"subject_transform": {"src": "unlocks.>", "dest": "moved.>"}}, E, "on other subjects",
         f"{EDIT}UNLOCKS --no-transform --force", {"subject_transform": None}),
    Case("message ttl", {"allow_msg_ttl": True}, W, "may be announced again",
         copied("UNLOCKS", ".allow_msg_ttl = false")),
]  # fmt: skip
CONSUMERS = [
    Case("use", {"ack_policy": "none", "max_ack_pending": 0}, E, "its ack policy is none", REMAKE),
    Case("use", {"ack_policy": "all"}, E, "its ack policy is all", REMAKE),
    Case("use", {"deliver_subject": "somewhere", "max_waiting": 0}, E, "it is a push consumer", REMAKE),
    Case("use", {"headers_only": True}, E, "headers only",
         f"{CONSUMER}--no-headers-only --force", {"headers_only": False}),
    Case("use", {"priority_policy": "overflow", "priority_groups": ["one"]}, E, "its priority policy", REMAKE),
    Case("deliver_policy", {"deliver_policy": "new"}, W, "not all that is in the stream is read", REMAKE),
    Case("replay_policy", {"replay_policy": "original"}, W, "events are held back", REMAKE),
    Case("max_deliver", {"max_deliver": 3}, W, "what fails so often is lost",
         f"{CONSUMER}--max-deliver=-1 --force", {"max_deliver": -1}),
    Case("ack_wait", {"ack_wait": SECOND}, W, "ack_wait is 1 s",
         f"{CONSUMER}--wait 30s --force", {"ack_wait": 30 * SECOND}),
    Case("max_ack_pending", {"max_ack_pending": 10, "max_batch": 5}, W, "max_batch is 5: batches stay small",
         f"{CONSUMER}--max-pending 256000 --max-pull-batch 8000 --force",
         {"max_ack_pending": 256_000, "max_batch": 8000}),
    Case("max_ack_pending", {"max_waiting": 1}, W, "max_waiting is 1", REMAKE),
    Case("paused", {"pause_until": "2999-01-01T00:00:00Z"}, W, "no event reaches a worker",
         "nats consumer resume EVENTS ach --force"),
    Case("inactive threshold", {"inactive_threshold": 60 * SECOND}, W, "inactive_threshold is 60 s", REMAKE),
    Case("storage", {"mem_storage": True}, W, "delivered again", REMAKE),
]  # fmt: skip


@asynccontextmanager
async def api(settings: Settings) -> AsyncGenerator[Api]:
    client = await nats.connect(settings.nats_url)
    try:
        yield Api(client)
    finally:
        await client.close()


class Api:
    """JetStream, as an operator's tools ask it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, what: str, body: object = None) -> dict[str, Any]:
        answer = await self._client.request(f"$JS.API.{what}", json.dumps(body).encode() if body else b"", timeout=10)
        said: dict[str, Any] = json.loads(answer.data)
        assert "error" not in said, said
        return said

    async def make(self, name: str, **config: object) -> None:
        await self.ask(f"STREAM.CREATE.{name}", {"name": name, **config})

    async def edit_stream(self, name: str, changes: dict[str, Any]) -> None:
        config = (await self.ask(f"STREAM.INFO.{name}"))["config"]
        await self.ask(
            f"STREAM.UPDATE.{name}", {one: value for one, value in {**config, **changes}.items() if value is not None}
        )

    async def edit_consumer(self, changes: dict[str, Any]) -> None:
        config = (await self.ask("CONSUMER.INFO.EVENTS.ach"))["config"]
        merged = {one: value for one, value in {**config, **changes}.items() if value is not None}
        await self.ask("CONSUMER.DURABLE.CREATE.EVENTS.ach", {"stream_name": "EVENTS", "config": merged})


async def looked(settings: Settings) -> list[Finding]:
    return examine.broker(await ask_broker(settings))


def of(findings: list[Finding], check: str) -> Finding:
    return next(one for one in findings if one.check == check)


@pytest.mark.operate
@pytest.mark.parametrize(
    ("name", "case"),
    [*(("EVENTS", one) for one in EVENTS), *(("UNLOCKS", one) for one in UNLOCKS)],
    ids=lambda one: one if isinstance(one, str) else json.dumps(one.wrong),
)
async def test_a_stream_that_is_not_as_assumed(nats_url: str, name: str, case: Case) -> None:
    settings = Settings(nats_url=nats_url)
    async with api(settings) as asked:
        await asked.make("ORIGIN", subjects=["origin.>"])
        await asked.make(name, **{"subjects": [f"{name.lower()}.>"], **case.wrong, "sealed": False})
        if "sealed" in case.wrong:
            await asked.edit_stream(name, case.wrong)
        one = of(await looked(settings), f"stream {name} {case.check}")
        assert (one.level, case.said in one.said) == (case.level, True), one
        assert one.mend == case.mend or (case.edit is None and case.mend in one.mend), one.mend
        if case.edit is not None:
            await asked.edit_stream(name, case.edit)
            assert of(await looked(settings), one.check).level is Level.OK


@pytest.mark.operate
@pytest.mark.parametrize("case", CONSUMERS, ids=lambda one: json.dumps(one.wrong))
async def test_a_consumer_that_is_not_as_assumed(nats_url: str, case: Case) -> None:
    settings = Settings(nats_url=nats_url)
    plain = {"durable_name": "ach", "ack_policy": "explicit", "ack_wait": 30 * SECOND, "max_ack_pending": 256_000}
    async with api(settings) as asked:
        await asked.make("EVENTS", subjects=["events.>"])
        config = {**plain, **case.wrong}
        await asked.ask("CONSUMER.DURABLE.CREATE.EVENTS.ach", {"stream_name": "EVENTS", "config": config})
        one = of(await looked(settings), f"consumer {case.check}")
        assert (one.level, case.said in one.said, one.mend) == (case.level, True, case.mend), one
        if case.edit is not None:
            await asked.edit_consumer(case.edit)
        elif "resume" in case.mend:
            await asked.ask("CONSUMER.PAUSE.EVENTS.ach", {"pause_until": "0001-01-01T00:00:00Z"})
        else:
            await asked.ask("CONSUMER.DELETE.EVENTS.ach")
            async with open_broker(settings):
                pass
        assert of(await looked(settings), one.check).level is Level.OK


async def test_what_a_worker_makes_is_all_right_and_bounded(nats_url: str) -> None:
    settings = Settings(nats_url=nats_url)
    missing = await looked(settings)
    assert of(missing, "stream of events").mend == (
        "nats stream add EVENTS --subjects 'events.>' --storage file --retention limits --max-age 30d --defaults"
    )
    async with open_broker(settings):
        assert {one.level for one in await looked(settings)} == {Level.OK}
    async with api(settings) as asked:
        configs = {name: (await asked.ask(f"STREAM.INFO.{name}"))["config"] for name in ("EVENTS", "UNLOCKS")}
    assert configs["EVENTS"]["max_age"] == 30 * 86_400 * SECOND
    assert configs["UNLOCKS"]["max_age"] == 0
    assert all(config["max_msgs"] == config["max_bytes"] == -1 for config in configs.values())


# -- start of a worker -------------------------------------------------------------------------------------------------


async def started(settings: Settings, *, unsafe: bool) -> None:
    async with open_store(settings.database_url) as store, open_broker(settings) as broker:
        await WorkerChecks(unsafe=unsafe)(store, broker.client.client, settings)


async def test_a_worker_refuses_what_breaks_a_guarantee_and_starts_all_the_same_if_asked(engine: Engine) -> None:
    async with api(engine.settings) as asked:
        await asked.make("UNLOCKS", subjects=["unlocks.>"], retention="workqueue")
        before = await asked.ask("STREAM.INFO.UNLOCKS")
        with pytest.raises(UnsafeError, match="stream UNLOCKS retention: workqueue") as raised:
            await started(engine.settings, unsafe=False)
        # PostgreSQL of these tests does not wait for the disk, which is logged.
        assert [one.check for one in raised.value.findings] == ["stream UNLOCKS retention"]
        assert "nats stream restore UNLOCKS.backup" in str(raised.value)
        await started(engine.settings, unsafe=True)
        assert (await asked.ask("STREAM.INFO.UNLOCKS"))["config"] == before["config"]


class Counted(WorkerChecks):
    """The checks of a worker, which can be waited for."""

    def __init__(self) -> None:
        super().__init__(unsafe=False)
        self._done = [anyio.Event(), anyio.Event()]
        self._calls = 0

    async def __call__(self, store: Store, client: BrokerClient, settings: Settings) -> None:
        await super().__call__(store, client, settings)
        self._done[self._calls].set()
        self._calls += 1

    async def done(self, call: int) -> None:
        with anyio.fail_after(PATIENCE):
            await self._done[call].wait()


async def test_a_worker_logs_each_finding_once_also_of_what_is_made_anew(engine: Engine) -> None:
    checks = Counted()
    async with api(engine.settings) as asked:
        await asked.make("EVENTS", subjects=["events.>"], allow_atomic=True)
        config = {"durable_name": "ach", "ack_policy": "explicit", "max_ack_pending": 10}
        await asked.ask("CONSUMER.DURABLE.CREATE.EVENTS.ach", {"stream_name": "EVENTS", "config": config})
        with capture_logs() as logs:
            async with engine.worker(checks, consumer="ach"):
                await checks.done(0)
                before = said_by(logs)
                await asked.edit_stream("UNLOCKS", {"max_age": 3600 * SECOND})
                await asked.ask("CONSUMER.DELETE.EVENTS.ach")
                await checks.done(1)
    assert sorted(before) == ["consumer max_ack_pending", "postgresql fsync", "stream EVENTS atomic batches"]
    assert sorted(said_by(logs)) == sorted([*before, "stream UNLOCKS age"])


async def test_a_finding_that_comes_later_ends_no_worker(engine: Engine) -> None:
    settings = engine.settings
    async with api(settings) as asked, open_store(settings.database_url) as store, open_broker(settings) as broker:
        checks, client = WorkerChecks(unsafe=False), broker.client.client
        await checks(store, client, settings)
        await asked.edit_stream("EVENTS", {"max_msgs_per_subject": 100})
        with capture_logs() as logs:
            await checks(store, client, settings)
        assert said_by(logs) == ["stream EVENTS messages per subject"]
        with pytest.raises(UnsafeError, match="messages per subject"):
            await WorkerChecks(unsafe=False)(store, client, settings)


def said_by(logs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    """Return which checks have logged a warning."""
    return [line["check"] for line in logs if line["log_level"] == "warning" and "check" in line]


# -- the broker itself -------------------------------------------------------------------------------------------------

LEAST = """
authorization {{ users: [
  {{ user: least, password: p, permissions: {{
    publish: {{ allow: [{allowed}] }}, subscribe: "_INBOX.>" }} }}
  {{ user: all, password: p }}
] }}
"""
NEEDED = [
    "$JS.API.STREAM.INFO.*",
    "$JS.API.CONSUMER.INFO.EVENTS.ach",
    "$JS.API.CONSUMER.MSG.NEXT.EVENTS.ach",
    "$JS.API.STREAM.MSG.GET.UNLOCKS",
    "$JS.ACK.EVENTS.ach.>",
    "unlocks.>",
]


def rights(*subjects: str) -> str:
    return LEAST.format(allowed=", ".join(f'"{one}"' for one in subjects))


@pytest.mark.operate
async def test_rights_that_are_missing_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    async with configured(tmp_path / "nats", rights(*NEEDED)) as server:
        least, everything = Settings(nats_url=server.url("least:p")), Settings(nats_url=server.url("all:p"))
        async with open_broker(everything):
            pass
        findings = await looked(least)
        assert [one for one in findings if one.level in {E, W}] == []
        assert of(findings, "nats account").said == (
            "not checked: this login may not ask $JS.API.INFO, which a worker does not need"
        )
        for missing, named in ((NEEDED[2], "$JS.API.CONSUMER.MSG.NEXT.EVENTS.ach"), (NEEDED[5], "unlocks.~doctor")):
            await server.reload(rights(*(one for one in NEEDED if one != missing)))
            one = of(await looked(least), "nats rights")
            assert (one.level, one.said) == (E, f"this login may not publish on {named}")
            assert one.mend == f'permissions: {{ publish: {{ allow: ["{named}"] }} }}'
        await server.reload(rights(*NEEDED[1:]))
        findings = await looked(least)
        assert of(findings, "stream of events").said == "this login may not publish on $JS.API.STREAM.INFO.EVENTS"
        assert of(findings, "consumer").said == "not checked: its stream is not known"
        async with api(everything) as asked:
            states = [(await asked.ask(f"STREAM.INFO.{name}"))["state"] for name in ("EVENTS", "UNLOCKS")]
            consumer = await asked.ask("CONSUMER.INFO.EVENTS.ach")
    assert [state["messages"] for state in states] == [0, 0]
    assert consumer["delivered"]["consumer_seq"] == 0


@pytest.mark.operate
async def test_a_broker_without_jetstream(tmp_path: Path) -> None:
    none = "accounts { A: { users: [{ user: a, password: p }] } }"
    async with configured(tmp_path / "nats", none) as server:
        findings = await looked(Settings(nats_url=server.url("a:p")))
    bad = [one for one in findings if one.level is E]
    assert [(one.check, one.mend) for one in bad] == [("nats account", "nats-server --jetstream")]
    assert bad[0].said.startswith("JetStream cannot be used: ")
    assert of(findings, "stream of events").said == "not checked: JetStream does not answer"


# -- the database ------------------------------------------------------------------------------------------------------


async def books(settings: Settings, backlog: int | None = None) -> list[Finding]:
    return examine.database((await ask_database(settings)).beside(backlog))


async def test_a_database_from_nothing_to_dead_letters(engine: Engine) -> None:
    findings = await books(engine.settings)
    assert of(findings, "engine rules").mend == "ach backfill"
    await engine.backfill()
    bad = [one for one in await books(engine.settings) if one.level is not Level.OK]
    # These tests run PostgreSQL without waiting for the disk.
    assert [(one.check, one.level) for one in bad] == [("postgresql fsync", E)]
    assert bad[0].mend == (
        'psql "$DATABASE_URL" -c "ALTER SYSTEM SET fsync = on" -c "ALTER SYSTEM SET full_page_writes = on"'
        ' -c "SELECT pg_reload_conf()"'
    )
    await engine.publish([event(1), event(2), event(3), b"{", b"{{"])
    await engine.drain()
    await engine.rows("UPDATE unlock SET published_at = NULL, granted_at = now() - interval '2 minutes'")
    findings = await books(engine.settings, backlog=3)
    assert of(findings, "engine dead letters").said == "in the last day 2 malformed_json"
    assert of(findings, "engine outbox").mend == "ach run"
    assert of(findings, "engine workers").said == "none at work, and 3 messages wait"


@pytest.mark.operate
@pytest.mark.parametrize(
    ("statement", "check", "level", "said"),
    [
        ("SET synchronous_commit = off", "postgresql synchronous commit", E, "a crash loses commits"),
        ("SET default_transaction_read_only = on", "postgresql writable", E, "transactions are read only"),
    ],
)
async def test_settings_of_a_database(engine: Engine, statement: str, check: str, level: Level, said: str) -> None:
    name = (await engine.rows("SELECT quote_ident(current_database()) AS name"))[0]["name"]
    await engine.rows(f"ALTER DATABASE {name} {statement}")
    one = of(await books(engine.settings), check)
    assert (one.level, said in one.said, bool(one.mend)) == (level, True, True)


@pytest.mark.operate
async def test_a_database_without_a_schema_and_one_of_a_later_release(servers: Servers, engine: Engine) -> None:
    empty = f"empty_{uuid4().hex}"
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute(
            f"CREATE DATABASE {empty} ENCODING SQL_ASCII LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
        )
        findings = await books(msgspec.structs.replace(engine.settings, database_url=servers.url_of(empty)))
        await connection.execute(f"DROP DATABASE {empty} WITH (FORCE)")
    finally:
        await connection.close()
    schema = of(findings, "engine schema")
    assert (schema.level, schema.said, schema.mend) == (E, "there is no schema", "ach migrate")
    assert of(findings, "engine").said == "not checked: there is no schema yet"
    assert of(findings, "postgresql encoding").level is E
    await engine.rows("INSERT INTO schema_migration VALUES (9999, 'later', '', now())")
    assert "9999_later is unknown here" in of(await books(engine.settings), "engine schema").said


@pytest.mark.operate
async def test_a_role_that_lacks_rights_is_given_them(engine: Engine) -> None:
    role = f"r_{uuid4().hex[:8]}"
    await engine.rows(f"CREATE ROLE {role} LOGIN")
    try:
        await engine.rows(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        url = engine.settings.database_url.replace("postgresql://ach@", f"postgresql://{role}@")
        settings = msgspec.structs.replace(engine.settings, database_url=url)
        one = of(await books(settings), "engine rights")
        assert one.level is E
        assert f"{role} has no " in one.said
        for grant in one.mend.removeprefix("psql --username OWNER -c '").removesuffix("'").split("' -c '"):
            await engine.rows(grant)
        assert of(await books(settings), "engine rights").level is Level.OK
    finally:
        await engine.rows(f"DROP OWNED BY {role}")
        await engine.rows(f"DROP ROLE {role}")


# -- all of it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "level"), [(0, Level.OK), (-30, W), (3600, E)])
async def test_a_machine_whose_clock_is_wrong(engine: Engine, ahead: int, level: Level) -> None:
    async with open_broker(engine.settings):
        findings = await examine_all(engine.settings, now=lambda: time() + ahead)
    assert {of(findings, f"{server} clock").level for server in ("nats", "postgresql")} == {level}


async def test_servers_that_are_away_are_named_without_a_secret() -> None:
    settings = Settings(nats_url="nats://u:hidden@127.0.0.1:1", database_url="postgresql://u:hidden@127.0.0.1:1/x")
    findings = await examine_all(settings)
    assert [one.check for one in findings if one.level is E] == ["nats server", "postgresql"]
    assert all("hidden" not in f"{one.said}{one.mend}" for one in findings)
    assert {one.said for one in findings if one.level is Level.NOT_CHECKED} == {
        "not checked: NATS is not reached",
        "not checked: PostgreSQL is not reached",
    }

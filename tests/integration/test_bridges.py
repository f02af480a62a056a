"""What bridges publish arrives once: messages as recorded from the tools, or as their manuals describe them.

Which of them were run is in docs/bridges.md.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import pytest
import yaml

from worker.broker.streams import open_broker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio

ROOT: Final = Path(__file__).parents[2]
BRIDGES: Final = ROOT / "deploy" / "bridges"
RECORDED: Final = Path(__file__).parent / "bridges"
TO_THE_STREAM: Final = ("kafka.yaml", "pubsub.yaml", "sqs.yaml")
CONNECT: Final = (*TO_THE_STREAM, "kafka-http.yaml")
UNMAPPED: Final = {"malformed_json", "invalid_event"}

OPTIONS: Final[Mapping[str, set[str]]] = {
    # Redpanda Connect 4.93, Bento 1.9
    "kafka_franz": {"seed_brokers", "topics", "consumer_group"},
    "aws_sqs": {"url", "region", "max_number_of_messages", "wait_time_seconds"},
    "gcp_pubsub": {"project", "subscription", "max_outstanding_messages"},
    "nats_jetstream": {"urls", "subject", "headers", "metadata", "max_in_flight", "auth", "tls"},
    "switch": {"cases"},
    "file": {"path", "codec"},
    "http_client": {
        "url", "verb", "headers", "timeout", "retries", "retry_period", "backoff_on", "drop_on", "batching",
    },
    # Debezium Server 3
    "debezium.format": {"value", "value.schemas.enable", "header", "header.schemas.enable"},
    "debezium.transforms": {"outbox.type", "outbox.route.by.field", "outbox.route.topic.regex"}
    | {"outbox.route.topic.replacement", "outbox.table.expand.json.payload"}
    | {"outbox.table.fields.additional.placement"},
    "debezium.sink": {"type", "nats-jetstream.url", "nats-jetstream.create-stream"},
    "debezium.source": {"connector.class", "plugin.name", "topic.prefix", "table.include.list"}
    | {f"database.{one}" for one in ("hostname", "port", "user", "password", "dbname")}
    | {"publication.autocreate.mode", "tombstones.on.delete", "offset.storage.file.filename"}
    | {"offset.flush.interval.ms"},
    # Vector 0.50
    "sinks.nats": {"type", "inputs", "url", "subject", "encoding", "acknowledgements", "jetstream", "auth"},
    "sinks.file": {"type", "inputs", "path", "encoding"},
    "sources.file": {"type", "include", "read_from"},
    "transforms.remap": {"type", "inputs", "source", "drop_on_error", "reroute_dropped"},
}  # fmt: skip
"""What may be set, by component, from its manual."""


def recorded(name: str) -> list[dict[str, str]]:
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))["published"]


@pytest.mark.parametrize("name", ["kafka", "pubsub", "sqs", "vector"])
async def test_what_is_sent_twice_is_in_the_ledger_once(engine: Engine, name: str) -> None:
    messages = recorded(name)
    async with open_broker(engine.settings) as broker:
        for one in (*messages, *messages):
            await broker.publish(one["subject"], one["body"].encode(), headers={"Nats-Msg-Id": one["id"]})
    await engine.drain()
    letters = await engine.rows("SELECT DISTINCT reason, body::text FROM dead_letter")
    bad = [one for one in messages if one["subject"].endswith("unmapped")]
    assert {row["reason"] for row in letters} <= UNMAPPED
    assert len(letters) == len(bad)
    rows = await engine.rows("SELECT event_id, user_id, event_type, source FROM event WHERE tenant_id = 'acme.io'")
    said = [json.loads(one["body"]) for one in messages if one not in bad]
    names = ("event_id", "user_id", "event_type", "source")
    assert sorted(tuple(row[key] for key in names) for row in rows) == sorted(
        tuple(one[key] for key in names) for one in said
    )


@pytest.mark.parametrize("name", CONNECT)
def test_options_of_connect_are_documented(name: str) -> None:
    file = yaml.safe_load((BRIDGES / name).read_text("utf-8"))
    assert set(file) == {"input", "pipeline", "output"}
    outputs = [file["output"]]
    if "switch" in file["output"]:
        outputs += [case["output"] for case in file["output"]["switch"]["cases"]]
    for component in (file["input"], *outputs):
        ((kind, options),) = component.items()
        assert set(options) <= OPTIONS[kind]


def test_each_file_addresses_events_alike() -> None:
    files = [yaml.safe_load((BRIDGES / name).read_text("utf-8"))["pipeline"]["processors"] for name in TO_THE_STREAM]
    assert len({file[0]["try"][1]["mapping"] for file in files}) == 1
    assert len({json.dumps(file[1]) for file in files}) == 1


def test_options_of_debezium_are_documented() -> None:
    for key in properties():
        head, _, rest = key.removeprefix("debezium.").partition(".")
        known = OPTIONS["debezium." + head]
        assert rest in known or key == "debezium.transforms"
    # What a reader of the properties would take for a reference to another one.
    assert "${" not in "".join(properties().values())


def test_options_of_vector_are_documented() -> None:
    file = tomllib.loads((BRIDGES / "vector.toml").read_text("utf-8"))
    for part in ("sources", "transforms", "sinks"):
        for component in file[part].values():
            assert set(component) <= OPTIONS[f"{part}.{component['type']}"]
    stream = file["sinks"]["stream"]
    assert stream["jetstream"] == {"enabled": True, "headers": {"message_id": "acme%2Eio:{{ event_id }}"}}
    assert stream["subject"].startswith("events.acme%2Eio.")


def properties() -> dict[str, str]:
    lines = (BRIDGES / "debezium.properties").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
async def outbox(engine: Engine) -> AsyncGenerator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to a schema with the outbox."""
    connection = await asyncpg.connect(engine.settings.database_url)
    await connection.execute("CREATE SCHEMA app; SET search_path = app")
    await connection.execute((BRIDGES / "outbox.sql").read_text("utf-8"))
    yield connection
    await connection.execute("DROP SCHEMA app CASCADE")
    await connection.close()


async def test_the_outbox_encodes_subjects(outbox: asyncpg.Connection[asyncpg.Record]) -> None:
    cases = json.loads((ROOT / "fixtures" / "subject_encoding.json").read_text("utf-8"))["subjects"]
    seen = 0
    for case in cases:
        if case.get("refused"):
            continue
        found = await outbox.fetchval("SELECT ach_subject($1, $2, $3)", case["tenant"], case["user"], case["type"])
        if ".~" not in case["subject"]:
            assert found == case["subject"]
            seen += 1
        elif len(case["tenant"]) < 121:
            assert found.endswith(".~batch.batch")
        else:
            assert found is None  # and NOT NULL refuses the row
    assert seen > 15


async def test_rows_of_the_outbox_arrive_as_debezium_publishes_them(
    engine: Engine, outbox: asyncpg.Connection[asyncpg.Record]
) -> None:
    put = "SELECT outbox_event('acme.io', $1, $2, $3, '2026-03-01T13:00:00+01:00', $4::jsonb)"
    for number, user in enumerate(("ann@example.com", "Ann Lee", "x" * 121)):
        await outbox.execute(put, f"o-{number}", "lesson.completed", user, '{"score": 9}')
    await outbox.execute(put, "ü", "lesson..completed", "zoë", "{}")
    rows = await outbox.fetch("SELECT id, subject, message_id, payload FROM outbox")
    async with open_broker(engine.settings) as broker:
        for row in map(dict, (*rows, *rows)):
            await broker.publish(row["subject"], as_debezium_has_it(row), headers=headers_of(row))
    await engine.drain()
    assert await engine.rows("SELECT * FROM dead_letter") == []
    found = await engine.rows("SELECT event_id, source, occurred_at::text FROM event WHERE tenant_id = 'acme.io'")
    assert sorted(row["event_id"] for row in found) == ["o-0", "o-1", "o-2", "ü"]
    assert {row["source"] for row in found} == {"outbox"}


def as_debezium_has_it(row: Mapping[str, Any]) -> bytes:
    """Return the body: the column `payload`, expanded (`table.expand.json.payload`), as JSON without a schema."""
    return json.dumps(json.loads(row["payload"]), ensure_ascii=False).encode()


def headers_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers: `id` always, and the column that is placed there. They are JSON, quotes and all."""
    headers = {"id": json.dumps(str(row["id"]))}
    return headers if row["message_id"] is None else {**headers, "Nats-Msg-Id": json.dumps(row["message_id"])}

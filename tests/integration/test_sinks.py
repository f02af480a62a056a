"""What docs/sinks.md shows: the example keeps the latest revision of each unlock through kills; its SQL is SQL."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import nats
import pytest
import sqlglot
from nats.js.api import AckPolicy
from sqlglot import expressions

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE
from worker.broker.streams import open_broker

if TYPE_CHECKING:
    from anyio.abc import Process

    from tests.integration.engine import Engine

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples" / "sinks"


def message(number: int, revision: int, status: str = "granted") -> dict[str, Any]:
    return {
        "kind": status,
        "revision": revision,
        "unlock_id": f"00000000-0000-0000-0000-{number:012d}",
        "tenant_id": "t1",
        "user_id": f"u{number}",
        "achievement": "three",
        "status": status,
    }


async def say(engine: Engine, *messages: dict[str, Any]) -> None:
    """Put messages on the stream as the worker does."""
    async with open_broker(engine.settings) as broker:
        for one in messages:
            unlock, revision = one["unlock_id"], one["revision"]
            subject = f"{engine.settings.unlock_prefix}.t1.u.three.{unlock}.{revision}"
            await broker.publish(subject, json.dumps(one).encode(), headers={"Nats-Msg-Id": f"{unlock}:{revision}"})


async def sink(engine: Engine, file: Path) -> Process:
    environment = {"PATH": os.environ["PATH"], "NATS_URL": engine.settings.nats_url}
    command = [sys.executable, str(EXAMPLES / "unlocks_to_sqlite.py"), str(file)]
    return await anyio.open_process(command, env=environment)


async def written(process: Process, number: int) -> None:
    """Wait until it has written so many messages."""
    assert process.stdout is not None
    text = b""
    with anyio.fail_after(PATIENCE):
        while sum(int(line) for line in text.split(b"\n")[:-1]) < number:
            text += await process.stdout.receive()


async def killed(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await process.aclose()


def rows(file: Path) -> dict[str, tuple[int, str, str | None]]:
    connection = sqlite3.connect(file)
    try:
        found = connection.execute("SELECT unlock_id, revision, status, user_id FROM unlock").fetchall()
        return {unlock: (revision, status, user) for unlock, revision, status, user in found}
    finally:
        connection.close()


@pytest.mark.anyio
async def test_the_highest_revision_is_kept_through_kills(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "unlocks.db"
    await engine.publish([])  # makes the streams
    await say(engine, *(message(number, 1) for number in range(600)))
    first = await sink(engine, file)
    await written(first, 1)
    await killed(first)  # in the middle, with messages that are not acknowledged
    later = (message(1, 3, "restored"), message(1, 2, "contested"), message(2, 2, "erased"))
    await say(engine, *({**one, "status": "granted"} if one["kind"] == "restored" else one for one in later))
    again = await sink(engine, file)
    with anyio.fail_after(2 * PATIENCE):  # what the dead one had comes again after `ack_wait`
        while rows(file).get(message(2, 2)["unlock_id"], (0,))[0] != 2 or len(rows(file)) < 600:  # noqa: ASYNC110
            await anyio.sleep(0.1)
    await killed(again)
    kept = rows(file)
    assert len(kept) == 600
    assert kept[message(1, 3)["unlock_id"]] == (3, "granted", "u1")
    assert kept[message(2, 2)["unlock_id"]] == (2, "erased", None)
    assert kept[message(3, 1)["unlock_id"]] == (1, "granted", "u3")


@pytest.mark.parametrize("dialect", ["clickhouse", "materialize", "risingwave"])
def test_the_sql_is_of_its_dialect(dialect: str) -> None:
    text = (EXAMPLES / f"{dialect}.sql").read_text("utf-8")
    # The parser knows no webhooks.
    statements = [one for one in text.split(";\n") if one.strip() and "FROM WEBHOOK" not in one]
    assert len(statements) >= 2
    for one in statements:
        (parsed,) = sqlglot.parse(one, read=dialect)
        assert parsed is not None
        assert not isinstance(parsed, expressions.Command)


LOGIN: Final = """
authorization {{ users: [
  {{ user: worker, password: worker }}
  {{ user: warehouse, password: warehouse, permissions: {{ publish: [{allowed}], subscribe: "_INBOX.>" }} }}
] }}
"""
READS: Final = (
    "$JS.API.CONSUMER.INFO.UNLOCKS.warehouse",
    "$JS.API.CONSUMER.MSG.NEXT.UNLOCKS.warehouse",
    "$JS.ACK.UNLOCKS.warehouse.>",
)
"""What the page lets a sink do with a consumer that an operator has made, and what one needs that makes its own."""
MAKES: Final = (*READS, "$JS.API.CONSUMER.*.UNLOCKS.warehouse", "$JS.API.CONSUMER.CREATE.UNLOCKS.warehouse.>")


@pytest.mark.anyio
@pytest.mark.parametrize("makes", [False, True])
async def test_a_sink_reaches_its_consumer_alone(tmp_path: Path, *, makes: bool) -> None:
    page = (EXAMPLES.parents[1] / "sinks.md").read_text("utf-8")
    assert all(subject in page for subject in MAKES)
    allowed = ", ".join(f'"{subject}"' for subject in (MAKES if makes else READS))
    async with configured(tmp_path, LOGIN.format(allowed=allowed)) as broker:
        worker = await nats.connect(broker.url("worker:worker"))
        streams = worker.jetstream()
        for name in ("EVENTS", "UNLOCKS"):
            await streams.add_stream(name=name, subjects=[f"{name.lower()}.>"])
            await streams.add_consumer(name, durable_name="ach", ack_policy=AckPolicy.EXPLICIT)
        if not makes:
            await streams.add_consumer("UNLOCKS", durable_name="warehouse", ack_policy=AckPolicy.EXPLICIT)
        said = message(1, 1)
        await streams.publish("unlocks.t1.u1.three.1", json.dumps(said).encode(), headers={"Nats-Msg-Id": "1"})
        environment = {"PATH": os.environ["PATH"], "NATS_URL": broker.url("warehouse:warehouse")}
        command = [sys.executable, str(EXAMPLES / "unlocks_to_sqlite.py"), str(tmp_path / "unlocks.db")]
        process = await anyio.open_process(command, env=environment)
        await written(process, 1)
        await killed(process)
        assert rows(tmp_path / "unlocks.db") == {said["unlock_id"]: (1, "granted", "u1")}
        await refused(broker.url("warehouse:warehouse"), makes=makes)
        assert (await streams.stream_info("UNLOCKS")).state.messages == 1
        await worker.close()


async def refused(url: str, *, makes: bool) -> None:
    """See that a sink's login does nothing but read its consumer."""
    violations: list[str] = []
    seen = anyio.Event()

    async def note(error: Exception) -> None:
        violations.append(str(error))
        seen.set()

    client = await nats.connect(url, error_cb=note)
    tries = [
        "$JS.API.CONSUMER.MSG.NEXT.UNLOCKS.ach",
        "$JS.API.CONSUMER.MSG.NEXT.EVENTS.ach",
        "$JS.API.CONSUMER.DELETE.UNLOCKS.ach",
        "$JS.API.STREAM.PURGE.UNLOCKS",
        "$JS.API.STREAM.MSG.GET.UNLOCKS",
        "unlocks.t1.u1.three.2",
        "events.t1.u1.a.done",
        *(() if makes else ("$JS.API.CONSUMER.DELETE.UNLOCKS.warehouse",)),
    ]
    for subject in tries:
        await client.publish(subject, b"", reply=client.new_inbox())
        with anyio.fail_after(PATIENCE):
            await client.flush()
            while not any(subject.lower() in one.lower() for one in violations):
                await seen.wait()
                seen = anyio.Event()
    await client.close()

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
import pytest
import sqlglot
from sqlglot import expressions

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
        while not rows(file).get(message(2, 2)["unlock_id"], (0,))[0] == 2 or len(rows(file)) < 600:  # noqa: ASYNC110
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

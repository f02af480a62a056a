"""`ach ingest` as an operator uses it: keys, and a process that takes events and stops."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.conftest import read_until
from worker.ingest.openapi import document_text
from worker.serve.access import hash_of

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

EVENT = {
    "event_id": "1",
    "event_type": "lesson.completed",
    "user_id": "ann",
    "tenant_id": "acme",
    "occurred_at": "2026-03-01T12:00:00Z",
    "payload": {"score": 9},
}
RULES = "event lesson.completed { score: int }\n"


def test_keys_and_a_file_for_them(shell: Shell) -> None:
    made = shell.ach("ingest", "key", "--tenant", "a b")
    (key,) = re.findall(r"ach_[\w-]{43}", made.out)
    assert tomllib.loads(made.out) == {"tenants": {"a b": {"keys": [hash_of(key)]}}}
    made = shell.ach("ingest", "key", "--tenant", "acme", "--validate")
    (key,) = re.findall(r"ach_[\w-]{43}", made.out)
    assert tomllib.loads(made.out) == {"tenants": {"acme": {"keys": [{"hash": hash_of(key), "validate": True}]}}}
    assert shell.ach("ingest", "openapi").out == document_text()


def test_what_stands_in_the_way_is_said(shell: Shell) -> None:
    assert "ach ingest key --tenant" in shell.ach("ingest").err
    shell.write("ingest.toml", "hots = 1")
    ran = shell.ach("ingest")
    assert (ran.code, "unknown field `hots`" in ran.err, "Traceback" in ran.err) == (1, True, False)
    shell.write("ingest.toml", "")
    shell.write("bad.ach", "event {")
    ran = shell.ach("ingest", "--rules", "bad.ach")
    assert (ran.code, "ach check" in ran.err, "has no tenant" in ran.err) == (1, True, True)


async def test_it_takes_events_until_it_is_stopped(shell: Shell, nats_url: str) -> None:
    shell.environment |= {"NATS_URL": nats_url}
    shell.write("rules.ach", RULES)
    made = shell.ach("ingest", "key", "--tenant", "acme").out
    shell.write("ingest.toml", made)
    (key,) = re.findall(r"ach_[\w-]{43}", made)
    with shell.running("ingest", "--port", "0", "--rules", "rules.ach") as process:
        seen = read_until(process, "taking events")
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", seen)
        async with httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
            wrong = {**EVENT, "payload": {"score": "nine"}}
            answer = await client.post("/v1/events?validate=contract", json=wrong)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "payload.score")
            answer = await client.post(
                "/v1/events", content=json.dumps(EVENT).encode(), headers={"Content-Type": "x/y"}
            )
            assert answer.status_code == 415
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0

"""`ach ingest` against its own document, by schemathesis: what it sends is answered as the document says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.schemathesis_run import keep_the_document
from tests.integration.ingesting import KEYS, config_of, connected, ingesting
from worker.broker.streams import open_broker
from worker.ingest.process import Files
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CONFIG = """
[[operations]]
# That an instant is one, that ids are bounded in bytes, and whose tenant it is, no schema can say.
include-operation-id = "events"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "413", "422"]
checks.unsupported_method.enabled = true

[[operations]]
# Nothing that is drawn has a signature.
include-operation-id = "webhook"
checks.positive_data_acceptance.expected-statuses = ["401"]
"""
HOOKS = """
import json

import schemathesis

EVENT = {
    "event_id": "1",
    "event_type": "a.done",
    "user_id": "u1",
    "tenant_id": "t1",
    "occurred_at": "2026-03-01T12:00:00Z",
}

@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value).encode()

@schemathesis.hook
def map_body(context, body):
    # Good in what no schema can say, half of the time: else all that is seen is 400.
    if isinstance(body, dict) and len(json.dumps(body)) % 2:
        return {name: EVENT.get(name, value) for name, value in body.items()}
    return body
"""


@pytest.mark.timeout(180)
async def test_the_api_keeps_its_document(nats_url: str, tmp_path: Path) -> None:
    settings = Settings(nats_url=nats_url)
    async with open_broker(settings):
        pass
    rules = tmp_path / "rules.ach"
    rules.write_text("event a.done { n: int? }\n")
    config = config_of(key_rate=1e6, key_burst=1_000_000)
    async with ingesting(settings, config, Files(rules=[rules])) as client:
        await connected(client)
        await keep_the_document(tmp_path, client, KEYS["t1"], CONFIG, HOOKS, "--max-examples", "60")

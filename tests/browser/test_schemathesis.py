"""The API against its own document, by schemathesis: what it sends is answered as the document says."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.browser.schemathesis_run import keep_the_document
from tests.integration.engine import Engine, event
from tests.integration.serving import KEYS, connected, serving
from tests.integration.test_serve import RULES
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

SECONDS = 110
CONFIG = """
[[operations]]
# A cursor of the right form that was not given out is refused, which no schema can say.
include-operation-id = "unlocks"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404"]
"""
HOOKS = """
import schemathesis

@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # Of the tenant whose key it has, half of the time and more: else all that is seen of the API is 403.
    if path_parameters and len(str(path_parameters.get("tenant", ""))) % 4:
        path_parameters["tenant"] = "t1"
    return path_parameters

def fits(values):
    # Ids are bounded in bytes, which a schema cannot say.
    return all(len(str(value).encode(errors="replace")) <= 512 for value in (values or {}).values())

@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    return fits(path_parameters)

@schemathesis.hook
def filter_query(context, query):
    return fits(query)
"""


@pytest.mark.timeout(180)
async def test_the_api_keeps_its_document(database_url: str, nats_url: str, tmp_path: Path) -> None:
    engine = Engine(Settings(nats_url=nats_url, database_url=database_url, consumer=f"c{uuid4().hex}"))
    await engine.apply(RULES)
    await engine.publish([event(n, user=user) for n in range(3) for user in ("u1", "u2")])
    await engine.drain()
    async with serving(engine.settings, key_rate=100_000, key_burst=100_000) as client:
        await connected(client)
        more = ("--max-examples", "40", "--exclude-path-regex", "/live$")
        await keep_the_document(tmp_path, client, KEYS["t1"], CONFIG, HOOKS, *more)

"""Every route, asked as its document allows and otherwise: answers are of the documented statuses and schemas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import anyio
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.engine import event
from tests.integration.pipelines import pipeline_on, send
from tests.integration.serving import by_key, serving
from tests.integration.test_serve import RULES
from worker.serve.openapi import document
from worker.serve.operations import OPERATIONS, Kind

if TYPE_CHECKING:
    import httpx

    from tests.integration.engine import Engine
    from worker.serve.operations import Operation

pytestmark = pytest.mark.anyio

NAMES = ["t1", "u1", "u2", "team", "user", "tenant", "red", "far", "hush", "first", "planet", "now", "de", "0", "true"]
TEXTS = st.sampled_from(NAMES) | st.text(min_size=1, max_size=20)
JSON_OPERATIONS = [one for one in OPERATIONS if one.kind is Kind.JSON]


@st.composite
def requests(draw: st.DrawFn) -> tuple[Operation, str]:
    one = draw(st.sampled_from(JSON_OPERATIONS))
    names = re.findall(r"{(\w+)}", one.path)
    values = {name: "t1" if name == "tenant" and draw(st.integers(0, 9)) else draw(TEXTS) for name in names}
    path = one.path.format(**{name: quote(value, safe="").replace(".", "%2E") for name, value in values.items()})
    known = [parameter.name for parameter in one.parameters]
    query = draw(st.dictionaries(st.sampled_from([*known, "other"]), TEXTS, max_size=2))
    return one, f"{path}?{urlencode(query, quote_via=quote)}" if query else path


def check(one: Operation, response: httpx.Response) -> None:
    said: dict[str, Any] = document()["paths"][one.path]["get"]["responses"]
    assert str(response.status_code) in said, response.text
    found = said[str(response.status_code)]
    if "$ref" in found:
        found = document()["components"]["responses"][found["$ref"].rpartition("/")[2]]
    if "content" not in found:
        assert response.content == b""
        return
    ((media_type, content),) = found["content"].items()
    assert response.headers["content-type"] == media_type
    schema = {**content["schema"], "components": document()["components"]}
    jsonschema.Draft202012Validator(schema).validate(response.json())


async def test_answers_are_as_documented(engine: Engine) -> None:
    await engine.apply(RULES)
    await engine.backfill()
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *(event(n, user=user, team="red") for n in range(3) for user in ("u1", "u2"))) == []
    seen: set[tuple[str, int]] = set()
    async with (
        serving(engine.settings, key_rate=1e6, key_burst=1_000_000) as client,
        anyio.from_thread.BlockingPortal() as portal,
    ):

        async def ask(path: str) -> httpx.Response:
            return await client.get(path, headers=by_key())

        @settings(
            max_examples=120,
            derandomize=True,  # the statuses below are among these
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            database=None,
        )
        @given(requests())
        def run(request: tuple[Operation, str]) -> None:
            one, path = request
            response = portal.call(ask, path)
            check(one, response)
            seen.add((one.name, response.status_code))

        await anyio.to_thread.run_sync(run)
    assert {name for name, status in seen if status == 200} >= {"user_achievements", "catalogue", "openapi", "unlocks"}
    assert {status for _, status in seen} >= {200, 400, 403, 404}

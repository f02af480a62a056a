"""The same answers as a service on NATS; and permissions of the broker that decide who may ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import nats
import nats.errors
import pytest

from tests.integration.brokers import configured
from tests.integration.engine import event
from tests.integration.pipelines import pipeline_on, send
from tests.integration.serving import by_key, connected, serving
from tests.integration.test_serve import RULES, SECRET, USER
from worker.contract.partition import token

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine_of(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.backfill()
    async with pipeline_on(engine) as pipeline:
        assert await send(pipeline, *(event(n) for n in range(2)), event(0, tenant="a.b")) == []
    await engine.drain()
    return engine


async def asked(client: Client, to: str, /, **request: object) -> tuple[Any, dict[str, str]]:
    said = await client.request(to, json.dumps(request).encode(), timeout=10)
    return json.loads(said.data), dict(said.headers or {})


async def test_the_service_says_what_http_says(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as http:
        await connected(http)
        client = await nats.connect(engine_of.settings.nats_url)
        try:
            for subject, request, path in (
                ("progress", {"user": "u1", "lang": "de"}, f"{USER}/achievements?lang=de"),
                ("progress", {"scope": "team", "subject": "x"}, "/v1/tenants/t1/subjects/team/x/achievements"),
                ("catalogue", {}, "/v1/tenants/t1/catalogue"),
                ("unlocks", {"limit": 1}, "/v1/tenants/t1/unlocks?limit=1"),
                ("why", {"user": "u1", "achievement": "far"}, f"{USER}/achievements/far/why"),
            ):
                said, headers = await asked(client, f"ach.v1.t1.{subject}", **request)
                expected = (await http.get(path, headers=by_key())).json()
                for one in (said, expected):
                    for moment in ("as_of", "rarity_as_of"):
                        one.pop(moment, None)
                    for explanation in one.get("explanations", []):
                        explanation.pop("now")
                assert (said, headers) == (expected, {})
                assert not [word for word in SECRET if word in json.dumps(said)]
            said, _ = await asked(client, f"ach.v1.{token('a.b')}.progress", user="u1")
            assert (said["tenant_id"], said["presence"]) == ("a.b", "known")
            info = json.loads((await client.request("$SRV.INFO.ach", b"", timeout=10)).data)
            assert info["endpoints"][0]["subject"] == "ach.v1.*.progress"
            assert json.loads((await client.request("$SRV.PING.ach", b"", timeout=10)).data)["name"] == "ach"
            stats = json.loads((await client.request("$SRV.STATS.ach", b"", timeout=10)).data)
            assert sum(one["num_requests"] for one in stats["endpoints"]) == 6
        finally:
            await client.close()


async def test_bad_requests_get_problems(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as http:
        await connected(http)
        client = await nats.connect(engine_of.settings.nats_url)
        try:
            for request, status in (
                ({}, "400"),
                ({"user": ""}, "400"),
                ({"user": "u1", "scope": "team", "subject": "x"}, "400"),
                ({"user": "u1", "tenant": "t2"}, "400"),
                ({"user": "u1", "lang": "no language"}, "400"),
                ({"user": "a\0b"}, "400"),
                ({"scope": "tenant", "subject": "t2"}, "404"),
                ({"scope": "planet", "subject": "x"}, "404"),
            ):
                said, headers = await asked(client, "ach.v1.t1.progress", **request)
                assert (str(said["status"]), headers["Nats-Service-Error-Code"]) == (status, status), request
            for name in ("t%31", "~" + "0" * 32):
                said, headers = await asked(client, f"ach.v1.{name}.progress", user="u1")
                assert headers["Nats-Service-Error-Code"] == "400"
            for body in (b"[", b"[" * 5000, b'{"user": "' + b"x" * 9000 + b'"}'):
                reply = await client.request("ach.v1.t1.progress", body, timeout=10)
                assert (reply.headers or {})["Nats-Service-Error-Code"] == "400"
        finally:
            await client.close()


PERMISSIONS = """
authorization { users: [
  { user: worker, password: w }
  { user: serve, password: s, permissions: {
      publish: { allow: [ "$JS.API.STREAM.INFO.UNLOCKS", "$JS.API.CONSUMER.CREATE.UNLOCKS",
                          "$JS.API.STREAM.MSG.GET.UNLOCKS", "$JS.FC.>" ] }
      subscribe: { allow: [ "_INBOX.>", "ach.v1.*.*", "$SRV.>" ] }
      allow_responses: true } }
  { user: app, password: a, permissions: { publish: "ach.v1.t1.*", subscribe: "_INBOX.>" } }
] }
"""


async def test_the_broker_s_permissions_decide_and_serve_needs_no_more(engine_of: Engine, tmp_path: Path) -> None:
    async with configured(tmp_path / "broker", PERMISSIONS) as broker:
        await engine_of.with_settings(nats_url=broker.url("worker:w")).drain()
        async with serving(engine_of.with_settings(nats_url=broker.url("serve:s")).settings) as http:
            await connected(http)
            client = await nats.connect(broker.url("app:a"), error_cb=_ignore)
            try:
                said, _ = await asked(client, "ach.v1.t1.progress", user="u1")
                assert said["tenant_id"] == "t1"
                with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
                    await client.request("ach.v1.t2.progress", b'{"user": "u1"}', timeout=1)
            finally:
                await client.close()


async def _ignore(_error: Exception) -> None:
    await anyio.lowlevel.checkpoint()

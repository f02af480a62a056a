"""The read API over HTTP, on real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import asyncpg
import pytest

from tests.integration.engine import event
from tests.integration.pipelines import sent
from tests.integration.serving import KEYS, by_key, by_token, connected, live, serving, until
from worker.admin.erasure import erase_user
from worker.app import wall_clock
from worker.store import open_store

if TYPE_CHECKING:
    import httpx

    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

RULES = """
event a.done { team: string? }
event b.done {}
traits from user.updated { plan: string }

achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }
achievement far {
  title { en: "Far", de: "Weit" }
  about "A long way."
  family ways
  reward { xp: 7 }
  when count(event=a.done, >= 4, unless=b.done)
}
achievement hush { title "Kept quiet" about "Nothing is said." family shadows reward { coins: 99 } reveal secret
  when count(event=a.done, >= 3) }
achievement first { title { en: "First", de: "Erstes" } when count(event=a.done, >= 1) }
achievement lured { title "Lured" when unlocked(hush) }
"""
SECRET = ("hush", "Kept quiet", "Nothing is said.", "shadows", "coins")
USER = "/v1/tenants/t1/users/u1"


@pytest.fixture
async def engine_of(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.backfill()
    return engine


def ids(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {item["id"]: item for item in response.json()["items"]}


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_a_user_s_achievements(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n, team="red") for n in range(2)))
    async with serving(engine_of.settings) as client:
        response = await client.get(f"{USER}/achievements?lang=de", headers=by_key())
        items = ids(response)
        assert list(items) == ["far", "first", "lured"]
        far = items["far"]
        assert (far["title"], far["language"], far["current"], far["target"]) == ("Weit", "de", "2", "4")
        assert (far["percent"], far["reward"], items["first"]["status"]) == (50, {"xp": 7}, "earned")
        body = response.json()
        assert (body["presence"], body["hidden"], body["stale"], body["age"]) == ("known", 1, False, 0)
        assert response.headers["cache-control"] == "private, no-cache"
        # By the header, in another scope, of one family, and of a user that nothing is known of.
        said = await client.get(f"{USER}/achievements", headers={**by_key(), "Accept-Language": "fr;q=0.5, de;q=0.9"})
        assert ids(said)["far"]["title"] == "Weit"
        assert list(ids(await client.get(f"{USER}/achievements?family=ways", headers=by_key()))) == ["far"]
        team = await client.get("/v1/tenants/t1/subjects/team/red/achievements", headers=by_key())
        assert ids(team)["crew"]["status"] == "earned"
        unknown = await client.get("/v1/tenants/t1/users/unknown/achievements", headers=by_key())
        assert unknown.json()["presence"] == "unknown"
        assert {item["status"] for item in ids(unknown).values()} == {"locked"}
        # A language that no title has: the fallback is said.
        other = ids(await client.get(f"{USER}/achievements?lang=ja", headers=by_key()))
        assert (other["far"]["title"], other["far"]["fallback"]) == ("Far", True)


async def test_an_unchanged_answer_costs_one_row(engine_of: Engine) -> None:
    await sent(engine_of, event(0))
    async with serving(engine_of.settings) as client:
        first = await client.get(f"{USER}/achievements", headers=by_key())
        tag = first.headers["etag"]
        assert tag.startswith('W/"')
        for known in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
            again = await client.get(f"{USER}/achievements", headers={**by_key(), "If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        for path in (f"{USER}/achievements?lang=de", f"{USER}/achievements?family=ways"):
            other = await client.get(path, headers={**by_key(), "If-None-Match": tag})
            assert other.status_code == 200
        await sent(engine_of, event(1))
        moved = await client.get(f"{USER}/achievements", headers={**by_key(), "If-None-Match": tag})
        assert ids(moved)["far"]["current"] == "2"
        # Other rules come into force: the next answer is by them.
        await engine_of.apply(RULES + 'achievement new { title "New" when count(event=b.done, >= 1) }')
        await engine_of.backfill()
        renewed = await client.get(f"{USER}/achievements", headers={**by_key(), "If-None-Match": moved.headers["etag"]})
        assert "new" in ids(renewed)


async def test_answers_come_compressed_to_those_who_take_it(engine_of: Engine) -> None:
    await engine_of.drain()
    await sent(engine_of, *(event(n, user=f"u{n}") for n in range(20)))
    paths = (f"{USER}/achievements", "/v1/tenants/t1/catalogue", "/v1/tenants/t1/unlocks", "/openapi.json")
    async with serving(engine_of.settings) as client:
        for path in paths:
            plain = await client.get(path, headers={**by_key(), "Accept-Encoding": "gzip;q=0"})
            assert len(plain.content) > 1024
            packed = await client.get(path, headers={**by_key(), "Accept-Encoding": "br, gzip"})
            for response, encoding in ((plain, None), (packed, "gzip")):
                assert response.headers.get("content-encoding") == encoding, path
                assert "accept-encoding" in response.headers["vary"].lower(), path
            assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) * 0.7
            head = await client.head(path, headers={**by_key(), "Accept-Encoding": "gzip"})
            assert (head.headers["content-encoding"], head.content) == ("gzip", b"")
            said, other = plain.json(), packed.json()
            for moving in ("as_of", "cursor", "rarity_as_of"):
                said.pop(moving, None)
                other.pop(moving, None)
            assert said == other
            # One tag stands for both forms.
            if "etag" in plain.headers:
                assert plain.headers["etag"] == packed.headers["etag"]
                known = {**by_key(), "If-None-Match": packed.headers["etag"], "Accept-Encoding": "gzip"}
                again = await client.get(path, headers=known)
                assert (again.status_code, again.headers.get("content-encoding")) == (304, None)
        for path in ("/v1/health", f"{USER}/achievements?family=none", f"{USER}/achievements/far/why"):
            response = await client.get(path, headers={**by_key(), "Accept-Encoding": "gzip"})
            assert "content-encoding" not in response.headers
        await connected(client)
        async with client.stream("GET", f"{USER}/live", headers={**by_key(), "Accept-Encoding": "gzip"}) as stream:
            assert "content-encoding" not in stream.headers


NAMES = ("a/b", "ä.b", "..%2F", "%41", "x" * 512, "🦀" * 128, "a b+c", "-", "<b>&", "..", "\u202e\n")


async def test_any_id_is_percent_decoded_once(engine_of: Engine) -> None:
    await sent(engine_of, *(event(0, user=name, id=f"e{number}") for number, name in enumerate(NAMES)))
    async with serving(engine_of.settings) as client:
        for name in NAMES:
            path = f"/v1/tenants/t1/users/{quote(name, safe='').replace('.', '%2E')}/achievements"
            response = await client.get(path, headers=by_token(name))
            assert (response.json()["subject"], response.json()["presence"]) == (name, "known")


async def test_what_is_asked_wrongly(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:

        async def status(path: str, **headers: str) -> int:
            response = await client.get(path, headers={**by_key(), **headers})
            problem = response.json()
            assert response.headers["content-type"] == "application/problem+json"
            assert problem["status"] == response.status_code
            assert problem["hint"]
            return response.status_code

        for path in (
            f"/v1/tenants/t1/users/{'x' * 513}/achievements",
            "/v1/tenants/t1/users/%00/achievements",
            "/v1/tenants/t1/users/%FF/achievements",
            "/v1/tenants/t1/users/%zz/achievements",
            f"{USER}/achievements?lang=no%20language",
            f"{USER}/achievements?unknown=1",
            f"{USER}/achievements?lang=de&lang=en",
            "/v1/tenants/t1/unlocks?since=made-up",
            "/v1/tenants/t1/unlocks?limit=0",
            "/v1/tenants/t1/unlocks?limit=1001",
            "/v1/tenants/t1/unlocks?limit=ten",
            "/v1/tenants/t1/unlocks?corrections=1",
        ):
            assert await status(path) == 400, path
        for path in (
            "/v1/nothing",
            "/v1/tenants/t1/subjects/planet/x/achievements",
            "/v1/tenants/t1/subjects/tenant/t2/achievements",
            f"{USER}/achievements/nothing/why",
        ):
            assert await status(path) == 404, path
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
            response = await client.request(method, f"{USER}/achievements", headers=by_key())
            assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        response = await client.request("GET", f"{USER}/achievements", headers=by_key(), content=b"x")
        assert response.status_code == 413
        assert (await client.head(f"{USER}/achievements", headers=by_key())).content == b""


async def test_why(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n) for n in range(3)))
    async with serving(engine_of.settings) as client:
        response = await client.get(f"{USER}/achievements/far/why", headers=by_token())
        (explanation,) = response.json()["explanations"]
        assert (explanation["outcome"], explanation["when"]["progress"]["fraction"]) == ("not yet", "3/4")
        assert [one["event_id"] for one in explanation["events"]] == ["a.done-0-u1", "a.done-1-u1", "a.done-2-u1"]
        assert (await client.get(f"{USER}/achievements/first/why", headers=by_token())).status_code == 200


async def test_the_catalogue_and_the_unlocks(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:
        begin = (await client.get("/v1/tenants/t1/unlocks?since=now", headers=by_key())).json()["cursor"]
        await sent(engine_of, event(0), event(0, user="u2"), event(0, tenant="t2", user="u9"))
        catalogue = await client.get("/v1/tenants/t1/catalogue?lang=de", headers=by_token())
        assert [item["id"] for item in catalogue.json()["items"]] == ["crew", "far", "first", "lured"]
        assert catalogue.json()["hidden"] == 1
        known = {"If-None-Match": catalogue.headers["etag"]}
        again = await client.get("/v1/tenants/t1/catalogue?lang=de", headers={**by_token(), **known})
        assert again.status_code == 304
        page = (await client.get(f"/v1/tenants/t1/unlocks?since={begin}&limit=1", headers=by_key())).json()
        assert ([one["subject"] for one in page["unlocks"]], page["more"]) == (["u1"], True)
        rest = (await client.get(f"/v1/tenants/t1/unlocks?since={page['cursor']}", headers=by_key())).json()
        assert [one["subject"] for one in rest["unlocks"]] == ["u2"]
        # A cursor of one tenant is none of another.
        foreign = await client.get(f"/v1/tenants/t2/unlocks?since={begin}", headers=by_key("t2"))
        assert foreign.status_code == 400


async def test_an_erased_user_is_gone(engine_of: Engine) -> None:
    await engine_of.drain()  # which makes the streams
    await sent(engine_of, event(0))
    async with serving(engine_of.settings) as client:
        tag = (await client.get(f"{USER}/achievements", headers=by_key())).headers["etag"]
        await connected(client)
        async with open_store(engine_of.settings.database_url) as store:
            await erase_user(store, engine_of.settings, "t1", "u1", by="test", now=wall_clock())
        for path in ("/achievements", "/achievements?lang=de", "/achievements/first/why", "/live"):
            response = await client.get(USER + path, headers={**by_token(), "If-None-Match": tag})
            assert (response.status_code, response.json()["title"]) == (410, "Erased"), path


async def test_health_and_the_document_take_no_credential(engine_of: Engine) -> None:
    await engine_of.drain()  # which makes the streams
    async with serving(engine_of.settings) as client:
        await connected(client)
        assert (await client.get("/v1/health")).json() == {"ok": True, "postgresql": True, "nats": True}
        assert (await client.get("/openapi.json")).json()["openapi"] == "3.1.0"


# -- live --------------------------------------------------------------------------------------------------------------


async def test_an_unlock_arrives_live_and_the_answer_is_stale(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client, engine_of.worker():
        await connected(client)
        async with live(client, f"{USER}/live?lang=de", by_token()) as events:
            await until(events, "ready")
            await engine_of.publish([event(0), event(0, user="u2"), event(0, tenant="t2")])
            unlock = await until(events, "unlock")
            said = json.loads(unlock.data)
            assert (said["kind"], said["achievement"], said["title"]) == ("granted", "first", "Erstes")
            assert (said["origin"], said["revision"]) == ("live", 1)
            assert "tenant_id" not in said
            await until(events, "stale")
            assert ids(await client.get(f"{USER}/achievements", headers=by_token()))["first"]["status"] == "earned"


async def test_progress_without_an_unlock_makes_the_answer_stale(engine_of: Engine) -> None:
    async with engine_of.worker() as stats, serving(engine_of.settings) as client:
        await engine_of.publish([event(0)])
        await stats.reach("announced", 1)
        await connected(client)
        async with live(client, f"{USER}/live", by_token()) as events:
            await until(events, "ready")
            before = await client.get(f"{USER}/achievements", headers=by_token())
            await engine_of.publish([event(1)])
            assert (await anext(events)).name == "stale"
            after = await client.get(f"{USER}/achievements", headers=by_token())
            assert ids(after)["far"]["current"] == "2"
            assert after.headers["etag"] != before.headers["etag"]


async def test_a_stream_resumes_where_it_broke_off(engine_of: Engine) -> None:
    await engine_of.publish([event(0)])
    await engine_of.drain()
    async with serving(engine_of.settings) as client:
        await connected(client)
        async with live(client, f"{USER}/live", by_token()) as events:
            begin = await until(events, "ready")
        await engine_of.publish([event(n) for n in range(1, 4)] + [event(n, user="u2") for n in range(4)])
        await engine_of.drain()
        async with live(client, f"{USER}/live", by_token(), **{"Last-Event-ID": begin.id}) as events:
            found = [await until(events, "unlock") for _ in range(3)]
            assert {json.loads(one.data)["achievement"] for one in found} == {"far", "hush", "lured"}
            await until(events, "ready")
            await until(events, "stale")
        async with live(client, f"{USER}/live", by_token(), **{"Last-Event-ID": found[1].id}) as events:
            assert json.loads((await until(events, "unlock")).data) == json.loads(found[2].data)
            await until(events, "ready")
        # An id of another subject says nothing.
        other = "/v1/tenants/t1/users/u2/live"
        async with live(client, other, by_token("u2"), **{"Last-Event-ID": begin.id}) as events:
            assert (await anext(events)).name == "ready"
            assert (await anext(events)).name == "stale"


async def test_what_a_client_has_missed_is_bounded_in_bytes(engine_of: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    await engine_of.drain()
    async with serving(engine_of.settings) as client:
        await connected(client)
        async with live(client, f"{USER}/live", by_token()) as events:
            begin = await until(events, "ready")
        await engine_of.publish([event(n) for n in range(4)])
        await engine_of.drain()
        monkeypatch.setattr("worker.serve.live.MOST_MISSED_BYTES", 700)
        async with live(client, f"{USER}/live", by_token(), **{"Last-Event-ID": begin.id}) as events:
            names = [(await anext(events)).name for _ in range(3)]
            assert names == ["unlock", "skipped", "ready"]


async def test_a_stream_ends_with_its_token(engine_of: Engine) -> None:
    await engine_of.drain()  # which makes the streams
    async with serving(engine_of.settings) as client:
        await connected(client)
        async with live(client, f"{USER}/live", by_token(seconds=1)) as events:
            await until(events, "expired")
            assert [one async for one in events] == []


async def test_streams_are_counted(engine_of: Engine) -> None:
    await engine_of.drain()  # which makes the streams
    async with serving(engine_of.settings, live_per_subject=1) as client:
        await connected(client)
        async with live(client, f"{USER}/live", by_token()) as events:
            await until(events, "ready")
            response = await client.get(f"{USER}/live", headers=by_token())
            assert (response.status_code, response.headers["retry-after"]) == (429, "10")
            assert (await client.head("/v1/tenants/t1/users/u2/live", headers=by_key())).status_code == 200
        with anyio.fail_after(10):  # the place is free again, as soon as the server has seen that
            while (await client.head(f"{USER}/live", headers=by_token())).status_code != 200:  # noqa: ASYNC110
                await anyio.sleep(0.05)


# -- rates, origins ----------------------------------------------------------------------------------------------------


async def test_a_credential_has_a_rate(engine_of: Engine) -> None:
    async with serving(engine_of.settings, token_rate=0.01, token_burst=2) as client:
        found = [await client.get(f"{USER}/achievements", headers=by_token()) for _ in range(3)]
        assert [one.status_code for one in found] == [200, 200, 429]
        assert 90 <= int(found[2].headers["retry-after"]) <= 101
        # Neither another user's nor the tenant's key is meant.
        assert (await client.get("/v1/tenants/t1/users/u2/achievements", headers=by_token("u2"))).status_code == 200
        assert (await client.get(f"{USER}/achievements", headers=by_key())).status_code == 200


async def test_pages_of_known_origins_may_read(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
        preflight = await client.options(f"{USER}/achievements", headers=asked)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, asked["Origin"])
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in preflight.headers
        response = await client.get(f"{USER}/achievements", headers={**by_token(), **asked})
        assert response.headers["access-control-allow-origin"] == asked["Origin"]
        assert "Origin" in response.headers["vary"]
        for origin in ("https://evil.example", "null", "https://app.example.evil.example"):
            refused = await client.options(f"{USER}/achievements", headers={**asked, "Origin": origin})
            assert refused.status_code == 403
            response = await client.get(f"{USER}/achievements", headers={**by_token(), "Origin": origin})
            assert "access-control-allow-origin" not in response.headers


async def test_every_answer_has_the_headers_of_security(engine_of: Engine) -> None:
    async with serving(engine_of.settings) as client:
        for path in (f"{USER}/achievements", "/v1/health", "/nothing", "/openapi.json"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "server" not in headers


# -- rights of the database --------------------------------------------------------------------------------------------

READER_GRANTS = """
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT ON schema_migration, rule_set, rule_version, aggregate, progress, event, event_subject,
  pack, packed_member, unlock, evaluation, erasure, revealed, minute TO {role};
"""


async def test_a_role_that_reads_is_enough(engine_of: Engine) -> None:
    await sent(engine_of, *(event(n, team="red") for n in range(3)))
    role = f"reader_{engine_of.settings.consumer}"
    await engine_of.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    for statement in READER_GRANTS.format(role=role).split(";"):
        if statement.strip():
            await engine_of.rows(statement)
    url = engine_of.settings.database_url
    connection = await asyncpg.connect(url)
    host = url.split("//")[1]
    reader = f"postgresql://{role}:x@{host.rpartition('@')[2]}"
    try:
        settings = engine_of.with_settings(database_url=reader).settings
        async with serving(settings) as client:
            for path in (
                f"{USER}/achievements",
                f"{USER}/achievements/far/why",
                "/v1/tenants/t1/subjects/team/red/achievements",
                "/v1/tenants/t1/subjects/team/red/achievements/crew/why",
                "/v1/tenants/t1/catalogue",
                "/v1/tenants/t1/unlocks",
            ):
                response = await client.get(path, headers=by_key())
                assert response.status_code == 200, (path, response.text)
        as_reader = await asyncpg.connect(reader)
        try:
            for table in ("event", "unlock", "progress", "rule_set", "revealed"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await as_reader.execute(f"DELETE FROM {table}")  # noqa: S608
        finally:
            await as_reader.close()
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()


# -- servers away ------------------------------------------------------------------------------------------------------


async def test_without_nats_there_are_answers(engine_of: Engine) -> None:
    await sent(engine_of, event(0))
    settings = engine_of.with_settings(nats_url="nats://127.0.0.1:1").settings
    async with serving(settings) as client:
        assert (await client.get(f"{USER}/achievements", headers=by_key())).status_code == 200
        response = await client.get(f"{USER}/live", headers=by_token())
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        health = await client.get("/v1/health")
        assert (health.status_code, health.json()) == (503, {"ok": False, "postgresql": True, "nats": False})


async def test_keys_are_for_the_key_s_tenant(engine_of: Engine) -> None:
    assert KEYS["t1"] != KEYS["t2"]
    async with serving(engine_of.settings) as client:
        for tenant in ("t1", "unknown", "%74%31"):
            response = await client.get(f"/v1/tenants/{tenant}/catalogue", headers=by_key("t2"))
            assert response.status_code == 403
            assert response.json()["detail"] == "this credential is not for what the path names"


async def test_without_postgresql_earlier_answers_say_their_age(own_engine: Engine, own_servers: Servers) -> None:
    await own_engine.apply(RULES)
    await own_engine.backfill()
    await sent(own_engine, event(0))
    async with serving(own_engine.settings) as client:
        first = await client.get(f"{USER}/achievements", headers=by_key())
        tag = first.headers["etag"]
        await own_servers.kill_postgres()
        with anyio.fail_after(40):
            for known in ({}, {"If-None-Match": tag}):
                response = await client.get(f"{USER}/achievements", headers={**by_key(), **known})
                body = response.json()
                assert (response.status_code, body["stale"], body["items"]) == (200, True, first.json()["items"])
                assert int(response.headers["age"]) == body["age"] >= 0
                assert "etag" not in response.headers
            for path in ("/v1/tenants/t1/users/u2/achievements", "/v1/tenants/t1/catalogue", "/v1/tenants/t1/unlocks"):
                response = await client.get(path, headers=by_key())
                assert (response.status_code, response.headers["retry-after"]) == (503, "2")
                assert response.json()["title"] == "Temporarily unavailable"
        await own_servers.start_postgres()
        with anyio.fail_after(40):
            while "age" in (response := await client.get(f"{USER}/achievements", headers=by_key())).headers:  # noqa: ASYNC110
                await anyio.sleep(0.1)
        assert response.headers["etag"] == tag

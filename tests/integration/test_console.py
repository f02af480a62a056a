"""The console on real servers, with recorded streams in it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
import httpx
import pytest

from tests.integration.console_world import HOSTILE, HOSTILE_TENANT, OTHER, SECRET, TENANT, note
from tests.integration.consoles import BASE, FILE, TOKENS, client_of, console_on, logged_in
from worker.app import wall_clock
from worker.console.access import read_access
from worker.console.app import Console
from worker.console.desk import Desk
from worker.console.sessions import Sessions
from worker.console.web import POLICY, Door, Entrance
from worker.store import open_store

if TYPE_CHECKING:
    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio


async def form_token(client: httpx.AsyncClient) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', (await client.get("/")).text)
    assert found is not None
    return found[1]


def links_of(text: str) -> set[str]:
    found = {
        one.replace("&amp;", "&").replace("&#39;", "'").partition("#")[0]
        for one in re.findall(r'href="(/[^"]*)"', text)
    }
    return {one for one in found if not one.startswith("/static")}


async def walk(client: httpx.AsyncClient, most: int = 400) -> dict[str, httpx.Response]:
    """Follow every link from the first page on; of pages that differ in the subject alone, some."""
    seen: dict[str, httpx.Response] = {}
    waiting, kinds = ["/"], dict[str, int]()
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        kind = re.sub(r"=[^&]*|\d+|/rules/\w+", "", path)
        if path in seen or kinds.get(kind, 0) >= 12:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
        seen[path] = await client.get(path)
        waiting.extend(sorted(links_of(seen[path].text)))
    return seen


# -- what is shown -----------------------------------------------------------------------------------------------------


async def test_every_page_answers_and_holds_nothing_inline(world: Engine) -> None:
    async with logged_in(world, "ada") as client:
        pages = await walk(client)
    assert len(pages) > 60
    assert {path for path, page in pages.items() if page.status_code != 200} == set()
    for path, page in pages.items():
        assert page.headers["content-security-policy"] == POLICY, path
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<[^>]*\s(style|on\w+)=", page.text), path
        assert not re.search(r"<script(?![^>]* src=\"/static/)[^>]*>", page.text), path
        # But for what a form sends back as it is.
        assert not re.search(r"[\u202a-\u202e\u2066-\u2069\u200b]", re.sub(r'value="[^"]*"', "", page.text)), path
        assert "<img" not in page.text, path
        assert len(page.text) < 2_000_000
    for start in ("/rules", "/subject?", "/subject/why", "/letters/", "/changes/", "/tenant?", "/unlocks/"):
        assert any(path.startswith(start) for path in pages), start


@pytest.mark.parametrize("user", HOSTILE)
async def test_a_hostile_id_has_a_page(world: Engine, user: str) -> None:
    async with logged_in(world, "vera") as client:
        found = await client.get("/subjects", params={"tenant": TENANT, "start": user})
        (link,) = {one for one in links_of(found.text) if one.startswith("/subject?") and "id=" in one}
        page = await client.get(link)
    assert page.status_code == 200
    assert "3 events" in page.text
    assert "writer.bronze" in page.text


async def test_the_first_page_counts_what_workers_did(world: Engine) -> None:
    async with console_on(world) as console:
        snapshot = await console.desk.pulse.snapshot()
    by_tenant = {key[1]: 0 for key in snapshot.minutes}
    for key, counts in snapshot.minutes.items():
        by_tenant[key[1]] += counts.events
    assert by_tenant[TENANT] == 28
    assert by_tenant[OTHER] == 6
    assert by_tenant[HOSTILE_TENANT] == 3
    rows = await world.rows("SELECT count(*) AS events FROM event")
    assert sum(by_tenant.values()) == rows[0]["events"]
    where = "published_at IS NOT NULL AND revoked_at IS NULL"
    unlocks = await world.rows(f"SELECT origin, count(*) AS unlocks FROM unlock WHERE {where} GROUP BY 1")  # noqa: S608
    counted = {row["origin"]: row["unlocks"] for row in unlocks}
    assert sum(one.backfilled for one in snapshot.minutes.values()) == counted["backfill"]
    assert sum(one.unlocks for one in snapshot.minutes.values()) == sum(counted.values()) - counted["backfill"]
    assert sum(sum(one.dead.values()) for one in snapshot.minutes.values()) == 8
    assert sum(sum(one.latency) for one in snapshot.minutes.values()) > 100
    assert {worker.stopped for worker in snapshot.workers} == {True}


async def test_counts_of_workers_and_minutes_add_up(engine: Engine) -> None:
    minute = wall_clock() // 60_000_000 * 60_000_000
    from worker.engine.minutes import Counts  # noqa: PLC0415
    from worker.pipeline.minute_book import minute_columns  # noqa: PLC0415

    some = Counts(events=2, duplicates=1, latency=[1, 0, 2])
    some.dead["contract"] = 3
    more = Counts(events=3, unlocks=1, latency=[0, 1])
    more.dead.update({"contract": 1, "defect": 2})
    async with open_store(engine.settings.database_url) as store:
        for counts in (some, more, Counts()):
            async with store.transaction() as session:
                await session.run("add_minutes", **minute_columns({(minute, "t1", ""): counts}))
    (row,) = await engine.rows("SELECT events, duplicates, unlocks, dead, latency FROM minute WHERE tenant_id = 't1'")
    assert (row["events"], row["duplicates"], row["unlocks"], row["latency"]) == (5, 1, 1, [1, 1, 2])
    assert row["dead"] in ('{"defect": 2, "contract": 4}', '{"contract": 4, "defect": 2}')


async def test_a_hundred_viewers_cost_a_query_a_second(world: Engine) -> None:
    async with console_on(world) as console:
        began = anyio.current_time()
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(console.desk.pulse.snapshot)
        assert console.desk.pulse.queries <= 1 + (anyio.current_time() - began)


async def test_the_stream_sends_the_page_and_ends_with_the_console(world: Engine) -> None:
    async with console_on(world) as console:
        entrance = console.desk.entrance
        person = entrance.access.of_token(TOKENS["vera"])
        assert person is not None
        cookie = entrance.sessions.begin(person, wall_clock())
        got: list[bytes] = []

        async def receive() -> dict[str, object]:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: dict[str, object]) -> None:
            body = message.get("body", b"")
            assert isinstance(body, bytes)
            got.append(body)
            if body:
                console.stopping.set()

        headers = [(b"host", b"127.0.0.1"), (b"cookie", f"ach_console={cookie}".encode())]
        scope = {"type": "http", "method": "GET", "path": "/now/live", "raw_path": b"/now/live", "query_string": b""}
        scope |= {"headers": headers, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "scheme": "http"}
        scope |= {"http_version": "1.1", "root_path": ""}
        with anyio.fail_after(20):
            await console.app()(scope, receive, send)  # pyright: ignore[reportArgumentType]
        said = b"".join(got).decode()
    assert said.startswith("data: ")
    assert all(not line or line.startswith("data: ") for line in said.split("\n"))
    assert "Events a minute" in said
    assert console.streams == 0


# -- who may see what --------------------------------------------------------------------------------------------------


async def test_a_stranger_sees_nothing(world: Engine) -> None:
    async with console_on(world) as console, client_of(console) as client:
        for path in ("/", "/rules", "/subject?tenant=acme&id=ann", "/letters/1", "/changes/1", "/actions"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")
        assert (await client.get("/now/live")).status_code == 403
        for path in ("/letters/1/replay", "/subject/grant?tenant=acme&id=ann", f"/unlocks/{uuid4()}/revoke", "/logout"):
            assert (await client.post(path, data={"sure": "yes"})).status_code == 403
        for cookie in ("", "x", "a.b", "e30=.00"):
            assert (await client.get("/", headers={"cookie": f"ach_console={cookie}"})).status_code == 303
        assert (await client.post("/login", data={"token": "wrong"})).status_code == 403
        for _ in range(10):
            answer = await client.post("/login", data={"token": "wrong"})
        assert answer.status_code == 429
        assert (await client.post("/login", data={"token": TOKENS["ada"]})).status_code == 429


async def test_a_cookie_is_for_pages_of_ours_alone(world: Engine) -> None:
    async with console_on(world) as console, client_of(console) as client:
        answer = await client.post("/login?next=//evil.example", data={"token": TOKENS["vera"]})
        assert answer.headers["location"] == "/"
        said = answer.headers["set-cookie"].lower()
        assert "httponly" in said
        assert "samesite=strict" in said
        away = await client.get("/", headers={"host": "evil.example"})
        assert away.status_code == 421
    async with console_on(world, Door(https=True)) as console, client_of(console) as client:
        answer = await client.post("/login", data={"token": TOKENS["vera"]})
        assert "secure" in answer.headers["set-cookie"].lower()
        assert "strict-transport-security" in answer.headers


async def test_who_sees_one_tenant_sees_no_other(world: Engine) -> None:
    async with logged_in(world, "ann") as client:
        pages = await walk(client)
        asked = [
            f"/subject?tenant={OTHER}&id={SECRET}",
            f"/subject/why?tenant={OTHER}&id={SECRET}&achievement=writer",
            f"/subject/grant?tenant={OTHER}&id={SECRET}",
            f"/subject?tenant={OTHER}&scope=team&id={SECRET}-team",
            f"/subject?tenant={OTHER}&scope=tenant",
            f"/subjects?tenant={OTHER}",
            f"/tenant?id={OTHER}",
            "/tenant?id=*",
            "/tenant",
            "/letters/6",
        ]
        for path in asked:
            answer = pages[path] = await client.get(path)
            assert answer.status_code == 404, path
        pages["letters"] = await client.get(f"/letters?all=1&tenant={OTHER}")
        (row,) = await world.rows("SELECT unlock_id FROM unlock WHERE tenant_id = $1 LIMIT 1", OTHER)
        pages["revoke"] = await client.get(f"/unlocks/{row['unlock_id']}/revoke")
        assert pages["revoke"].status_code == 404
    assert len(pages) > 60
    for path, page in pages.items():
        for leak in (SECRET, "lark-parser", "t&amp;&lt;", ".raw"):
            assert leak not in page.text.replace(path, ""), (path, leak)


async def test_a_proxy_names_persons_where_it_is_believed(world: Engine) -> None:
    door = Door(header="X-Remote-User")
    async with console_on(world, door) as console, client_of(console) as client:
        assert (await client.get("/")).status_code == 403
        assert (await client.get("/", headers={"X-Remote-User": "vera"})).status_code == 200
        # The star stands for those that the file does not name, with what it allows.
        assert (await client.get(f"/tenant?id={OTHER}", headers={"X-Remote-User": "eve"})).status_code == 404
        two = [("X-Remote-User", "eve"), ("X-Remote-User", "ada")]
        assert (await client.get("/", headers=two)).status_code == 403
        cookie = console.desk.entrance.sessions.begin(read_access(FILE).of_token(TOKENS["ada"]), wall_clock())  # pyright: ignore[reportArgumentType]
        assert (await client.get("/", headers={"cookie": f"ach_console={cookie}"})).status_code == 403
        far = httpx.ASGITransport(console.app(), client=("192.0.2.7", 5))
        async with httpx.AsyncClient(transport=far, base_url=BASE) as stranger:
            assert (await stranger.get("/", headers={"X-Remote-User": "ada"})).status_code == 403
    async with console_on(world) as console, client_of(console) as client:
        assert (await client.get("/", headers={"X-Remote-User": "ada"})).status_code == 303


# -- what is done ------------------------------------------------------------------------------------------------------


async def actions(engine: Engine) -> list[tuple[str, str, str, str]]:
    rows = await engine.rows("SELECT actor, kind, reason, outcome FROM action ORDER BY action_id")
    return [(row["actor"], row["kind"], row["reason"], row["outcome"]) for row in rows]


async def test_actions_take_the_role_the_form_and_a_reason(world: Engine) -> None:
    before = await actions(world)
    path = "/subject/grant?tenant=acme&id=ben"
    form = {"sure": "yes", "achievement": "writer.gold", "reason": "because"}
    async with logged_in(world, "vera") as client:
        token = await form_token(client)
        assert (await client.get(path)).status_code == 403
        assert (await client.post(path, data={**form, "form_token": token})).status_code == 403
    async with logged_in(world, "ada") as client:
        own = await form_token(client)
        assert (await client.get(path)).status_code == 200
        for wrong in ("", token, own[:-1]):
            assert (await client.post(path, data={**form, "form_token": wrong})).status_code == 403
        good = {**form, "form_token": own}
        for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil"}):
            assert (await client.post(path, data=good, headers=headers)).status_code == 403
        assert (await client.post(path, content="{}", headers={"content-type": "application/json"})).status_code == 400
        assert (await client.post(path, data={**good, "reason": " "})).status_code == 409
        assert (await client.post(path, data={**good, "reason": "x" * 5000})).status_code == 409
        # Asking is no doing.
        assert (await client.post(path, data={**good, "sure": ""})).status_code == 200
        assert (await client.post(path, data={**good, "x": "y" * 4_000_000})).status_code == 400
    assert await actions(world) == before


async def test_a_grant_and_a_revocation_are_done_and_written_down(world: Engine) -> None:
    async with logged_in(world, "ann") as client:
        token = await form_token(client)
        form = {"form_token": token, "sure": "yes", "reason": "won <b>it</b>"}
        path = "/subject/grant?tenant=acme&id=ben"
        wrong = await client.post(path, data={**form, "achievement": "nothing"})
        assert wrong.status_code == 409
        assert "there is no achievement nothing" in wrong.text
        done = await client.post(path, data={**form, "achievement": "writer.gold"})
        assert done.status_code == 303
        page = await client.get(done.headers["location"])
        assert "Done:" in page.text
        (row,) = await world.rows("SELECT unlock_id, by_hand FROM unlock WHERE subject = 'ben' AND tier = 'gold'")
        assert row["by_hand"]
        revoke = f"/unlocks/{row['unlock_id']}/revoke"
        assert "writer" in (await client.get(revoke)).text
        assert (await client.post(revoke, data=form)).status_code == 303
        assert (await client.get(revoke)).status_code == 404
        log = (await client.get("/actions")).text
        assert "won &lt;b&gt;it&lt;/b&gt;" in log
    found = await actions(world)
    assert found[-3:] == [
        ("ann", "grant", "won <b>it</b>", "failed"),
        ("ann", "grant", "won <b>it</b>", "done"),
        ("ann", "revoke", "won <b>it</b>", "done"),
    ]
    (row,) = await world.rows("SELECT actor, reason FROM evaluation WHERE decision = 'revoked' AND subject = 'ben'")
    assert (row["actor"], row["reason"]) == ("ann", "won <b>it</b>")


async def test_a_dead_letter_is_mended_and_sent_again(world: Engine) -> None:
    (row,) = await world.rows(
        "SELECT dead_letter_id FROM dead_letter WHERE detail LIKE '%30676%' OR detail LIKE '%ahead%' ORDER BY 1 LIMIT 1"
    )
    path = f"/letters/{row['dead_letter_id']}"
    async with logged_in(world, "ada") as client:
        token = await form_token(client)
        page = (await client.get(path)).text
        assert "form_token" in page
        event = {**note(1, "ann", words=1), "event_id": "mended"}
        body = json.dumps(event, indent=1).replace("\n", "\r\n")
        wrong = await client.post(f"{path}/replay", data={"form_token": token, "body": body.replace("acme", "globex")})
        assert "would die again: tenant_mismatch" in wrong.text
        asked = await client.post(f"{path}/replay", data={"form_token": token, "body": body})
        assert "would be accepted" in asked.text
        form = {"form_token": token, "body": body, "sure": "yes", "reason": "a clock was wrong"}
        done = await client.post(f"{path}/replay", data=form)
        assert done.status_code == 303
        assert "sent again" in (await client.get(done.headers["location"])).text
    await world.drain()
    assert await world.rows("SELECT FROM event WHERE event_id = 'mended' AND tenant_id = 'acme'") != []
    assert (await actions(world))[-1] == ("ada", "replay", "a clock was wrong", "done")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_without_a_database_pages_say_so_and_the_first_one_how_old_it_is(own_engine: Engine) -> None:
    async with open_store("postgresql://127.0.0.1:1/none") as store:
        access = read_access(FILE)
        desk = Desk(store, own_engine.settings, Entrance(access, Sessions(access), Door()), now=wall_clock)
        async with client_of(Console(desk)) as client:
            await client.post("/login", data={"token": TOKENS["vera"]})
            for path in ("/", "/rules", "/letters", "/subject?tenant=a&id=b"):
                answer = await client.get(path)
                assert answer.status_code == 503
                assert "PostgreSQL does not answer" in answer.text
    async with console_on(own_engine) as console:
        before = await console.desk.pulse.snapshot()
        await console.desk.store.close()
        console.desk.pulse._read_at = float("-inf")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - a second has gone by
        after = await console.desk.pulse.snapshot()
    assert after.at == before.at
    assert after.away_since is not None


async def test_an_empty_deployment_says_what_to_do(engine: Engine) -> None:
    async with logged_in(engine, "ada") as client:
        for path, said in (
            ("/", "Nothing has happened"),
            ("/letters", "No dead letter waits"),
            ("/tenants", "No tenant has sent an event"),
            ("/subjects", "No events so far"),
            ("/actions", "Nothing was done so far"),
            ("/rules/three", "No one has it yet"),
            ("/subject?tenant=t&id=u", "Nothing is known of this user"),
        ):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert said in answer.text, path
        for path in (
            "/rules/none",
            "/letters/1",
            "/changes/99",
            "/changes/99999999999999999999",
            "/subject",
            "/nothing",
        ):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.get("/subject", params={"tenant": "t", "id": "a\0b"})).status_code == 404
        assert (await client.get("/subject", params={"tenant": "t", "id": "x" * 2000})).status_code == 404
        odd = await client.get("/subject", params={"tenant": "t", "scope": "no such", "id": "u"})
        assert odd.status_code == 200
        assert (await client.get("/letters?before=abc")).status_code == 200
        assert (await client.get("/letters?before=²")).status_code == 200

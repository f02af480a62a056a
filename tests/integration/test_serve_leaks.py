"""All routes, for users of all fixtures with rules that hide something: no answer has a word of what is hidden.

Nor has any a name of another tenant, whose users have done the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import anyio
import nats
import pytest

from dsl.outcome import Subject, full_name
from tests.acceptance.test_view import declared, folds, words_of
from tests.fixture_library import NOW, Fixture, histories, stories
from tests.integration.serving import CURSOR_KEY, config_of, connected, live, serving
from worker.contract.partition import token
from worker.engine.answer import OPERATOR
from worker.local.replay_worker import replay_on
from worker.rulefiles import load
from worker.serve.access import hash_of, new_key
from worker.serve.config import Tenant
from worker.serve.hub import Hub
from worker.serve.openapi import document_text
from worker.settings import Clock, Settings
from worker.store import open_store
from worker.view.reader import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx

    from dsl.ruleset import RuleSet
    from worker.engine.answer import Standing

pytestmark = pytest.mark.anyio

LINES: Final = 120
"""Of a stream."""
ASKED: Final = 2
"""Subjects of a fixture, those first that have most hidden from them."""
FOREIGN: Final = "zz-foreign"
"""In the names of the other tenant and its users."""


def hides(fixture: Fixture) -> bool:
    # All users of `families` have its secret tier.
    return fixture.name != "families" and any(
        reveal is not None and reveal.kind != "always"
        for versions in load([fixture.rules]).rules.achievements.values()
        for version in versions
        for reveal in (version.reveal, *(tier.reveal for tier in version.tiers))
    )


HIDING: Final = [one for one in [*stories(), *histories()[:1]] if hides(one)]


class Cut(NamedTuple):
    """The beginning of a fixture's stream, as a fixture."""

    fixture: Fixture

    def lines(self) -> list[bytes]:
        return self.fixture.lines()[:LINES]


def foreign(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same events of another tenant's users."""
    for line in lines:
        event = json.loads(line)
        if isinstance(event, dict):
            names = {"tenant_id": FOREIGN, "user_id": f"{FOREIGN}-{event.get('user_id')}"}
            yield json.dumps({**event, **names}).encode()


class World(NamedTuple):
    """A deployment that is served, and what may be said there."""

    rules: RuleSet
    standings: dict[Subject, Standing]
    """As operators see them, of the asked subjects."""
    client: httpx.AsyncClient
    keys: dict[str, str]

    def by_key(self, tenant: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[tenant]}"}

    def hidden(self, standings: Iterable[Standing], *, names: set[str] | None = None) -> set[bytes]:
        """Return the words that only say what some subjects do not see; of all but some ids, where those are given."""
        secret, known = set[bytes](), set[bytes]()
        for standing in standings:
            for item in standing.items:
                words = words_of(self.rules, (item.achievement, item.tier), item)
                hidden = item.hidden if names is None else item.id not in names
                (secret if hidden else known).update(words)
        return secret - known


def check(words: set[bytes], body: bytes, headers: object, where: str) -> None:
    said = body + str(headers).encode()
    assert not [word for word in words if word in said], (where, body)
    assert FOREIGN.encode() not in said, (where, body)


async def check_subject(world: World, subject: Subject, standing: Standing) -> None:
    """Ask all that there is about one subject."""
    words = world.hidden([standing])
    assert words or not any(item.hidden for item in standing.items)
    path = f"/v1/tenants/{quote(subject.tenant_id, safe='')}/subjects/{subject.scope}/{quote(subject.subject, safe='')}"
    key, client = world.by_key(subject.tenant_id), world.client
    whole = await client.get(f"{path}/achievements", headers=key)
    assert whole.status_code == 200
    assert whole.json()["hidden"] == sum(item.hidden for item in standing.items)
    check(words, whole.content, whole.headers, path)
    for family in sorted({item.family for item in standing.items if item.family}):
        part = await client.get(f"{path}/achievements?family={quote(family)}&lang=de", headers=key)
        check(words, part.content, part.headers, f"{path} {family}")
    refused = await client.get(f"{path}/achievements/nothing/why", headers=key)
    for item in standing.items:
        why = await client.get(f"{path}/achievements/{item.id}/why", headers=key)
        check(words, why.content, why.headers, f"{path} {item.id}")
        if item.hidden:  # as if there were none, to the letter
            assert (why.status_code, why.content) == (404, refused.content)
    hub = Hub(config_of(cursor_key=CURSOR_KEY))
    begin = {"Last-Event-ID": hub.id_of(subject, 0).decode()}
    async with live(client, f"{path}/live", key, **begin) as events:
        async for event in events:
            check(words, event.data.encode(), event.name, f"{path}/live")
            if event.name == "ready":
                break


async def check_tenant(world: World, tenant: str) -> None:
    """Ask for the catalogue and the feed: of these, all may know what some subject was granted."""
    standings = [standing for subject, standing in world.standings.items() if subject.tenant_id == tenant]
    path, key = f"/v1/tenants/{quote(tenant, safe='')}", world.by_key(tenant)
    offer = await world.client.get(f"{path}/catalogue", headers=key)
    public = {item.id for one in standings for item in one.items if is_public(world.rules, item)}
    assert {item["id"] for item in offer.json()["items"]} >= public
    check(world.hidden(standings, names=public), offer.content, offer.headers, path)
    feed = await world.client.get(f"{path}/unlocks?limit=1000&corrections=true", headers=key)
    granted = {full_name(one["achievement"], one["tier"] or "") for one in feed.json()["unlocks"]}
    check(world.hidden(standings, names=granted), feed.content, feed.headers, path)


def is_public(rules: RuleSet, item: Any) -> bool:  # noqa: ANN401 - an item of a standing
    version, tier = declared(rules, (item.achievement, item.tier), item.version)
    reveal = (tier.reveal if tier is not None else None) or version.reveal
    return reveal is None or reveal.kind == "always"


async def check_service(world: World, settings: Settings, subject: Subject, standing: Standing) -> None:
    """Ask the service on NATS."""
    words, named = world.hidden([standing]), {"scope": subject.scope, "subject": subject.subject}
    client = await nats.connect(settings.nats_url)
    try:
        for what, request in [
            ("progress", named),
            *(("why", {**named, "achievement": item.id}) for item in standing.items if item.hidden),
        ]:
            to = f"ach.v1.{token(subject.tenant_id)}.{what}"
            said = await client.request(to, json.dumps(request).encode(), timeout=10)
            check(words, said.data, said.headers, f"{to} {request}")
    finally:
        await client.close()


async def check_open(world: World) -> None:
    """Ask what takes no credential: that says the same everywhere."""
    assert (await world.client.get("/openapi.json")).text == document_text()
    assert (await world.client.get("/v1/health")).json() == {"ok": True, "postgresql": True, "nats": True}


@pytest.mark.parametrize("fixture", [pytest.param(one, id=one.name) for one in HIDING])
async def test_no_route_says_what_is_hidden_or_another_s(fixture: Fixture, nats_url: str, database_url: str) -> None:
    settings = Settings(nats_url=nats_url, database_url=database_url, clock=Clock.STREAM)
    rules, cut = load([fixture.rules]), fixture.lines()[:LINES]
    with anyio.fail_after(60):
        lines = [*cut, *foreign(cut)]
        await replay_on(settings, rules, lines, now=NOW, on_progress=lambda what, done: None)
    standings: dict[Subject, Standing] = {}
    async with open_store(database_url) as store:
        view = View(store, settings)
        for subject in folds(Cut(fixture), rules):  # type: ignore[arg-type]
            standings[subject] = await view.standing(subject, OPERATOR, NOW)
    asked = sorted(standings, key=lambda one: (-sum(item.hidden for item in standings[one].items), one))[:ASKED]
    keys = {tenant: new_key() for tenant in {subject.tenant_id for subject in standings}}
    tenants = {tenant: Tenant([hash_of(key)]) for tenant, key in keys.items()}
    async with serving(settings, tenants=tenants, key_rate=10_000, key_burst=10_000) as client:
        await connected(client)
        world = World(rules, standings, client, keys)
        assert any(item.hidden for item in standings[asked[0]].items)
        for subject in asked:
            await check_subject(world, subject, standings[subject])
        for tenant in keys:
            await check_tenant(world, tenant)
        await check_service(world, settings, asked[0], standings[asked[0]])
        await check_open(world)

"""What HTTP says of users of every fixture is what the fold says, and nothing that is hidden leaks.

Of the long streams a sample of users is asked for; `just faults-long` asks for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
import msgspec
import pytest

from tests.acceptance.test_view import (
    EVERYTHING,
    PATIENCE,
    Seen,
    check_item,
    check_leaks,
    check_visible,
    folds,
    sampled,
)
from tests.fixture_library import NOW
from tests.integration.serving import serving
from worker.engine.answer import OPERATOR, Shown, Standing
from worker.local.replay_worker import replay_on
from worker.rulefiles import load
from worker.serve.access import hash_of, new_key
from worker.serve.config import Tenant
from worker.settings import Clock, Settings
from worker.store import open_store
from worker.view.reader import View

if TYPE_CHECKING:
    import httpx

    from dsl.outcome import Subject
    from tests.fixture_library import Fixture

pytestmark = pytest.mark.anyio


def path_of(subject: Subject) -> str:
    tenant, scope, name = (quote(part, safe="").replace(".", "%2E") for part in subject)
    return f"/v1/tenants/{tenant}/subjects/{scope}/{name}/achievements"


async def ask(client: httpx.AsyncClient, subject: Subject, key: str) -> Standing:
    response = await client.get(path_of(subject), headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=Standing)


@pytest.mark.timeout(300)  # in the long form two thousand answers, one after another
@pytest.mark.parametrize("fixture", [pytest.param(each, id=each.name) for each in EVERYTHING])
async def test_http_says_what_the_fold_says(fixture: Fixture, nats_url: str, database_url: str) -> None:
    settings = Settings(nats_url=nats_url, database_url=database_url, clock=Clock.STREAM)
    rules = load([fixture.rules])
    with anyio.fail_after(PATIENCE):
        await replay_on(settings, rules, fixture.lines(), now=NOW, on_progress=lambda what, done: None)
    expected = sampled(folds(fixture, rules))
    keys = {subject.tenant_id: new_key() for subject in expected}
    tenants = {name: Tenant([hash_of(key)]) for name, key in keys.items()}
    async with (
        open_store(database_url) as store,
        serving(settings, tenants=tenants, reveal=True, service=False, key_rate=1e6, key_burst=1_000_000) as client,
    ):
        view = View(store, settings)
        for subject, one in expected.items():
            said = await ask(client, subject, keys[subject.tenant_id])
            everything = await view.standing(subject, OPERATOR, NOW)
            found = Seen(one, said, said, everything)
            for item in said.items:
                check_shown(item, found)
            check_visible(rules, found)
            check_leaks(rules, found)


def check_shown(item: Shown, found: Seen) -> None:
    key = (item.achievement, item.tier)
    if key in found.expected.folded:
        check_item(item, found.expected.folded[key], found.expected)
    else:
        assert any(grant[:2] == key for grant in found.expected.grants)

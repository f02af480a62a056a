"""The feed of unlocks: pages in order, each once, whatever commits meanwhile."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.integration.engine import event
from tests.integration.pipelines import sent
from tests.integration.views import RULES
from worker.admin.revocation import revoke
from worker.app import wall_clock
from worker.engine.answer import OPERATOR
from worker.engine.cursor import CursorError
from worker.engine.entries import Catalogue
from worker.pipeline.rules_in_force import load_deployed
from worker.store import open_store
from worker.view.unlocks import ALL, MOST_SCANNED, Unlocks, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from tests.integration.engine import Engine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine_of(engine: Engine) -> Engine:
    await engine.apply(RULES)
    await engine.backfill()
    return engine


@asynccontextmanager
async def books_of(engine: Engine) -> AsyncGenerator[tuple[Unlocks, Catalogue]]:
    async with open_store(engine.settings.database_url) as store:
        yield Unlocks(store, key=b"k"), Catalogue(await load_deployed(store, engine.settings))


async def read_all(books: Unlocks, catalogue: Catalogue, wanted: Wanted, since: str | None = None) -> Sequence[Any]:
    found: list[Any] = []
    more = True
    while more:
        page = await books.page(catalogue, wanted, OPERATOR, since)
        found.extend(page.unlocks)
        since, more = page.cursor, page.more
    return found


async def test_pages_have_every_unlock_once(engine_of: Engine) -> None:
    for user in range(7):
        await sent(engine_of, *(event(n, user=f"v{user}") for n in range(2)), event(0, user=f"v{user}", tenant="t2"))
    async with books_of(engine_of) as (books, catalogue):
        for limit in (1, 3, 1000):
            found = await read_all(books, catalogue, Wanted("t1", limit))
            assert [(one.subject, one.achievement, one.tier) for one in found] == [
                (f"v{user}", "steps", "low") for user in range(7)
            ]
        assert (found[0].kind, found[0].status, found[0].title, bytes(found[0].reward)) == (
            "granted", "granted", "Steps", b'{"xp": 1}'
        )  # fmt: skip
        assert await read_all(books, catalogue, Wanted("t2")) == []
        here = await books.now("t1")
        assert await read_all(books, catalogue, Wanted("t1"), here) == []
        async with open_store(engine_of.settings.database_url) as store:
            (row,) = await engine_of.rows("SELECT unlock_id FROM unlock WHERE subject = 'v3'")
            await revoke(store, row["unlock_id"], now=wall_clock(), by="x", reason="y")
        assert await read_all(books, catalogue, Wanted("t1"), here) == []
        (gone,) = await read_all(books, catalogue, Wanted("t1", kinds=ALL), here)
        assert (gone.kind, gone.status, gone.subject, gone.revision) == ("revoked", "revoked", "v3", 2)
        for cursor in (here[:-2], "", "x" * 500, "é", here[::-1]):
            with pytest.raises(CursorError):
                await books.page(catalogue, Wanted("t1"), OPERATOR, cursor)
        with pytest.raises(CursorError):
            await books.page(catalogue, Wanted("t2"), OPERATOR, here)


OF_OTHERS = """
INSERT INTO evaluation (
    decided_at, tenant_id, scope, subject, achievement, version, decision, final, earned_at, event_id)
SELECT now(), $1, 'user', 'u', 'a', 1, 'withdrawn', false, now(), 'e' FROM generate_series(1, $2)
"""


async def test_a_page_ends_with_what_its_own_tenant_has_decided(
    engine_of: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(engine_of.settings.database_url)
    try:
        await sent(engine_of, *(event(n, user="first") for n in range(2)))
        await connection.execute(OF_OTHERS, "large", MOST_SCANNED + 1)
        await sent(engine_of, *(event(n, user="second") for n in range(2)))
        async with books_of(engine_of) as (books, catalogue):
            page = await books.page(catalogue, Wanted("t1"), OPERATOR, None)
            assert ([one.subject for one in page.unlocks], page.more) == (["first", "second"], False)
            # Of what is no unlock it looks at no more than so much.
            monkeypatch.setattr("worker.view.unlocks.MOST_SCANNED", 3)
            await connection.execute(OF_OTHERS, "t1", 4)
            await sent(engine_of, *(event(n, user="third") for n in range(2)))
            empty = await books.page(catalogue, Wanted("t1"), OPERATOR, page.cursor)
            assert (empty.unlocks, empty.more) == ([], True)
            rest = await read_all(books, catalogue, Wanted("t1"), empty.cursor)
            assert [one.subject for one in rest] == ["third"]
    finally:
        await connection.close()


GRANT = """
WITH new AS (
    INSERT INTO unlock (tenant_id, scope, subject, achievement, unlock_id, version, earned_at, event_id, granted_at)
    VALUES ('t1', 'user', $1, 'far', gen_random_uuid(), 1, now(), 'e', now())
    RETURNING *
)
INSERT INTO evaluation (
    decided_at, tenant_id, scope, subject, achievement, version, decision, final, earned_at, event_id)
SELECT now(), tenant_id, scope, subject, achievement, version, 'granted', false, earned_at, event_id
FROM new
"""


@pytest.mark.parametrize("first", ["early", "late"])
async def test_no_reader_skips_what_commits_later(engine_of: Engine, first: str) -> None:
    """Two transactions take numbers, and the one with the higher number commits first: whichever began before."""
    url = engine_of.settings.database_url
    early, late = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with books_of(engine_of) as (books, catalogue):
            one, other = early.transaction(), late.transaction()
            await one.start()
            await other.start()
            begins = [early, late] if first == "early" else [late, early]
            for connection in begins:  # a worker holds its partition before it grants
                await connection.fetchval("SELECT pg_current_xact_id()::text")
            await early.execute(GRANT, "slow")
            await late.execute(GRANT, "quick")
            await other.commit()
            page = await books.page(catalogue, Wanted("t1"), OPERATOR, None)
            assert (page.unlocks, page.more) == ([], False)
            await one.commit()
            found = await read_all(books, catalogue, Wanted("t1"), page.cursor)
            assert [each.subject for each in found] == ["slow", "quick"]
    finally:
        await early.close()
        await late.close()


async def test_a_number_that_was_rolled_back_holds_up_no_reader(engine_of: Engine) -> None:
    connection = await asyncpg.connect(engine_of.settings.database_url)
    try:
        async with books_of(engine_of) as (books, catalogue):
            failing = connection.transaction()
            await failing.start()
            await connection.execute(GRANT, "never")
            await sent(engine_of, event(0), event(1))
            assert await read_all(books, catalogue, Wanted("t1")) == []
            await failing.rollback()
            assert [each.subject for each in await read_all(books, catalogue, Wanted("t1"))] == ["u1"]
    finally:
        await connection.close()

"""Through PgBouncer in transaction mode, with fewer sessions of the server than the worker has connections."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import anyio
import asyncpg
import pytest

from tests.integration.engine import PATIENCE, Engine, event
from tests.integration.poolers import here, newer, pgbouncer
from worker.admin.results import read_results
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Pooler
from worker.store import SETTINGS, RefusedError, UnavailableError, UnusableError, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.acceptance.herd import Herd
    from tests.integration import poolers
    from worker.local.servers import Servers
    from worker.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.operate, pytest.mark.timeout(600)]  # fetches Debian's packages

KEEPS_STATEMENTS: Final = (1, 21)
"""The release of PgBouncer that keeps named statements."""


@pytest.fixture(scope="module", params=[here, newer], ids=["here", "newer"])
async def pooler(servers: Servers, request: pytest.FixtureRequest) -> AsyncGenerator[poolers.Pooler]:
    async with pgbouncer(servers, request.param()) as running:
        yield running


def through(engine: Engine, pooler: poolers.Pooler) -> Engine:
    """Return an engine whose database is behind the pooler."""
    url = pooler.url_of(engine.settings.database_url)
    return engine.with_settings(database_url=url, pooler=Pooler.TRANSACTION)


async def digest_of(engine: Engine) -> str:
    settings = engine.settings
    async with open_store(settings.database_url, pooler=settings.pooler) as store:
        return (await read_results(store, await load_deployed(store, settings))).digest


async def test_a_worker_grants_the_same(engine: Engine, pooler: poolers.Pooler) -> None:
    """Migrations, rules, four writers, late events, dead letters and a backfill; then what a direct one reads."""
    pooled = through(engine, pooler)
    every = [event(n, user=f"u{n % 40}", team="red") for n in range(600)]
    await pooled.publish([*every[300:], b"nonsense", *every[:300], *every[:50]])
    stats = await pooled.drain(writers=4, writer_events=50)
    assert (stats.events, stats.duplicates, sum(stats.dead.values())) == (600, 50, 1)
    await pooled.apply("event a.done { team: string? }\nachievement five { when count(event=a.done, >= 5) }")
    await pooled.backfill()
    assert len(await engine.unlocks()) >= 80
    assert await digest_of(pooled) == await digest_of(engine)


async def test_migrations_run_through_it(database_url: str, pooler: poolers.Pooler) -> None:
    async with open_store(pooler.url_of(database_url), pooler=Pooler.TRANSACTION) as store:
        await store.migrate(now=1)
        await store.check_schema()
        assert await store.migrate(now=1) == []


async def test_settings_hold_in_each_transaction_and_stay_in_none(engine: Engine, pooler: poolers.Pooler) -> None:
    asked = "SELECT current_setting('enable_seqscan'), current_setting('statement_timeout')"
    url = through(engine, pooler).settings.database_url
    async with open_store(url, pooler=Pooler.TRANSACTION) as store:
        async with store.transaction() as session:
            assert tuple(*await raw(session).fetch(asked)) == ("off", "45s")
        async with store.transaction(patient=True) as session:
            assert tuple(*await raw(session).fetch(asked)) == ("off", "0")
        async with store.alone() as session:
            assert tuple(*await raw(session).fetch(asked)) == ("off", "45s")
        with pytest.raises(RefusedError):
            async with store.transaction() as session:
                await session.script("SELECT 1 / 0")
    other = await asyncpg.connect(url, statement_cache_size=0)
    try:
        async with other.transaction():
            assert tuple(*await other.fetch(asked)) == ("on", "0")
            assert await other.fetch("SELECT name FROM pg_prepared_statements WHERE name <> ''") == []
            assert await other.fetch("SELECT name FROM pg_cursors WHERE name <> ''") == []
    finally:
        await other.close()


async def test_many_clients_share_few_sessions(engine: Engine, pooler: poolers.Pooler) -> None:
    """Each asks something else, so that an answer to another one's question is seen."""

    async def ask(store: Store, number: int) -> None:
        for turn in range(20):
            wanted = number * 1000 + turn
            async with store.alone() as session:
                assert await raw(session).fetchval(f"SELECT {wanted} + $1::integer", number) == wanted + number
            async with store.transaction() as session:
                found = [page async for page in session.pages(tuple, "subjects_of_scope", **NONE)]
                assert found == [[]]

    async with (
        open_store(through(engine, pooler).settings.database_url, connections=12, pooler=Pooler.TRANSACTION) as store,
        anyio.create_task_group() as tasks,
    ):
        for number in range(12):
            tasks.start_soon(ask, store.kept(), number)


async def test_a_transaction_that_is_cancelled_leaves_its_session_clean(engine: Engine, pooler: poolers.Pooler) -> None:
    async with open_store(
        through(engine, pooler).settings.database_url, connections=1, pooler=Pooler.TRANSACTION
    ) as store:
        kept = store.kept()
        for _ in range(3):
            with anyio.move_on_after(0.2):
                async with kept.transaction() as session:
                    await session.run("hold_all_partitions")
                    await session.script("SELECT pg_sleep(30)")
        async with kept.transaction() as session:
            assert await session.run("hold_all_partitions")
    assert await engine.rows("SELECT FROM pg_stat_activity WHERE state = 'idle in transaction'") == []


# -- a pooler that the settings say nothing of -------------------------------------------------------------------------


async def test_a_pooler_that_was_not_named_is_recognised(engine: Engine, pooler: poolers.Pooler) -> None:
    async with open_store(pooler.url_of(engine.settings.database_url)) as store:
        with pytest.raises(UnusableError, match=r"unsupported startup parameter.*; a pooler .* set ACH_POOLER=transac"):
            await store.ping()


def version_of(pooler: poolers.Pooler) -> tuple[int, ...]:
    said = subprocess.run([*pooler.command, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")))


async def test_one_that_swallows_settings_is_recognised_by_lost_statements(
    engine: Engine, pooler: poolers.Pooler, servers: Servers
) -> None:
    # Later releases keep named statements for their clients, unless that is switched off.
    keeps = version_of(pooler) >= KEEPS_STATEMENTS
    more = "max_prepared_statements = 0" if keeps else ""
    ignored = ", ".join(name for name in SETTINGS if name not in {"application_name", "timezone"})
    async with (
        pgbouncer(servers, pooler.command, f"ignore_startup_parameters = {ignored}\n{more}") as swallowing,
        open_store(swallowing.url_of(engine.settings.database_url), connections=8) as store,
    ):
        with pytest.raises(UnusableError, match=r"prepared statement .*; a pooler .* set ACH_POOLER=transaction"):
            await until_lost(store)


async def until_lost(store: Store) -> None:
    """Use a connection again while another one has the session of the server that it used before."""
    one, other = store.kept(), store.kept()
    async with one.alone() as session:
        await session.value(int, "count_partitions")
    async with other.transaction() as holding:
        await holding.value(int, "epoch_in_force")
        async with one.alone() as session:
            await session.value(int, "count_partitions")


async def test_commands_say_so_and_work_once_it_is_set(
    engine: Engine, pooler: poolers.Pooler, commands: Herd, tmp_path: Path
) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "NATS_URL": engine.settings.nats_url,
        "DATABASE_URL": pooler.url_of(engine.settings.database_url),
        "ACH_CONSUMER": engine.settings.consumer,
    }
    for command in (("run", "--drain"), ("unlocks",)):
        refused = await anyio.to_thread.run_sync(commands.run, command, environment, tmp_path)
        assert refused.code == 1
        assert "set ACH_POOLER=transaction" in refused.err
        environment["ACH_POOLER"] = "transaction"
        ran = await anyio.to_thread.run_sync(commands.run, command, environment, tmp_path)
        assert (ran.code, ran.out if command[0] == "run" else "") == (0, ""), ran.err
        del environment["ACH_POOLER"]


async def test_a_server_that_is_away_behind_it_is_waited_for(own_servers: Servers, pooler: poolers.Pooler) -> None:
    async with (
        pgbouncer(own_servers, pooler.command, "server_login_retry = 1\nquery_wait_timeout = 3") as running,
        open_store(running.url_of(own_servers.database_url), pooler=Pooler.TRANSACTION) as store,
    ):
        await store.migrate(now=1)
        await own_servers.kill_postgres()
        with pytest.raises(UnavailableError) as caught:
            await store.ping()
        assert not isinstance(caught.value, UnusableError)
        await own_servers.start_postgres()
        with anyio.fail_after(PATIENCE):
            while not await answers(store):  # noqa: ASYNC110 - a server does not say when it is back
                await anyio.sleep(0.1)


async def answers(store: Store) -> bool:
    try:
        await store.ping()
    except UnavailableError:
        return False
    return True


NONE = {"scope": "team", "after_tenant": "", "after_subject": "", "limit": 5}


def raw(session: object) -> asyncpg.Connection:
    """Return what a session asks, to ask it something that has no name."""
    return session._connection  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]

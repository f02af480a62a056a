"""Connections: those that are kept between two uses, and those that cannot be made."""

from __future__ import annotations

import errno
import socket
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import asyncpg
import pytest

from tests.integration.engine import PATIENCE
from worker.commands.servers import CommandError, command_errors
from worker.probes.schema import watch_schema
from worker.store import (
    SEND_BYTES,
    DiskFullError,
    OvertakenError,
    RefusedError,
    Store,
    UnavailableError,
    UnusableError,
    make_room,
    open_store,
)

if TYPE_CHECKING:
    from tests.integration.engine import Engine
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio


async def backend_of(store: Store) -> int:
    """Return which of the server's processes serves."""
    async with store.alone() as session:
        return await session._connection.fetchval("SELECT pg_backend_pid()")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


async def test_it_is_the_same_one(engine: Engine) -> None:
    async with open_store(engine.settings.database_url) as store:
        one, other = store.kept(), store.kept()
        mine = await backend_of(one)
        assert await backend_of(other) != mine
        async with one.transaction() as session:
            await session.run("count_partitions")
        assert await backend_of(one) == mine
        assert await backend_of(store) not in {mine, await backend_of(other)}


async def test_after_an_error_the_connection_can_be_used_again(engine: Engine) -> None:
    async with open_store(engine.settings.database_url, connections=1) as store:
        kept = store.kept()
        mine = await backend_of(kept)
        with pytest.raises(OvertakenError):
            async with kept.alone():
                raise OvertakenError("partition_moved")
        assert await backend_of(store) == mine
        assert await backend_of(kept) == mine


async def test_a_statement_that_is_overtaken_is_known_by_its_code(engine: Engine) -> None:
    async with open_store(engine.settings.database_url) as store:
        with pytest.raises(OvertakenError, match="partition_moved"):
            async with store.alone() as session:
                await session.script("SELECT overtaken('partition_moved', 0)")
        with pytest.raises(RefusedError):
            async with store.alone() as session:
                await session.script("SELECT 'overtaken: 0'::integer")


async def test_a_full_disk_is_known_by_its_code_and_not_by_its_words(engine: Engine) -> None:
    async with open_store(engine.settings.database_url) as store:
        with pytest.raises(CommandError, match="kein Platz") as caught, command_errors(engine.settings):
            async with store.transaction() as session:
                await session.script("DO $$ BEGIN RAISE EXCEPTION 'kein Platz' USING ERRCODE = 'disk_full'; END $$")
        assert caught.value.hint == "make room on its disk and run the command again: it goes on where it was"
        with pytest.raises(DiskFullError):
            async with store.alone():
                raise OSError(errno.ENOSPC, "kein Platz")
        said = "RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'out_of_memory'"
        with pytest.raises(UnavailableError) as other:
            async with store.transaction() as session:
                await session.script(f"DO $$ BEGIN {said}; END $$")
        assert not isinstance(other.value, DiskFullError)


async def test_one_that_is_lost_is_replaced(engine: Engine) -> None:
    async with open_store(engine.settings.database_url, connections=1) as store:
        kept = store.kept()
        mine = await backend_of(kept)
        admin = await asyncpg.connect(engine.settings.database_url)
        try:
            assert await admin.fetchval("SELECT pg_terminate_backend($1, 10000)", mine)
        finally:
            await admin.close()
        # The connection may not have noticed yet: then one use fails, and no more.
        try:
            found = await backend_of(kept)
        except UnavailableError:
            found = await backend_of(kept)
        assert found != mine


@pytest.mark.parametrize("shared", [False, True])
async def test_one_that_the_server_has_ended_is_replaced_without_an_error(engine: Engine, *, shared: bool) -> None:
    """The client has noticed by then: not one use fails."""
    async with open_store(engine.settings.database_url, connections=1) as store:
        kept, ended = store.shared(1) if shared else store.kept(), anyio.Event()
        async with kept.alone() as session:
            raw = session._connection  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            raw.add_termination_listener(lambda _: ended.set())
        mine = await backend_of(kept)
        admin = await asyncpg.connect(engine.settings.database_url)
        try:
            assert await admin.fetchval("SELECT pg_terminate_backend($1, 10000)", mine)
        finally:
            await admin.close()
        with anyio.fail_after(PATIENCE):
            await ended.wait()
        assert await backend_of(kept) != mine


async def test_two_at_a_time_have_one_each(engine: Engine) -> None:
    async with open_store(engine.settings.database_url, connections=2) as store:
        kept = store.kept()
        async with kept.alone(), kept.alone():
            pass
        mine = await backend_of(kept)
        assert await backend_of(store) != mine
        assert await backend_of(kept) == mine


async def test_a_local_connection_has_room_for_a_large_batch(engine: Engine) -> None:
    """As much as the system gives, which counts what it needs for itself, and says twice as much."""
    connection = await asyncpg.connect(engine.settings.database_url)
    try:
        make_room(connection)
        local = getattr(connection, "_transport").get_extra_info("socket")  # noqa: B009 - a member of the library's own
        assert local.family == socket.AF_UNIX
        allowed = int(Path("/proc/sys/net/core/wmem_max").read_text())
        assert local.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * min(SEND_BYTES, allowed)
    finally:
        await connection.close()


async def test_what_a_server_says_of_a_url_is_redacted(engine: Engine) -> None:
    """A piece of a password that passes for a parameter is quoted by the server."""
    async with open_store(f"{engine.settings.database_url}&qxzvwkjq=1") as store:
        with pytest.raises(UnavailableError, match="unrecognized configuration parameter") as caught:
            await store.ping()
    assert "qxzv" not in "".join(traceback.format_exception(caught.value))


async def test_a_wrong_password_is_reported_in_words_and_not_retried(own_servers: Servers) -> None:
    url = own_servers.database_tcp_url.replace("ach:", "ach:wkjqzvxk")
    async with open_store(url) as store:
        with pytest.raises(UnusableError, match="password authentication failed") as caught:
            await store.ping()
    assert "wkjq" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("/test_", "/nowhere_", "does not exist"),
        ("?", "?ssl=true&", 'parameter "ssl" cannot be changed now'),
        ("?", "?sslmod=require&", "unrecognized configuration parameter"),
        ("?", "?work_mem=much&", "invalid value for parameter"),
        ("?", "?sslcert=/nowhere/x&", "sslcert of DATABASE_URL: there is no file /nowhere/x"),
    ],
    ids=["database", "fixed", "unknown", "value", "file"],
)
async def test_a_service_ends_where_the_database_cannot_be_used(engine: Engine, old: str, new: str, said: str) -> None:
    assert old in engine.settings.database_url
    async with open_store(engine.settings.database_url.replace(old, new, 1)) as store:
        with anyio.fail_after(PATIENCE), pytest.raises(UnusableError, match=said):
            await watch_schema(store)


async def test_a_shared_store_lends_each_connection_to_one_task_and_replaces_lost_ones(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    async with open_store(database_url, connections=2) as opened:
        store = opened.shared(2)
        under_way = 0

        async def work() -> None:
            nonlocal most, under_way
            async with store.transaction() as session:
                under_way += 1
                most = max(most, under_way)
                await session.script("SELECT pg_sleep(0.01)")
                under_way -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(work)
        assert most == 2
        connection = await asyncpg.connect(database_url)
        try:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            pids = [row["pid"] for row in await connection.fetch(f"SELECT pid {others}")]
            assert len(pids) == 2
            # One that a statement has failed on is as good as before.
            with pytest.raises(RefusedError):
                async with store.transaction() as session:
                    await session.script("SELECT 1 / 0")
            await work()
            await connection.fetch(f"SELECT pg_terminate_backend(pid, 5000) {others}")
            with anyio.fail_after(PATIENCE):
                for _ in range(4):  # a statement may find out that its connection is gone
                    with suppress(UnavailableError):
                        await work()
            await work()
            # Who waits for too long gets an answer.
            monkeypatch.setattr("worker.store.pool.CONNECT_SECONDS", 0.05)
            async with store.alone(), store.alone():
                with pytest.raises(UnavailableError, match="in use"):
                    async with store.alone():
                        pass
        finally:
            await connection.close()

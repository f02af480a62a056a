"""Workers that share the partitions of a stream: `ach run --group`."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import nats
import pytest
from click.testing import CliRunner

from tests.integration.brokers import configured
from tests.integration.engine import PATIENCE, Engine, Watched, event, own_streams, until_waiting
from worker.app import run, wall_clock
from worker.broker import group, roll
from worker.broker.api import ask
from worker.broker.errors import BrokerMismatchError
from worker.broker.group import Member
from worker.broker.group_store import GroupStore
from worker.broker.once import connected_once
from worker.broker.shares import read_sheet
from worker.broker.streams import open_broker
from worker.commands.workers import list_workers
from worker.contract.partition import PARTITIONS, event_subject, partition_of
from worker.environment import load_settings
from worker.identity import Identity
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from worker.broker.client import BrokerClient
    from worker.broker.group_store import Written

pytestmark = pytest.mark.anyio

GROUP = "g"
LOOK_SECONDS = 0.02
SKEW = 1_000_000
"""Microseconds between the clocks of broker and test, at most."""


@pytest.fixture
def grouped(engine: Engine) -> Engine:
    """An engine whose workers are a group, on streams of its own."""
    return engine.with_settings(
        group=GROUP,
        **own_streams(),
    )


async def until_members(engine: Engine, number: int) -> dict[str, tuple[int, ...]]:
    """Wait until so many members have shares; return them."""
    store = GroupStore(engine.settings, GROUP)
    async with connected_once(engine.settings, seconds=5) as client:
        with anyio.fail_after(PATIENCE):
            while len(shares := (await store.read(client)).sheet.shares) != number:  # noqa: ASYNC110 - the broker's
                await anyio.sleep(LOOK_SECONDS)
    return shares


async def until_done(number: int, *workers: Watched) -> None:
    """Wait until workers have committed so many messages together."""
    with anyio.fail_after(PATIENCE):
        while sum(one.messages for one in workers) < number:  # noqa: ASYNC110 - of two workers
            await anyio.sleep(LOOK_SECONDS)


async def test_two_share_and_one_leaves(grouped: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    # Before there is a group, and behind the place of the consumer: the group begins where that is.
    await grouped.with_settings(group=None).publish([event(0, "b.done", user="before")])
    await grouped.with_settings(group=None).drain()
    async with grouped.worker() as first:
        async with grouped.worker() as second:
            await until_members(grouped, 2)
            events = [event(number, user=f"u{user}") for user in range(40) for number in range(3)]
            await grouped.publish(events)
            prefix = grouped.settings.input_prefix
            # What may carry any user of a tenant, or of any, comes to one of them.
            array = json.dumps([event(9, "b.done", user="u1"), event(9, "b.done", user="u2")]).encode()
            await grouped.publish([array], f"{prefix}.t1")
            await grouped.publish([event(8, "b.done", user="u1")], f"{prefix}.raw")
            await grouped.publish([event(7, "b.done", user="u1")], f"{prefix}.t1.u1")
            await until_done(123, first, second)
            assert first.messages + second.messages == 123
            assert min(first.messages, second.messages) > 30
            assert first.duplicates + second.duplicates == 0
            await list_workers(grouped.settings, as_json=True)
            out = capsys.readouterr().out
            said = json.loads(out[out.index('{"') :] if '{"' in out else out[out.index("{\n") :])
            mine = next(one for one in said["groups"] if one["group"] == GROUP)
            assert sorted(one for share in mine["members"].values() for one in share) == [*range(64)]
            assert sum(one["group"] == GROUP for one in said["workers"]) == 2
        shares = await until_members(grouped, 1)
        assert [len(share) for share in shares.values()] == [64]
        await grouped.publish([event(number, user="later") for number in range(3)])
        await until_done(123 + 3, first, second)
    assert (await grouped.unlocks())["later", "three"] == "announced"
    rows = await grouped.rows("SELECT count(*) AS n FROM event")
    assert rows[0]["n"] == 120 + 2 + 1 + 1 + 3 + 1
    letters = await grouped.rows("SELECT nats_subject FROM dead_letter")
    assert letters == []


async def sheets_of(engine: Engine, client: Client, seen: list[dict[str, tuple[int, ...]]]) -> None:
    """Note each sheet that is written from now on."""
    store = GroupStore(engine.settings, GROUP)

    async def note(message: Msg) -> None:
        sheet = read_sheet(message.data)
        assert sheet is not None
        seen.append(sheet.shares)

    await client.subscribe(store.sheet_subject, cb=note)
    await client.flush()


async def test_who_leaves_is_dealt_nothing_and_waits_for_no_database(
    grouped: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal moves the partitions: not a silence, and not the end of a batch."""
    # A silent one is waited for longer than the test waits.
    monkeypatch.setattr(roll, "SILENT_SECONDS", 10 * PATIENCE)
    seen: list[dict[str, tuple[int, ...]]] = []
    client = await nats.connect(grouped.settings.nats_url)
    database = await asyncpg.connect(grouped.settings.database_url)
    stop, over, leaves = anyio.Event(), anyio.Event(), ""
    leaving, ready = Watched(), anyio.Event()

    async def leave() -> None:
        await run(grouped.settings, stop=stop, stats=leaving, on_ready=ready.set)
        over.set()

    try:
        async with grouped.worker(), anyio.create_task_group() as tasks:
            (stays,) = await until_members(grouped, 1)
            tasks.start_soon(leave)
            shares = await until_members(grouped, 2)
            (leaves,) = shares.keys() - {stays}
            await sheets_of(grouped, client, seen)
            users = [f"u{number}" for number in range(300)]
            user = next(one for one in users if partition_of("t1", "user", one) in shares[leaves])
            async with database.transaction():
                await database.execute("SELECT FROM partition FOR UPDATE")
                await grouped.publish([event(1, user=user)])
                await until_waiting(grouped)
                stop.set()
                with anyio.fail_after(PATIENCE):
                    assert len((await until_members(grouped, 1))[stays]) == PARTITIONS
                assert not over.is_set()
            with anyio.fail_after(PATIENCE):
                await over.wait()
            await grouped.publish([event(number, user=user) for number in (2, 3)])
            with anyio.fail_after(PATIENCE):
                while len(await grouped.rows("SELECT FROM event")) < 3:  # noqa: ASYNC110 - of two workers
                    await anyio.sleep(LOOK_SECONDS)
    finally:
        await client.close()
        await database.close()
    # Sheets that the bucket refused pass too.
    assert seen
    assert all(leaves not in one for one in seen)


async def test_a_sheet_that_is_written_while_one_is_read_is_read(
    grouped: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not at the next look that nothing calls for."""
    monkeypatch.setattr(group, "SHEET_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(group, "TEND_SECONDS", 10 * PATIENCE)
    members: list[Member] = []
    begin, read, again = Member.run, GroupStore.read, anyio.Event()
    look = Member._look  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    reads = 0

    async def beginning(member: Member) -> None:
        members.append(member)
        await begin(member)

    async def reading(store: GroupStore, client: BrokerClient) -> Written:
        nonlocal reads
        reads += 1
        found = await read(store, client)
        if reads == 1:
            look(members[0])  # as if a message about a new sheet had come
        else:
            again.set()
        return found

    monkeypatch.setattr(Member, "run", beginning)
    async with grouped.worker():
        await until_members(grouped, 1)
        monkeypatch.setattr(GroupStore, "read", reading)
        look(members[0])
        with anyio.fail_after(PATIENCE / 4):
            await again.wait()


async def test_a_subject_with_the_mark_reaches_no_tenant(grouped: Engine) -> None:
    settings = grouped.settings
    client = await nats.connect(settings.nats_url)
    try:
        jetstream = client.jetstream()
        wide = f"x{settings.input_prefix}"
        await jetstream.add_stream(
            name=settings.input_stream,
            subjects=[f"{settings.input_prefix}.>", f"@.*.*.*.*.*.*.{settings.input_prefix}.>", wide],
        )
        victim = event(1, user="victim")
        subject = event_subject(settings.input_prefix, "t1", "victim", "a.done")
        await jetstream.publish(f"@.0.0.0.0.0.0.{subject}", json.dumps(victim).encode())
        await jetstream.publish(subject, json.dumps(event(2, user="victim")).encode())
    finally:
        await client.close()
    await grouped.drain()
    rows = await grouped.rows("SELECT event_id FROM event")
    assert [row["event_id"] for row in rows] == ["a.done-2-victim"]


async def test_what_waits_is_counted_and_a_group_of_other_settings_is_refused(grouped: Engine) -> None:
    before = wall_clock()
    async with open_broker(grouped.settings) as broker:
        await grouped.publish([event(number, user="u") for number in range(3)])
        with anyio.fail_after(PATIENCE):
            while (found := await broker.waiting()).pending < 3:
                await anyio.lowlevel.checkpoint()
        # No member has read them: they wait for the group, and there is no consumer of workers without one.
        assert found.pending == 3
        assert found.oldest_at is not None
        assert before - SKEW <= found.oldest_at <= wall_clock() + SKEW
    other = grouped.with_settings(input_prefix=f"{grouped.settings.input_prefix}.lane")
    with pytest.raises(BrokerMismatchError, match="choose another name for --group"):
        async with open_broker(other.settings):
            pass


@pytest.mark.operate
async def test_a_group_in_a_domain_behind_a_leaf_node(grouped: Engine, tmp_path: Path) -> None:
    """Subjects of buckets do not pass a leaf node as they are: they go below the API of the domain."""
    port = free_port()
    hub = f'leafnodes {{ listen: "127.0.0.1:{port}" }}'
    leaf = f'leafnodes {{ remotes [ {{ url: "nats://127.0.0.1:{port}" }} ] }}'
    async with (
        configured(tmp_path / "hub", hub, jetstream=", domain: hub") as far,
        configured(tmp_path / "leaf", leaf, jetstream=", domain: leaf") as near,
    ):
        behind = grouped.with_settings(nats_url=near.url(), identity=Identity(js_domain="hub"))
        async with behind.worker() as first, behind.worker() as second:
            shares = await until_members(behind, 2)
            assert [len(share) for share in shares.values()] == [32, 32]
            events = [event(number, user=f"u{number}") for number in range(40)]
            await grouped.with_settings(nats_url=far.url()).publish(events)
            await until_done(40, first, second)
        async with connected_once(load_settings({"NATS_URL": near.url()}), seconds=5) as client:
            assert (await ask(client, "STREAM.NAMES", dict[str, Any]))["total"] == 0


async def test_an_old_server_is_refused(grouped: Engine) -> None:
    async with aged(grouped.settings.nats_url) as url:
        with pytest.raises(BrokerMismatchError, match=r"nats-server 2\.10\.29 cannot .*: --group needs 2\.11 or later"):
            async with open_broker(grouped.with_settings(nats_url=url).settings):
                pass


def test_a_name_that_cannot_be_a_stream_is_wrong_usage() -> None:
    from worker.commands.run import command  # noqa: PLC0415

    result = CliRunner().invoke(command, ["--group", "a.b"])
    assert result.exit_code == 2
    assert "expected 1 to 64 letters, digits, - and _" in result.output


@asynccontextmanager
async def aged(url: str) -> AsyncGenerator[str]:
    """Stand before a server and let it say that it is 2.10.29."""
    host, _, port = url.removeprefix("nats://").rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        info = json.loads((await up_reader.readline()).removeprefix(b"INFO "))
        writer.write(b"INFO " + json.dumps({**info, "version": "2.10.29"}).encode() + b"\r\n")
        await asyncio.gather(carry(reader, up_writer), carry(up_reader, writer))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()

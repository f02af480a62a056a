"""What commands say where servers, rules or events are missing or wrong: one sentence, exit code 1, no traceback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import asyncpg
import pytest

from tests.acceptance.conftest import ROOT, read_until
from worker.admin.backfill import SupersededError
from worker.local.servers import embedded, stop_detached

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.acceptance.conftest import Shell
    from tests.acceptance.herd import Ran
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

RULES = ROOT / "fixtures" / "rules" / "commits.ach"
SMALL = 'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n'
EVENT = '{"event_id":"e1","event_type":"a.done","user_id":"u","tenant_id":"t","occurred_at":"2026-04-13T09:00:00Z"}\n'


def failed(ran: Ran, *said: str) -> None:
    """Assert that a command ended with one message and exit code 1."""
    assert ran.code == 1, ran
    assert "Traceback" not in ran.out + ran.err
    for words in said:
        assert words in ran.err, ran.err


# -- servers that a demo has left running -----------------------------------------------------------------------------


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncGenerator[tuple[Path, Servers]]:
    """A folder as `ach demo --keep` leaves it at its end."""
    folder = tmp_path / "kept"
    async with embedded(folder, durable=False, detach=True) as servers:
        (folder / "finished").touch()
        pids = servers.pids
    try:
        yield folder, servers
    finally:
        assert set(await stop_detached(folder)) <= set(pids)


async def test_a_folder_whose_servers_run_is_left_alone(shell: Shell, kept: tuple[Path, Servers]) -> None:
    folder, servers = kept
    rules = shell.write("rules.ach", SMALL)
    for command in (("demo",), ("dev", rules, "--fresh"), ("dev", rules)):
        failed(shell.ach(*command, "--data", folder), "(pid ", f"ach demo --stop --data {folder}")
        connection = await asyncpg.connect(servers.database_url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert shell.ach("demo", "--stop", "--data", folder).out == "stopped 2 servers\n"
    assert shell.ach("demo", "--stop", "--data", folder).out == "stopped 0 servers\n"


async def test_stopping_makes_no_folder(shell: Shell, tmp_path: Path) -> None:
    assert shell.ach("demo", "--stop", "--data", tmp_path / "none").out == "stopped 0 servers\n"
    assert not (tmp_path / "none").exists()


# -- a database that cannot be used -----------------------------------------------------------------------------------

COMMANDS = (("run",), ("run", "--drain"), ("migrate",), ("digest",), ("unlocks",), ("dead", "list"), ("backfill",))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_database_that_does_not_exist(on_servers: Shell, servers: Servers, command: tuple[str, ...]) -> None:
    on_servers.environment["DATABASE_URL"] = servers.url_of("no_such_database")
    failed(on_servers.ach(*command), 'database "no_such_database" does not exist', "is DATABASE_URL right?")


async def test_a_wrong_password(on_servers: Shell, servers: Servers) -> None:
    on_servers.environment["DATABASE_URL"] = servers.database_tcp_url.replace("ach:", "ach:not-")
    for command in (("run",), ("digest",)):
        ran = on_servers.ach(*command)
        failed(ran, "password authentication failed", "is DATABASE_URL right?")


async def test_a_right_that_is_missing(on_servers: Shell, servers: Servers, database_url: str) -> None:
    name = "r" + database_url.partition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(servers.database_url)
    await admin.execute(f"CREATE ROLE {name} LOGIN")
    await admin.close()
    on_servers.environment["DATABASE_URL"] = database_url.replace("//ach@", f"//{name}@")
    failed(
        on_servers.ach("run"), f"has no schema yet, and role {name} may not change it: run `ach migrate` as the owner"
    )


@pytest.mark.parametrize("command", [("digest",), ("unlocks",), ("dead", "list"), ("progress", "u", "-t", "t")])
async def test_a_database_without_a_schema(on_servers: Shell, command: tuple[str, ...]) -> None:
    failed(on_servers.ach(*command), "the database has no schema yet", "run `ach migrate`")


# -- a worker ---------------------------------------------------------------------------------------------------------


async def test_the_port_of_the_probes_is_taken(on_servers: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        on_servers.environment.update(ACH_HEALTH_HOST="127.0.0.1", ACH_HEALTH_PORT=str(taken.getsockname()[1]))
        failed(on_servers.ach("run", "--drain"), "cannot listen on 127.0.0.1:", "ACH_HEALTH_PORT")


async def test_a_worker_without_rules_says_so(on_servers: Shell) -> None:
    with on_servers.running("run") as worker:
        read_until(worker, "run `ach apply`")


# -- rules ------------------------------------------------------------------------------------------------------------


async def test_an_interrupted_apply_goes_on(on_servers: Shell, database_url: str) -> None:
    rules = on_servers.write("rules.ach", SMALL)
    assert "in force: epoch 1" in on_servers.ach("apply", rules).out
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE aggregate SET status = 'building'")
    again = on_servers.ach("apply", rules).out
    assert "in force already (epoch 1); continuing its backfill" in again
    assert "nothing changed" not in again
    assert await connection.fetchval("SELECT count(*) FROM aggregate WHERE status = 'building'") == 0
    await connection.close()
    assert on_servers.ach("apply", rules).out == "nothing changed: these rules are in force already (epoch 1)\n"


def test_superseded_has_words() -> None:
    assert "ach apply" in str(SupersededError())


# -- nothing tested ---------------------------------------------------------------------------------------------------


def test_a_stream_without_events_tests_nothing(shell: Shell) -> None:
    rules = shell.write("rules.ach", SMALL)
    empty, dead = shell.write("empty.jsonl", ""), shell.write("dead.jsonl", "{}\nno event\n")
    good, mixed = shell.write("good.jsonl", EVENT), shell.write("mixed.jsonl", f"{EVENT}no event\n")
    expected = shell.write("expected.json", shell.ach("replay", empty, "-r", rules, "--json").out)
    for form in ((), ("--json",), ("--expect", expected)):
        failed(shell.ach("replay", empty, "-r", rules, *form), "nothing was tested", "it is empty")
        failed(shell.ach("replay", dead, "-r", rules, *form), "nothing was tested", "each of its 2 messages")
    assert shell.ach("replay", good, "-r", rules).code == 0
    assert shell.ach("replay", mixed, "-r", rules).code == 0


def test_rules_without_examples_are_no_test(shell: Shell) -> None:
    failed(shell.ach("test", shell.write("rules.ach", SMALL)), "nothing was tested", "example")

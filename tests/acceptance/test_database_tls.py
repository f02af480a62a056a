"""TLS to PostgreSQL and its passwords: what is right connects, what is wrong is one sentence without a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import asyncpg
import pytest

from tests.acceptance.conftest import Shell
from tests.integration.identities import Authority
from tests.integration.tls_postgres import USER, tls_postgres

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.acceptance.herd import Herd, Ran
    from tests.integration.tls_postgres import TlsPostgres

pytestmark = [pytest.mark.anyio, pytest.mark.operate]

PASSWORD: Final = f"s3cret-{uuid4().hex}"
WRONG: Final = f"wr0ng-{uuid4().hex}"
SECONDS: Final = 30.0
"""Many times what it takes, and less than a command that waits for its server for ever."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "ca")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Generator[TlsPostgres]:
    """A server whose certificate is for `localhost` and no address."""
    with tls_postgres(authority.issue("postgres", "localhost"), PASSWORD) as running:
        yield running


def ran(commands: Herd, folder: Path, url: str, *args: str) -> Ran:
    shell = Shell(folder, commands)
    return commands.run(args, {**shell.environment, "DATABASE_URL": url}, folder)


def verified(server: TlsPostgres, ca: Path, host: str = "localhost", password: str | None = None) -> str:
    return server.url(host, password=password, sslmode="verify-full", sslrootcert=str(ca))


async def test_a_verified_server_is_worked_with(
    server: TlsPostgres, authority: Authority, commands: Herd, folder: Path
) -> None:
    url = verified(server, authority.ca)
    for command in (("migrate",), ("backfill",), ("unlocks",), ("digest",)):
        done = ran(commands, folder, url, *command)
        assert (done.code, done.err) == (0, ""), command
    connection = await asyncpg.connect(url)
    try:
        asked = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ((encrypted, version),) = [(row[0], str(row[1])) for row in await connection.fetch(asked)]
        assert (encrypted, version >= "TLSv1.2") == (True, True)
        kept = await connection.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", USER)
        assert kept.startswith("SCRAM-SHA-256$")
    finally:
        await connection.close()


async def test_what_is_wrong_is_said_in_one_sentence(
    server: TlsPostgres, authority: Authority, commands: Herd, folder: Path
) -> None:
    other = Authority(folder, "other").ca
    cases = {
        "wrong authority": (verified(server, other), "certificate"),
        "wrong name": (verified(server, authority.ca, "127.0.0.1"), "certificate"),
        "wrong password": (verified(server, authority.ca, password=WRONG), "password authentication failed"),
        "no TLS": (server.url("localhost", sslmode="disable"), "no encryption"),
    }
    for name, (url, words) in cases.items():
        for command in (("unlocks",), ("run", "--drain"), ("migrate",)):
            done = ran(commands, folder, url, *command)
            said = done.out + done.err
            assert done.code == 1, (name, command, said)
            assert done.seconds < SECONDS, (name, command)
            assert words in said, (name, command, said)
            assert [one for one in (PASSWORD, WRONG, "Traceback") if one in said] == []
            assert len(done.err.splitlines()) <= 3, said

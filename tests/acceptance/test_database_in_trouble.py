"""A database that is there and does not do as asked: full, read-only, or closed to a role. It is said, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from tests.acceptance.conftest import said
from tests.databases import name_of
from tests.integration.roles import with_roles

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Shell
    from tests.acceptance.herd import Ran

pytestmark = pytest.mark.anyio

RULES: Final = 'event a.done {}\nachievement x { title "X" when count(event=a.done, >= 2) }\n'
MORE: Final = RULES + 'achievement y { title "Y" when count(event=a.done, >= 1) }\n'
EVENTS: Final = "".join(
    f'{{"event_id":"e{number}","event_type":"a.done","user_id":"ann","tenant_id":"acme",'
    f'"occurred_at":"2026-04-13T09:0{number}:00Z"}}\n'
    for number in range(3)
)
CHANGING: Final = (
    ("apply", "more.ach"),
    ("rollback", "1", "--yes"),
    ("rules", "retire", "x", "--reason", "r"),
    ("revoke", "-a", "x", "--reason", "r", "--yes"),
    ("rebuild", "-q"),
    ("erase", "ann", "-t", "acme", "--yes"),
    ("change", "announce", "1"),
)


@pytest.fixture
def deployed(on_servers: Shell) -> Shell:
    """A shell with rules in force, those of epoch 2, and a user who has earned something."""
    on_servers.write("rules.ach", RULES)
    on_servers.write("more.ach", MORE)
    on_servers.write("other.ach", RULES + 'achievement z { title "Z" when count(event=a.done, >= 1) }\n')
    recorded = on_servers.write("history.jsonl", EVENTS)
    for command in (("apply", "rules.ach"), ("emit", recorded), ("run", "--drain"), ("apply", "other.ach")):
        ran = on_servers.ach(*command)
        assert ran.code == 0, ran.err
    return on_servers


async def test_a_database_that_takes_no_changes(deployed: Shell, database_url: str) -> None:
    ach: Callable[..., Ran] = deployed.ach
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"ALTER DATABASE {name_of(database_url)} SET default_transaction_read_only = on")
        for command, ran in zip(CHANGING, deployed.ach_all([(one, {}) for one in CHANGING]), strict=True):
            if command[0] == "rebuild" and ran.code == 0:
                continue
            assert "cannot be reached" not in ran.err
            said(ran, 1, "has failed (cannot execute", "in a read-only transaction", "has to name the primary")
        said(ach("plan", "more.ach"), 2, "+ y")
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name_of(database_url)} RESET default_transaction_read_only")
        assert await connection.fetchval("SELECT max(epoch) FROM rule_set") == 2
        assert await connection.fetchval("SELECT count(*) FROM unlock WHERE revoked_at IS NOT NULL") == 0
    finally:
        await connection.close()
    said(ach("apply", "more.ach"), 0, "in force: epoch 3")


async def test_a_role_without_rights(deployed: Shell, database_url: str) -> None:
    async with with_roles(database_url) as deployment:
        for role in (deployment.roles.reader, deployment.roles.serve):
            there = {"DATABASE_URL": deployment.url_as(role)}
            for ran in deployed.ach_all([(one, there) for one in CHANGING]):
                said(ran, 1, "permission denied for", "`ach grants` prints the SQL that gives a role its rights")
        reading = {"DATABASE_URL": deployment.url_as(deployment.roles.reader)}
        (planned,) = deployed.ach_all([(("plan", "more.ach"), reading)])
        said(planned, 2, "+ y")
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT max(epoch) FROM rule_set") == 2
        assert await connection.fetchval("SELECT count(*) FROM change WHERE state = 'pending'") == 0
        assert await connection.fetchval("SELECT count(*) FROM unlock WHERE revoked_at IS NOT NULL") == 0
    finally:
        await connection.close()

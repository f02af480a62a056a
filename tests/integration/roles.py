"""A database whose uses have roles of their own, as `ach grants` makes them; and connections as each."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import asyncpg

from sql.grants import Roles, TenantRole, grants
from worker.store import SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


class Deployment(NamedTuple):
    """A database, its roles, and analysts of tenants."""

    url: str
    roles: Roles
    tenants: tuple[TenantRole, ...]

    def url_as(self, role: str) -> str:
        """Return the URL by which a role logs in."""
        return self.url.replace("//ach@", f"//{role}@")

    @asynccontextmanager
    async def as_role(self, role: str) -> AsyncGenerator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url_as(role), server_settings=SETTINGS)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def with_roles(url: str, tenants: Sequence[str] = ()) -> AsyncGenerator[Deployment]:
    """Give roles to a migrated database for the length of a block. A role belongs to all databases of a server."""
    own = uuid4().hex[:8]
    roles = Roles(*(f"{use}_{own}" for use in Roles._fields))
    named = tuple(TenantRole(tenant, f"analyst_{tenant}_{own}") for tenant in tenants)
    every = [*roles, *(one.role for one in named)]
    admin = await asyncpg.connect(url)
    try:
        # These may log in; the script keeps what is there.
        for role in every:
            await admin.execute(f"CREATE ROLE {role} LOGIN")
        await admin.execute(grants(roles, named))
        yield Deployment(url, roles, named)
        for role in every:
            await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    finally:
        await admin.close()

"""`ach grants`: the SQL that gives the roles of a database their rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from sql.grants import Roles, TenantRole, UnusableNameError, grants
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_USES: Final = {
    "worker": "`ach run` and the function form",
    "operator": "apply, rollback, change, backfill, grant, revoke, erase, dead, a console with actions",
    "reader": "progress, unlocks, explain, digest; people with a SQL client",
    "serve": "`ach serve`",
    "notify": "`ach notify`",
    "ingest": "`ach ingest`",
    "mirror": "`ach mirror`",
    "console": "`ach console` for viewers",
}


def _role_options(function: Callable[..., None]) -> Callable[..., None]:
    for use in reversed(Roles._fields):
        default = Roles._field_defaults[use]
        option = click.option(f"--{use}", default=default, show_default=True, metavar="ROLE", help=f"For {_USES[use]}.")
        function = option(function)
    return function


@click.command("grants")
@_role_options
@click.option(
    "--tenant",
    "tenants",
    multiple=True,
    metavar="TENANT=ROLE",
    help="A role that reads this tenant alone, in the views v_tenant_*; may be given several times.",
)
@click.option("--schema", default="public", show_default=True, help="Where the tables are.")
def command(tenants: Sequence[str], schema: str, **roles: str) -> None:
    """Print the SQL that makes roles and gives them their rights; run it as the owner of the tables.

    `ach grants | psql -v ON_ERROR_STOP=1` does so, after each `ach migrate`. Roles that are there already are kept; new
    ones cannot log in: make logins as members of them, such as CREATE ROLE app LOGIN IN ROLE ach_worker.
    """
    try:
        screen.hand_on(grants(Roles(**roles), [_tenant_role(text) for text in tenants], schema=schema))
    except UnusableNameError as error:
        raise click.UsageError(str(error)) from error


def _tenant_role(text: str) -> TenantRole:
    # A tenant may hold any character, so the last sign divides.
    tenant, sign, role = text.rpartition("=")
    if not sign:
        raise click.UsageError(f"--tenant: expected TENANT=ROLE, got {text!r}")
    return TenantRole(tenant, role)

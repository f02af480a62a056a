"""The SQL that gives the roles of a database their rights: `grants.sql` with names put in. Pure."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

import sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_NAME_BYTES: Final = 63
"""PostgreSQL cuts off what is longer."""
MAX_TENANT_BYTES: Final = 512
_RESERVED: Final = frozenset({"public", "none"})


class UnusableNameError(ValueError):
    """A name that the server does not take, or takes for another one."""


class Roles(NamedTuple):
    """The role of each use; one role may have several."""

    worker: str = "ach_worker"
    operator: str = "ach_operator"
    reader: str = "ach_reader"
    serve: str = "ach_serve"
    notify: str = "ach_notify"
    ingest: str = "ach_ingest"
    mirror: str = "ach_mirror"
    console: str = "ach_console"


class TenantRole(NamedTuple):
    """A role whose members read one tenant in the views `v_tenant_*`."""

    tenant: str
    role: str


def grants(roles: Roles, tenants: Sequence[TenantRole] = (), *, schema: str = "public") -> str:
    """Return a script for the owner of the tables, one transaction that may be run again at any time.

    Raises:
        UnusableNameError: a name is empty, too long, reserved, or has control characters.
    """
    names = sorted({*roles, *(one.role for one in tenants)})
    for name in names:
        _check(name, "a role", _RESERVED)
    _check(schema, "a schema")
    text = (files(sql) / "grants.sql").read_text(encoding="utf-8")
    literals = ", ".join(map(_literal, names))
    parts = {
        "schema": _identifier(schema),
        "names": literals,
        "all": _listed(names),
        "tag": _tag(literals),
        "tenants": _tenants(tenants),
        **{use: _identifier(name) for use, name in roles._asdict().items()},
    }
    # Piece by piece, so that a name which looks like a place for another one stays what it is.
    head, *rest = text.split("{")
    pieces = [head]
    for piece in rest:
        place, _, after = piece.partition("}")
        pieces += [parts[place], after]
    return "".join(pieces)


def _tenants(tenants: Sequence[TenantRole]) -> str:
    if not tenants:
        return ""
    for one in tenants:
        if not 1 <= len(one.tenant.encode()) <= MAX_TENANT_BYTES or not one.tenant.isprintable():
            raise UnusableNameError(
                f"{one.tenant!r} cannot be a tenant: expected 1 to {MAX_TENANT_BYTES} bytes, all printable"
            )
    rows = ",\n    ".join(f"({_literal(one.role)}, {_literal(one.tenant)})" for one in sorted(set(tenants)))
    to = _listed(sorted({one.role for one in tenants}))
    return f"""
-- Analysts of a tenant. To take a tenant from a role again: DELETE FROM tenant_role WHERE role_name = '...'.
GRANT SELECT ON v_tenant, v_tenant_unlock, v_tenant_event, v_tenant_decision TO {to};
INSERT INTO tenant_role (role_name, tenant_id) VALUES
    {rows}
ON CONFLICT (role_name, tenant_id) DO NOTHING;
"""  # noqa: S608 - names are quoted, and the one who runs it owns the tables


def _check(name: str, what: str, reserved: frozenset[str] = frozenset()) -> None:
    taken = name.lower() in reserved or name.startswith("pg_")
    if taken or not 1 <= len(name.encode()) <= MAX_NAME_BYTES or not name.isprintable():
        raise UnusableNameError(
            f"{name!r} cannot be {what}: expected 1 to {MAX_NAME_BYTES} bytes, all printable, none of PostgreSQL's own"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_identifier, names))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def _tag(text: str) -> str:
    """Return a quote of dollars that does not occur in a text."""
    tag = "$ach$"
    while tag in text:
        tag = f"{tag[:-1]}_$"
    return tag

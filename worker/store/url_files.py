"""The files that a connection to PostgreSQL reads, looked at before the client does.

Of a file that it cannot read the client says what it says of a server that is away, so that a worker would wait for it;
of a pipe it waits for the other end. The rules for which file is read are the client's, and libpq's.
"""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.secret_files import Named, SecretFileError, load_authorities, load_pair, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

_OTHERWISE: Final = {
    "sslrootcert": ("PGSSLROOTCERT", "root.crt"),
    "sslcrl": ("PGSSLCRL", "root.crl"),
    "sslcert": ("PGSSLCERT", "postgresql.crt"),
    "sslkey": ("PGSSLKEY", "postgresql.key"),
}
"""The variable and the file of the folder `~/.postgresql` that count where the URL does not have a parameter."""
_FULL: Final = frozenset({"verify-ca", "verify-full"})
_CHECKED: Final = _FULL | {"require"}
"""Modes in which the certificate of the server is checked, if there is something to check it with."""


class _Asked(NamedTuple):
    """What a URL and an environment say of a connection."""

    parameters: Mapping[str, str]
    environment: Mapping[str, str]
    folder: Path | None
    """`~/.postgresql`."""
    local: bool
    """Whether all hosts are sockets of this machine."""

    @property
    def mode(self) -> str:
        """What is wanted of TLS."""
        named = self.parameters.get("sslmode") or self.environment.get("PGSSLMODE")
        return (named or ("disable" if self.local else "prefer")).replace("_", "-")

    def named(self, parameter: str, *, here: bool = False) -> Named | None:
        """Return the file of a parameter; with `here` only where the URL itself names it."""
        variable, default = _OTHERWISE[parameter]
        if path := self.parameters.get(parameter):
            return Named(f"{parameter} of DATABASE_URL", _literal(path))
        if here:
            return None
        if path := self.environment.get(variable):
            return Named(variable, _literal(path))
        if self.folder is not None and (found := self.folder / default).exists():
            return Named(f"{parameter} by default", str(found))
        return None


def check_files(url: str, environment: Mapping[str, str], home: Path | None) -> None:
    """Look at all files that a connection to a URL reads.

    Raises:
        SecretFileError: one cannot be used; the message names the parameter or variable, and the file.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    parameters, folder = dict(parse_qsl(parts.query)), None if home is None else home / ".postgresql"
    hosts = hosts or parameters.get("host") or environment.get("PGHOST") or ""
    asked = _Asked(parameters, environment, folder, all(unquote(one).startswith("/") for one in hosts.split(",")))
    _check_authorities(asked, "sslrootcert")
    _check_authorities(asked, "sslcrl")
    _check_pair(asked)
    if ":" not in login:
        _check_passwords(asked)


def _check_authorities(asked: _Asked, parameter: str) -> None:
    checked = asked.mode in _CHECKED
    # What the URL names has to be there, also where this connection does without.
    file = asked.named(parameter, here=not checked)
    if file is not None:
        kind = "certificate" if parameter == "sslrootcert" else "list of revoked certificates"
        load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), file, kind=kind)
    elif asked.mode in _FULL and parameter == "sslrootcert":
        raise SecretFileError(f"sslmode={asked.mode} needs sslrootcert in DATABASE_URL: the authority's certificate")


def _check_pair(asked: _Asked) -> None:
    cert, key = (asked.named(one, here=asked.mode == "disable") for one in ("sslcert", "sslkey"))
    if cert is None:
        if key is not None and "sslkey" in asked.parameters:
            raise SecretFileError(f"{key.setting} needs sslcert, the certificate of {key.path}")
        return
    # Both may be in one file.
    password = asked.parameters.get("sslpassword", "")
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key or cert, password)


def _check_passwords(asked: _Asked) -> None:
    if asked.parameters.get("password") or asked.environment.get("PGPASSWORD"):
        return
    for setting, path in (
        ("passfile of DATABASE_URL", asked.parameters.get("passfile")),
        ("PGPASSFILE", asked.environment.get("PGPASSFILE")),
    ):
        if path:
            if Path(readable(Named(setting, _literal(path)))).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                # The client passes over such a file.
                raise SecretFileError(f"{setting}: others may read {path}; chmod 600 {path}")
            return


def _literal(path: str) -> str:
    """Return a path as the client takes it, for which `~` is a name like any other."""
    return f"./{path}" if path.startswith("~") else path

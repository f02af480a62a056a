"""URLs of servers, and what of them may be shown: never a password, a token or a query. Pure.

What is shown is what reads as one thing only. Where a password was written with an `@`, a `/` or a `?` as they are, its
end is not certain, and nothing of the URL is shown.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HIDDEN: Final = "..."
"""Stands for what is not shown."""
RUN: Final = 4
"""Characters in a row of a secret that are not shown wherever they stand."""

_NATS: Final = ("nats", "tls", "ws", "wss")
_POSTGRESQL: Final = ("postgresql", "postgres")
_SCHEME: Final = re.compile(rf"({'|'.join((*_NATS, *_POSTGRESQL))})://")
_NEXT_SERVER: Final = re.compile(rf",(?=\s*(?:{'|'.join(_NATS)})://)")
_HOST: Final = r"(?:[\w.%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"
_HOSTS: Final = re.compile(rf"{_HOST}(?:,{_HOST})*")
_PATH: Final = re.compile(r"[\w./~-]*")
_LAST_PORT: Final = 65535
_BEHIND_HOSTS: Final = re.compile(r"[/?#\\]")
_HARMLESS: Final = frozenset(
    {"host", "hostaddr", "port", "dbname", "database", "user", "sslmode", "application_name", "connect_timeout"}
    | {"target_session_attrs", "sslrootcert", "sslcert", "sslkey", "sslcrl", "options", "service"}
)
"""Parameters whose values may be quoted; `shown` leaves out all of them."""
_SECRET: Final = frozenset({"password", "sslpassword", "passfile"})
"""Those whose values alone may not. What has another name may be a part of a password."""


class _Parts(NamedTuple):
    """`scheme://userinfo@hosts`, and all that follows."""

    scheme: str
    userinfo: str
    hosts: str
    rest: str


def servers_of(urls: str) -> list[str]:
    """Return the URLs of a list with commas. A comma that no scheme follows belongs to what is before it."""
    return [url.strip() for url in _NEXT_SERVER.split(urls)]


def shown(urls: str) -> str:
    """Return a URL (or several, with commas) without user, password and query: fit for a log."""
    return ",".join(map(_shown, servers_of(urls)))


def _shown(url: str) -> str:
    parts = _parts_of(url)
    if parts is None:
        scheme = _SCHEME.match(url)
        return HIDDEN if scheme is None else f"{scheme[0]}{HIDDEN}"
    path = re.split(r"[?#]", parts.rest, maxsplit=1)[0]
    return f"{parts.scheme}://{parts.hosts}{path if _PATH.fullmatch(path) else ''}"


def shown_place(url: str) -> str:
    """Return scheme and host of a web address: paths and queries of webhooks are secrets as often as not."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable():
            return HIDDEN
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return HIDDEN
    behind = f"/{HIDDEN}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host}{port}{behind}"


def is_clear(url: str) -> bool:
    """Tell whether it is certain which host a URL names, and where its password ends."""
    if url.startswith(_POSTGRESQL):
        # A parameter may hold an `@`.
        of_database = _parts_of(url.partition("?")[0])
        return of_database is not None and all(map(_is_port, re.findall(r":([0-9]+)(?=,|$)", of_database.hosts)))
    try:
        parts = urlsplit(url)
        return _parts_of(url) is not None and parts.hostname is not None and parts.port != 0
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    return 0 < int(text) <= _LAST_PORT


def _parts_of(url: str) -> _Parts | None:
    """Return the parts of a URL; None where it can be read in another way too."""
    scheme = _SCHEME.match(url)
    if scheme is None or not url.isprintable():
        return None
    rest = url[scheme.end() :]
    behind = _BEHIND_HOSTS.search(rest)
    end = len(rest) if behind is None else behind.start()
    userinfo, _, hosts = rest[:end].rpartition("@")
    # An `@` further on may be the end of a password that goes on until there.
    if "@" in rest[end:] or _HOSTS.fullmatch(hosts) is None:
        return None
    # The brokers' client takes the last `@`, that of the database the first.
    if ("," in hosts and scheme[1] in _NATS) or ("@" in userinfo and scheme[1] in _POSTGRESQL):
        return None
    return _Parts(scheme[1], userinfo, hosts, rest[end:])


# -- what libraries say ------------------------------------------------------------------------------------------------


def redacted(text: str, *urls: str, secrets: Sequence[str] = ()) -> str:
    """Return what a library says, without any four characters in a row of a secret, or of one in URLs.

    A secret of fewer characters goes where it is a word.
    """
    hidden = bytearray(len(text))
    for secret in {*chain.from_iterable(map(_secrets, urls)), *chain.from_iterable(map(_forms, secrets))}:
        for start, end in _places(secret, text):
            hidden[start:end] = b"\1" * (end - start)
    return "".join(_left(text, hidden))


def _places(secret: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield where a text has anything of a secret that is not to be seen."""
    if len(secret) < RUN:
        for found in re.finditer(rf"(?<!\w){re.escape(secret)}(?!\w)", text):
            yield found.span()
    for number in range(len(secret) - RUN + 1):
        run = secret[number : number + RUN]
        at = text.find(run)
        while at >= 0:
            yield at, at + RUN
            at = text.find(run, at + 1)


def _left(text: str, hidden: bytearray) -> Iterator[str]:
    at = 0
    for run in re.finditer(rb"\x01+", bytes(hidden)):
        yield text[at : run.start()]
        yield HIDDEN
        at = run.end()
    yield text[at:]


def _secrets(urls: str) -> Iterator[str]:
    """Yield the secrets of URLs in all forms that a message may quote: decoded, in small letters, as a literal."""
    for url in servers_of(urls):
        for secret in _written(url):
            yield from _forms(secret)


def _forms(secret: str) -> Iterator[str]:
    for form in (secret, unquote(secret), unquote_plus(secret)):
        for said in (form, form.lower(), repr(form)[1:-1], form.encode("unicode_escape").decode()):
            if said.strip():
                yield said


def _written(url: str) -> Iterator[str]:
    parts = _parts_of(url)
    if parts is None:
        scheme = _SCHEME.match(url)
        yield url[0 if scheme is None else scheme.end() :]
        return
    user, _, password = parts.userinfo.partition(":")
    yield password
    if parts.scheme in _NATS:  # without a password it is a token
        yield user
    for parameter in re.split(r"[?&;#]", parts.rest)[1:]:
        name, _, value = parameter.partition("=")
        if unquote(name).lower() not in _HARMLESS:
            yield value if unquote(name).lower() in _SECRET else parameter

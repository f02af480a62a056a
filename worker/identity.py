"""How a process proves to the broker who it is, and where it finds JetStream: the variables `NATS_*`. Pure.

The names are those of the tool `nats`. Of files the paths are kept here; what they hold is read at each connection
(worker/broker/login.py), so that a file may be replaced while a process runs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec

from worker.urls import servers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX: Final = "NATS_"
DEFAULT_API: Final = "$JS.API"
DEFAULT_INBOX: Final = "_INBOX"

Domain = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Prefix = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*\Z")]


class IdentityError(ValueError):
    """The variables contradict each other or are malformed; the message names them, and shows no value of a secret."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable `NATS_<FIELD>`; "" where it is not set."""

    creds: str = ""
    """Path of a credentials file: a user's JWT and its seed."""
    nkey: str = ""
    """Path of a file with a user's seed."""
    user_jwt: str = ""
    """A user's JWT itself, as a context holds it."""
    user_seed: str = ""
    """The seed that belongs to it; a bearer token has none."""
    user: str = ""
    password: str = ""
    password_file: str = ""
    token: str = ""
    token_file: str = ""
    cert: str = ""
    """Path of the client certificate, with the chain behind it."""
    key: str = ""
    """Path of its private key."""
    ca: str = ""
    """Path of the certificates that the broker's is checked with, in the place of those of the system."""
    tls_first: bool = False
    """Whether TLS begins before the broker's greeting: its option `handshake_first`."""
    js_domain: Domain | None = None
    js_api_prefix: Prefix | None = None
    """Where an import of another account has put `$JS.API`."""
    inbox_prefix: Prefix = DEFAULT_INBOX

    def __repr__(self) -> str:
        return f"Identity({', '.join(_given(self))})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("given", _given(self))]

    @property
    def api(self) -> str:
        """The prefix of requests to JetStream."""
        if self.js_api_prefix is not None:
            return self.js_api_prefix
        return DEFAULT_API if self.js_domain is None else f"$JS.{self.js_domain}.API"

    def login_of(self, urls: str) -> str:
        """Return the variable that has the login, `NATS_URL` where there is none."""
        return next(iter(_logins(self, urls)), "NATS_URL")

    def wants_tls(self, urls: str) -> bool:
        """Tell whether nothing may be sent to a server in plain text."""
        return bool(self.ca or self.cert or self.tls_first) or any(
            url.startswith(("tls://", "wss://")) for url in servers_of(urls)
        )


def variables() -> list[str]:
    """Return the names of all variables."""
    return [PREFIX + name.upper() for name in Identity.__struct_fields__]


def read_identity(environment: Mapping[str, str], urls: str) -> Identity:
    """Return the identity that an environment gives for the servers of `NATS_URL`.

    Raises:
        IdentityError: a variable is malformed, or variables contradict each other.
    """
    fields = {PREFIX + name.upper(): name for name in Identity.__struct_fields__}
    given = {field: environment[name] for name, field in fields.items() if environment.get(name)}
    for info in msgspec.structs.fields(Identity):
        if info.name in given:
            _check(info.name, info.type, given[info.name])
    identity = msgspec.convert(given, Identity, strict=False)
    for said in _contradictions(identity, urls):
        raise IdentityError(said)
    return identity


_EXPECTED: Final = {
    "tls_first": "true or false",
    "js_domain": "1 to 64 of A-Z a-z 0-9 _ -",
    "js_api_prefix": "a subject without wildcards, such as JS.engine.API",
    "inbox_prefix": "a subject without wildcards, such as _INBOX_worker",
}
_NO_PATH: Final = re.compile(r"(data|env|op|nsc):|S[A-Z2-7]{57}\Z|ey[\w-]+\.[\w-]+\.|-----BEGIN", re.IGNORECASE)
"""A seed, a JWT, or what contexts write in the place of a path."""


def _check(name: str, kind: Any, value: str) -> None:  # noqa: ANN401 - a type of msgspec's
    variable = PREFIX + name.upper()
    if not value.isprintable():
        raise IdentityError(f"{variable}: it holds a newline or another control character")
    if name in {"creds", "nkey"} and _NO_PATH.match(value):
        raise IdentityError(f"{variable}: expected the path of a file, and not what it holds")
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise IdentityError(f"{variable}: expected {_EXPECTED[name]}") from None


def _contradictions(identity: Identity, urls: str) -> Sequence[str]:
    one = identity
    found = [
        f"{_and(*names)} are both set: set one of them"
        for names in (("password", "password_file"), ("token", "token_file"), ("js_domain", "js_api_prefix"))
        if all(getattr(one, name) for name in names)
    ]
    logins = _logins(one, urls)
    if len(logins) > 1:
        found.append(f"{' and '.join(logins[:2])} are two identities: set one of them")
    if one.user and not (one.password or one.password_file):
        found.append("NATS_USER needs NATS_PASSWORD or NATS_PASSWORD_FILE (a token belongs into NATS_TOKEN)")
    if (one.password or one.password_file) and not one.user:
        found.append(f"{'NATS_PASSWORD' if one.password else 'NATS_PASSWORD_FILE'} needs NATS_USER")
    if one.user_seed and not one.user_jwt:
        found.append("NATS_USER_SEED needs NATS_USER_JWT (a seed by itself belongs into a file that NATS_NKEY names)")
    if bool(one.cert) != bool(one.key):
        found.append(f"{'NATS_CERT' if one.cert else 'NATS_KEY'} needs {'NATS_KEY' if one.cert else 'NATS_CERT'}")
    if one.wants_tls(urls) and any(url.startswith("ws://") for url in servers_of(urls)):
        found.append("NATS_URL: ws:// has no TLS, which is asked for; write wss://")
    return found


def _and(*names: str) -> str:
    return " and ".join(PREFIX + name.upper() for name in names)


def _logins(identity: Identity, urls: str) -> list[str]:
    """Return the variables that give a login, one for each identity."""
    named = {
        "NATS_CREDS": identity.creds,
        "NATS_NKEY": identity.nkey,
        "NATS_USER_JWT": identity.user_jwt,
        "NATS_USER": identity.user,
        "NATS_TOKEN": identity.token,
        "NATS_TOKEN_FILE": identity.token_file,
        "NATS_URL": any("@" in urlsplit(url).netloc for url in servers_of(urls)),
    }
    return [name for name, value in named.items() if value]


def _given(identity: Identity) -> list[str]:
    return [field.name for field in msgspec.structs.fields(identity) if getattr(identity, field.name) != field.default]


# -- contexts of the tool `nats` ---------------------------------------------------------------------------------------

_FROM_CONTEXT: Final = {
    "url": "NATS_URL",
    "token": "NATS_TOKEN",
    "user": "NATS_USER",
    "password": "NATS_PASSWORD",
    "creds": "NATS_CREDS",
    "nkey": "NATS_NKEY",
    "user_jwt": "NATS_USER_JWT",
    "user_seed": "NATS_USER_SEED",
    "cert": "NATS_CERT",
    "key": "NATS_KEY",
    "ca": "NATS_CA",
    "tls_first": "NATS_TLS_FIRST",
    "jetstream_domain": "NATS_JS_DOMAIN",
    "jetstream_api_prefix": "NATS_JS_API_PREFIX",
    "inbox_prefix": "NATS_INBOX_PREFIX",
}
"""The fields of a context by the variables that say the same."""
_UNUSABLE: Final = {
    "nsc": "write a credentials file (`nsc generate creds -a ACCOUNT -n USER -o FILE`) and name it in `creds`",
    "socks_proxy": "forward a port through the proxy (`ssh -L 4222:HOST:4222 PROXY`) and name that in `url`",
    "windows_cert_store": "name files in `cert` and `key`",
    "windows_ca_certs_match": "name a file in `ca`",
}
"""Fields without which a context means something else, and what to do in their place."""
_NO_PROXY: Final = frozenset({"none", "NONE", "-"})


def context_variables(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that a context stands for. What it says of colours and descriptions means nothing here.

    Raises:
        IdentityError: it has a field that cannot be used, or one of another type.
    """
    for name, instead in _UNUSABLE.items():
        if fields.get(name) and fields[name] not in _NO_PROXY:
            raise IdentityError(f"its field `{name}` is not supported: {instead}")
    found: dict[str, str] = {}
    for name, variable in _FROM_CONTEXT.items():
        value = fields.get(name) or ""
        if value is True and name == "tls_first":
            value = "true"
        if not isinstance(value, str):
            raise IdentityError(f"its field `{name}` has the wrong type")
        if value:
            found[variable] = value
    return found

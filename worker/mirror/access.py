"""How a bucket is reached, from the variables of the environment that the tools of S3 know. Pure but for files.

A key in a URL ends up in histories and lists of processes, so it is in variables, or in the files that they name.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from worker.secret_files import SecretFileError, read_file, read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables that have another form, NAME_FILE."""
_HEADER: Final = re.compile(r"[!-~]*")
_ENDPOINT: Final = re.compile(r"https?://(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?[A-Za-z0-9._~/-]*")
"""The library ends the process with a panic where it cannot read one."""
_REGION: Final = re.compile(r"[A-Za-z0-9-]{0,64}")
_YES: Final = frozenset({"1", "true", "yes", "on"})


class AccessError(ValueError):
    """A variable cannot be used; the message names it and shows no secret."""


class Access(NamedTuple):
    """How a bucket is reached. What is "" is not said.

    `endpoint` is that of the server, without one it is that of AWS in `region`; `allow_http` lets it be reached without
    TLS; `authorities` holds certificates in PEM that are trusted beside those of the system.
    """

    key: str = ""
    secret: str = ""
    token: str = ""
    region: str = ""
    endpoint: str = ""
    allow_http: bool = False
    authorities: bytes = b""


def access_of(environment: Mapping[str, str]) -> Access:
    """Return what an environment says.

    Raises:
        AccessError: it cannot be used.
    """
    key, secret, token = (_secret(environment, name) for name in KEYS)
    if bool(key) != bool(secret):
        lacking = KEYS[1] if key else KEYS[0]
        raise AccessError(f"{lacking} is not set, and the other half of the key is")
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
    allow_http = bool(endpoint) and _without_tls(endpoint, environment)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
    if _REGION.fullmatch(region) is None:
        raise AccessError("AWS_REGION: expected a region such as eu-central-1")
    return Access(key, secret, token, region, endpoint.rstrip("/"), allow_http, _authorities(environment))


def _secret(environment: Mapping[str, str], name: str) -> str:
    value = _text(environment, name)
    if _HEADER.fullmatch(value) is None:
        raise AccessError(f"{name}: it has a character that no key has")
    return value


def _text(environment: Mapping[str, str], name: str) -> str:
    path = environment.get(f"{name}_FILE", "")
    if not path:
        return environment.get(name, "").strip()
    if environment.get(name):
        raise AccessError(f"{name} and {name}_FILE are both set: set one of them")
    try:
        return read_secret(path)
    except SecretFileError as error:
        raise AccessError(f"{name}_FILE: {error}") from None


def _without_tls(endpoint: str, environment: Mapping[str, str]) -> bool:
    """Tell whether an endpoint is to be reached without TLS.

    Raises:
        AccessError: it is none, or may not.
    """
    if "@" in endpoint or "?" in endpoint or "#" in endpoint:
        raise AccessError(
            "AWS_ENDPOINT_URL: expected a URL without a key or parameters, such as https://s3.example.com"
        )
    try:
        parts = urlsplit(endpoint)
        fits = _ENDPOINT.fullmatch(endpoint) is not None and parts.port != 0
    except ValueError:
        parts, fits = None, False
    if parts is None or not fits or not parts.hostname:
        raise AccessError("AWS_ENDPOINT_URL: expected a URL such as https://s3.example.com")
    if parts.scheme == "https":
        return False
    if _is_here(parts.hostname) or environment.get("AWS_ALLOW_HTTP", "").lower() in _YES:
        return True
    raise AccessError("AWS_ENDPOINT_URL: http:// shows everything to the network; AWS_ALLOW_HTTP=true permits it")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authorities(environment: Mapping[str, str]) -> bytes:
    path = environment.get("AWS_CA_BUNDLE", "")
    if not path:
        return b""
    try:
        held = read_file(path)
    except SecretFileError as error:
        raise AccessError(f"AWS_CA_BUNDLE: {error}") from None
    if b"-----BEGIN CERTIFICATE-----" not in held:
        raise AccessError(f"AWS_CA_BUNDLE: {path} holds no certificate in PEM")
    return held

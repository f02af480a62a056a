"""The file that says who may read: tenants, hashes of their keys, secrets of their tokens, and limits."""

from __future__ import annotations

import stat
import tomllib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from worker.distribution import install
from worker.serve.public_keys import PublicKeyError, public_key_of

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

SECRET_CHARACTERS: Final = 43
"""32 random bytes in base64, without padding: fewer are no secret of 256 bits."""

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 in hexadecimal digits."""
_Secret = Annotated[str, Meta(min_length=SECRET_CHARACTERS, max_length=512)]
_KeyId = Annotated[str, Meta(min_length=1, max_length=128)]
_Rate = Annotated[float, Meta(gt=0, le=1_000_000)]
_Count = Annotated[int, Meta(ge=1, le=1_000_000)]
_Origin = Annotated[str, Meta(pattern=r"^https?://[^/*?#\s]+\Z")]


class ConfigError(ValueError):
    """The file cannot be used; the message names it, and what is wrong, and quotes no secret."""


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """What one tenant's callers show. Two of each are for the time of a rotation."""

    keys: Annotated[list[Hash], Meta(max_length=2)] = field(default_factory=list[str])
    """SHA-256 of each key, in hexadecimal digits."""
    token_secrets: Annotated[list[_Secret], Meta(max_length=2)] = field(default_factory=list[str])
    """With which the tenant's application signs tokens for browsers, HS256."""
    public_keys: Annotated[dict[_KeyId, str], Meta(max_length=4)] = field(default_factory=dict[str, str])
    """Of applications that sign tokens with Ed25519 instead, by `kid`: PEM, or `x` of a JWK."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """How `ach serve` runs."""

    cursor_key: _Secret
    """Encrypts cursors and the ids of live events. Processes that serve the same clients share it."""
    tenants: dict[Annotated[str, Meta(min_length=1)], Tenant] = field(default_factory=dict[str, Tenant])
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    origins: list[_Origin] = field(default_factory=list[str])
    """Of pages whose scripts may read, exactly as browsers send them (`https://app.example`)."""
    reveal: bool = False
    """Whether to write down what `reveal at N%` has shown. It takes the right to execute `keep_revealed`."""
    key_rate: _Rate = 200
    """Requests a second of one key, over time."""
    key_burst: _Count = 400
    token_rate: _Rate = 5
    """Requests a second of one subject's tokens, over time."""
    token_burst: _Count = 30
    live_streams: _Count = 20_000
    """Live streams of the process, at most."""
    live_per_tenant: _Count = 10_000
    """Of one tenant's subjects together: no tenant takes all of them."""
    live_per_subject: _Count = 10
    cached_answers: _Count = 10_000
    """Answers that are kept, at most."""
    service: bool = True
    """Whether to answer on NATS, too."""


def load_config(path: Path) -> Config:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or used.
    """
    config = read_toml(path, Config, "`ach serve key --tenant NAME` begins one")
    _check(path, config)
    return config


def read_toml(path: Path, shape: type[T], hint: str) -> T:
    """Read a file of TOML into a shape; `hint` says what to do where it cannot be read.

    Raises:
        ConfigError: it cannot be read, or has another shape.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}; {hint}") from error
    try:
        return msgspec.convert(tomllib.loads(text), shape)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        said = str(error)
        raise ConfigError(f"{path}: {said[0].lower()}{said[1:]}") from None


def is_open_to_others(path: Path) -> bool:
    """Tell whether other accounts of the machine may read the file, which has secrets."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _check(path: Path, config: Config) -> None:
    seen: dict[str | bytes, str] = {}
    public = {name: _public_keys(path, name, tenant) for name, tenant in config.tenants.items()}
    for name, tenant in config.tenants.items():
        for one in (*tenant.keys, *tenant.token_secrets, *public[name]):
            if one in seen:
                raise ConfigError(f"{path}: tenants {seen[one]!r} and {name!r} have a key or secret in common")
            seen[one] = name
    known = {key for keys in public.values() for key in keys}
    for name, tenant in config.tenants.items():
        if any(_as_public_key(secret) in known for secret in tenant.token_secrets):
            raise ConfigError(f"{path}: tenant {name!r} has a public key among its token_secrets: all may know it")
    if known and find_spec("cryptography") is None:
        raise ConfigError(f"{path}: public_keys need cryptography, which is not installed: {install('serve')}")


def _public_keys(path: Path, name: str, tenant: Tenant) -> list[bytes]:
    found: list[bytes] = []
    for kid, text in tenant.public_keys.items():
        try:
            found.append(public_key_of(text))
        except PublicKeyError as error:
            raise ConfigError(f"{path}: public_keys.{kid} of tenant {name!r}: {error}") from None
    return found


def _as_public_key(secret: str) -> bytes | None:
    try:
        return public_key_of(secret)
    except PublicKeyError:
        return None

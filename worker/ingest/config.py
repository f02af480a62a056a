"""The file that says who may send: tenants and hashes of their keys, webhooks of others, and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct, field

from worker.notify.signature import SecretError, read_secret
from worker.serve.config import ConfigError, Hash, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Config", "ConfigError", "Key", "Limits", "Tenant", "Webhook", "load_config"]

MOST_KEYS: Final = 8
"""Of one tenant: two while one is rotated, for each of its services and for its tests."""

_Name = Annotated[str, Meta(min_length=1, max_length=512)]
_Path = Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^[^.]+(\.[^.]+)*$")]
"""Names of fields with dots between them."""
_Route = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """One key; `validate` holds its events to the rules' contracts, as `?validate=contract` does."""

    hash: Hash
    validate: bool = False


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """What one tenant's servers show."""

    keys: Annotated[list[Hash | Key], Meta(max_length=MOST_KEYS)] = field(default_factory=list[Hash | Key])
    """SHA-256 of each key in hexadecimal digits, by itself or as `hash` of a table."""

    def each(self) -> Iterator[Key]:
        """Yield the keys."""
        for one in self.keys:
            yield Key(one) if isinstance(one, str) else one


class Webhook(Struct, frozen=True, forbid_unknown_fields=True):
    """A sender that signs as Standard Webhooks says, and where its bodies say what an event needs.

    `user`, `type`, `time` and `payload` are paths: names of fields with dots between them.
    """

    tenant: _Name
    secrets: Annotated[list[str], Meta(min_length=1, max_length=2)]
    """`whsec_` and base64; two while the sender rotates them."""
    user: _Path
    time: _Path
    """An instant of RFC 3339, or whole seconds since 1970."""
    type: _Path | None = None
    event_type: _Name | None = None
    """The type of all its events, in place of `type`."""
    payload: _Path | None = None
    """An object; the whole body where it is left out."""

    @property
    def keys(self) -> list[bytes]:
        """The secrets, decoded."""
        return [read_secret(one) for one in self.secrets]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What senders may ask of the process."""

    key_rate: Annotated[float, Meta(gt=0, le=10_000_000)] = 5_000
    """Events a second of one key, over time."""
    key_burst: Annotated[int, Meta(ge=1, le=10_000_000)] = 20_000
    """Events of one key at once."""
    body_bytes: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] = 1024 * 1024
    """Of one body, inflated."""
    batch_events: Annotated[int, Meta(ge=1, le=4096)] = 1_000
    """In one body."""
    body_seconds: Annotated[float, Meta(gt=0, le=60)] = 10
    """For a body to arrive."""
    memory_bytes: Annotated[int, Meta(ge=1024 * 1024)] = 64 * 1024 * 1024
    """Of bodies that are read or published at a time; one key may take a quarter."""
    ack_seconds: Annotated[float, Meta(gt=0, le=60)] = 5
    """For the broker to acknowledge all events of a body."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """How `ach ingest` runs."""

    tenants: dict[_Name, Tenant] = field(default_factory=dict[str, Tenant])
    webhooks: dict[_Route, Webhook] = field(default_factory=dict[str, Webhook])
    """By the last part of their path."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8090
    limits: Limits = Limits()


def load_config(path: Path) -> Config:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or used.
    """
    config = read_toml(path, Config, "`ach ingest key --tenant NAME` begins one")
    _check_keys(path, config)
    for name, webhook in config.webhooks.items():
        _check_webhook(f"{path}: webhooks.{name}", webhook)
    return config


def _check_keys(path: Path, config: Config) -> None:
    seen: dict[str, str] = {}
    for name, tenant in config.tenants.items():
        for one in tenant.each():
            if one.hash in seen:
                raise ConfigError(f"{path}: tenants {seen[one.hash]!r} and {name!r} have a key in common")
            seen[one.hash] = name


def _check_webhook(where: str, webhook: Webhook) -> None:
    if (webhook.type is None) == (webhook.event_type is None):
        raise ConfigError(f"{where}: expected either `type`, a path, or `event_type`, the type of all its events")
    try:
        _ = webhook.keys
    except SecretError as error:
        raise ConfigError(f"{where}.secrets: {error}") from None

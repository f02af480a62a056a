"""Which partition a subject belongs to, and how names become tokens of a NATS subject. Pure.

Events travel on `<prefix>.<tenant>.<user>.<event type>`. A token is percent-encoded to `[A-Za-z0-9_%-]`; one that would
be too long is `~` and a hash instead, and no encoded token begins with `~`. The dots of an event type stay, so that
consumers may filter by its parts.

A broker's permissions are about subjects, so a subject binds what is published on it: see `bound_by`.

Measured and tried: docs/decisions/0008-hot-path/partition-hash.md.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Collection

PARTITIONS: Final = 64
"""Rows of the table `partition`. Part of what is deployed: workers that disagree do not fence each other."""

MAX_TOKEN: Final = 120
"""Characters of one token; ids may be five times as long, and a subject should stay far below the broker's 4 KiB."""


@lru_cache(maxsize=65536)
def partition_of(tenant: str, scope: str, subject: str, partitions: int = PARTITIONS) -> int:
    """Return the partition (from 0) of a subject; stable over processes, releases and machines.

    A user's is what the broker's `{{partition(64,<tenant>,<user>)}}` makes of the tokens of an event's subject, so that
    a broker can hand each worker partitions that no other worker writes.
    """
    if scope == "user":
        return _fnv1a(token(tenant) + token(subject)) % partitions
    return crc32(f"{tenant}\0{scope}\0{subject}".encode()) % partitions


def _fnv1a(text: str) -> int:
    """Return the 32-bit FNV-1a hash, as nats-server computes it."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


@lru_cache(maxsize=65536)
def token(text: str) -> str:
    """Return the one subject token that stands for a name."""
    # A dot separates tokens, and `~` marks a hash; quote() leaves both as they are.
    encoded = quote(text, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(encoded) <= MAX_TOKEN:
        return encoded
    return "~" + blake2b(text.encode(), digest_size=16).hexdigest()


def name_of(token: str) -> str | None:
    """Return the name that a subject token stands for; None where it stands for one that is too long."""
    return None if token.startswith("~") else unquote(token, errors="replace")


def are_tokens(names: Collection[str]) -> bool:
    """Tell whether the token of every one of some names is the name itself; False says nothing."""
    joined = "".join(names)
    if not joined.isascii() or max(map(len, names), default=0) > MAX_TOKEN:
        return False
    return joined.isalnum() or joined.replace("-", "").replace("_", "").isalnum()


@lru_cache(maxsize=4096)
def type_tokens(event_type: str) -> str:
    """Return the tokens of an event type: one per part between its dots."""
    parts = event_type.split(".")
    return ".".join(map(token, parts)) if all(parts) else token(event_type)


def event_subject(prefix: str, tenant: str, user: str, event_type: str) -> str:
    """Return the subject that an event travels on."""
    return f"{event_subjects(prefix, tenant)}{token(user)}.{type_tokens(event_type)}"


@lru_cache(maxsize=65536)
def event_subjects(prefix: str, tenant: str) -> str:
    """Return how the subjects of a tenant's events begin."""
    return f"{prefix}.{token(tenant)}."


# -- what a subject binds ----------------------------------------------------------------------------------------------


class Bound(NamedTuple):
    """The tenant and the user whose events a subject may carry, as tokens; None means any."""

    tenant: str | None
    user: str | None

    def fits_tenant(self, tenant: str) -> bool:
        """Tell whether an event of a tenant may come on it."""
        return self.tenant is None or self.tenant == token(tenant)

    def fits_user(self, user: str) -> bool:
        """Tell whether an event of a user of that tenant may come on it."""
        return self.user is None or self.user == token(user)


UNBOUND: Final = Bound(None, None)
"""What `<prefix>.raw` binds: permission to publish there is permission to write for every tenant."""
ELSEWHERE: Final = Bound("", None)
"""What a subject outside of the prefix binds: no tenant has an empty token, so nothing may come on it."""

_HASH: Final = re.compile(r"~[0-9a-f]{32}")


def raw_subject(prefix: str) -> str:
    """Return the one subject that carries events of any tenant."""
    return f"{prefix}.raw"


def shared_subject(prefix: str, tenant: str, what: str = "batch") -> str:
    """Return a subject for events of many users of a tenant; `what` is a word of the caller's."""
    return f"{event_subjects(prefix, tenant)}~{what}.{what}"


@lru_cache(maxsize=4096)
def bound_by(prefix: str, subject: str) -> Bound:
    """Return what a subject binds.

    Below the prefix the first token binds the tenant, however many follow; the second, where there is one, the user.
    A second token that begins with `~` and is no hash is reserved: it binds no user, as no name is encoded to it.
    """
    if subject == raw_subject(prefix):
        return UNBOUND
    if not subject.startswith(f"{prefix}."):
        return ELSEWHERE
    tenant, *rest = subject[len(prefix) + 1 :].split(".", 2)
    user = rest[0] if rest else None
    return Bound(tenant, None if user is None or _is_reserved(user) else user)


def _is_reserved(user: str) -> bool:
    return user.startswith("~") and _HASH.fullmatch(user) is None

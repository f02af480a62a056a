"""Which partition a subject belongs to, and how names become tokens of a NATS subject. Pure.

Events travel on `<prefix>.<tenant>.<user>.<event type>`. A token is percent-encoded to `[A-Za-z0-9_%-]`; one that would
be too long is `~` and a hash instead, and no encoded token begins with `~`. The dots of an event type stay, so that
consumers may filter by its parts.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final
from urllib.parse import quote
from zlib import crc32

PARTITIONS: Final = 64
"""Rows of the table `partition`. Part of what is deployed: workers that disagree do not fence each other."""

MAX_TOKEN: Final = 120
"""Characters of one token; ids may be five times as long, and a subject should stay far below the broker's 4 KiB."""


@lru_cache(maxsize=65536)
def partition_of(tenant: str, scope: str, subject: str, partitions: int = PARTITIONS) -> int:
    """Return the partition (from 0) of a subject; stable over processes, releases and machines.

    A user's is what the broker's `{{partition(64,<tenant>,<user>)}}` makes of the tokens of an event's subject, so that
    a broker can hand each worker partitions that nobody else writes.
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


def tenant_token(prefix: str, subject: str) -> str | None:
    """Return the tenant's token of a subject of the form above, or None for any other subject."""
    if not subject.startswith(prefix) or subject[len(prefix) : len(prefix) + 1] != ".":
        return None
    tokens = subject[len(prefix) + 1 :].split(".", 2)
    return tokens[0] if len(tokens) == _TENANT_USER_TYPE else None


_TENANT_USER_TYPE: Final = 3

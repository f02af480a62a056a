"""The only place that reads the broker's English. Pure.

The protocol gives a code for most errors: those of JetStream's API and of acknowledgements have numbers, and we compare
the numbers. For two kinds it gives words alone: `-ERR '...'`, which refuses something or closes the connection, and
status 409 of a pull request, which stands for a dozen things. Their words are compared here and nowhere else.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

TOO_LARGE: Final = "409 Message Size Exceeds MaxBytes"
"""A pull request ended because the next message is larger than the bytes it may still bring."""
COMPLETED: Final = frozenset({TOO_LARGE, "409 Batch Completed"})
"""Pull requests that ended as they should."""


class Kind(StrEnum):
    """Why a connection ended, or what the broker refused."""

    LOST = "lost"
    """Cut off, or never made."""
    SILENT = "silent"
    """It stands, and nothing is answered."""
    AUTHORIZATION = "authorization"
    PERMISSIONS = "permissions"
    LIMIT = "limit"
    """Of connections, or subscriptions."""
    PAYLOAD = "payload"
    PROTOCOL = "protocol"
    TLS = "tls"
    OTHER = "other"
    """The broker said something that this version does not know."""


_KINDS: Final = (
    (Kind.PERMISSIONS, "permissions violation"),
    (Kind.SILENT, "stale connection|no answer|has ended"),
    (Kind.PAYLOAD, "maximum payload"),
    (Kind.PROTOCOL, "control line|protocol|invalid|headers|route port|leaf node port|gateway port|wrong port"),
    (Kind.LIMIT, "maximum|throttling"),
    (Kind.TLS, "tls|ssl|certificate"),
    (Kind.AUTHORIZATION, "authorization|authentication|account|revoked|proxy"),
    (
        Kind.LOST,
        "eof|empty response|refused|reset|pipe|timeout|servers|not connected|closed|name|address|host|network",
    ),
)


def kind_of(said: str) -> Kind:
    """Return the kind of what a broker or the network has said."""
    return next((kind for kind, words in _KINDS if re.search(words, said, re.IGNORECASE)), Kind.OTHER)


def names_subject(said: str, subject: str) -> bool:
    """Tell whether a violation of permissions is about a subject, in the broker's letters or in small ones."""
    return f'"{subject}"'.lower() in said.lower()


def denies_publishing(said: str, prefix: str) -> bool:
    """Tell whether a violation of permissions is about publishing below a prefix of subjects."""
    return re.search(rf'publish to "{re.escape(prefix)}\.', said, re.IGNORECASE) is not None

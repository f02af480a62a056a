"""Signatures of Standard Webhooks: HMAC-SHA256 over id, timestamp and body. Pure."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "whsec_"
SHORTEST: Final = 24
"""Bytes of a secret at least, as Standard Webhooks asks for."""
LONGEST: Final = 64


class SecretError(ValueError):
    """A secret cannot be used; the message quotes nothing of it."""


def read_secret(text: str) -> bytes:
    """Return the key that a text `whsec_<base64>` stands for.

    Raises:
        SecretError: it is malformed, too short or too long.
    """
    text = text.strip()
    how = f"write {PREFIX} and the base64 of {SHORTEST} to {LONGEST} random bytes"
    if not text.startswith(PREFIX):
        raise SecretError(f"the secret does not begin with {PREFIX}; {how}")
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True)
    except (Base64Error, ValueError):
        raise SecretError(f"the secret is not base64 behind {PREFIX}; {how}") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise SecretError(f"the secret has {len(key)} bytes; {how}")
    return key


def signed_headers(keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that a receiver verifies; `timestamp` is seconds since the epoch, of this attempt.

    Each key gives a signature: while a secret is rotated, a receiver that knows either of two can verify.
    """
    said = f"{webhook_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{b64encode(hmac.digest(key, said, 'sha256')).decode()}" for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }

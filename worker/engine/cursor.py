"""Places in the books as text that says nothing and cannot be made up. Pure.

A number of the books counts what all tenants do, which no tenant is to know: so it is encrypted, with its own
authentication code as the nonce. The tenant is part of that: a cursor is good for one tenant alone.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

_HALF: Final = 8
_LONGEST: Final = 32


class CursorError(ValueError):
    """A cursor that was not given out for this tenant, or not under this key."""

    def __init__(self) -> None:
        super().__init__("the cursor was not given out here: begin without one")


class Cursors:
    """Cursors under one key; the holder of the key can read them and make them."""

    def __init__(self, key: bytes) -> None:
        self._key = blake2b(key, digest_size=32, person=b"ach cursors").digest()

    def write(self, tenant: str, place: int) -> str:
        """Return the cursor of a place (0 or more)."""
        plain = place.to_bytes(_HALF, "big")
        code = self._hash(b"code", tenant.encode(), plain)
        return urlsafe_b64encode(code + self._crypt(code, tenant, plain)).decode().rstrip("=")

    def read(self, tenant: str, text: str) -> int:
        """Return the place of a cursor.

        Raises:
            CursorError: it is none for this tenant.
        """
        if len(text) > _LONGEST or not text.isascii():
            raise CursorError
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (Error, ValueError):
            raise CursorError from None
        code, plain = raw[:_HALF], self._crypt(raw[:_HALF], tenant, raw[_HALF:])
        if len(raw) != 2 * _HALF or not compare_digest(code, self._hash(b"code", tenant.encode(), plain)):
            raise CursorError
        return int.from_bytes(plain, "big")

    def _crypt(self, code: bytes, tenant: str, text: bytes) -> bytes:
        stream = self._hash(b"text", tenant.encode(), code)
        return bytes(left ^ right for left, right in zip(text, stream, strict=False))

    def _hash(self, use: bytes, tenant: bytes, said: bytes) -> bytes:
        return blake2b(said + tenant, digest_size=_HALF, key=self._key, person=use).digest()

"""Public keys of applications that sign their tokens with Ed25519, as an operator writes them into the file.

They are read without a library, so that the file is checked in full before anything asks for `cryptography`.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64decode
from binascii import Error
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_BYTES: Final = 32
_BEGIN: Final = "-----BEGIN PUBLIC KEY-----"
_END: Final = "-----END PUBLIC KEY-----"
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
"""What stands before the key itself in SubjectPublicKeyInfo (RFC 8410)."""
_SMALL_ORDER: Final = frozenset(
    number.to_bytes(KEY_BYTES, "little") for number in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18)
) | {
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}
"""Points whose multiples are few, but for their signs: for such a key anyone can make signatures."""
_HOW: Final = "print it with `openssl pkey -in KEY.pem -pubout`"


class PublicKeyError(ValueError):
    """A text is no public key of Ed25519; the message says why, and quotes nothing."""


def public_key_of(text: str) -> bytes:
    """Return the 32 bytes of a key: PEM as `openssl pkey -pubout` prints it, or `x` of a JWK.

    Raises:
        PublicKeyError: it is neither.
    """
    text = text.strip()
    if "PRIVATE KEY" in text:
        raise PublicKeyError(f"this is a private key, which stays with the application: make another one, and {_HOW}")
    key = _of_pem(text) if text.startswith("-----") else _of_jwk(text)
    if key[:-1] + bytes([key[-1] & 0x7F]) in _SMALL_ORDER:
        raise PublicKeyError("anyone can make signatures for this key: use one that openssl has made")
    return key


def _of_pem(text: str) -> bytes:
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        raise PublicKeyError(f"expected one PUBLIC KEY in PEM; {_HOW}")
    try:
        der = b64decode("".join(text.removeprefix(_BEGIN).removesuffix(_END).split()), validate=True)
    except (Error, ValueError):
        raise PublicKeyError(f"this PEM cannot be read; {_HOW}") from None
    if not der.startswith(_ED25519) or len(der) != len(_ED25519) + KEY_BYTES:
        raise PublicKeyError("this key is not of Ed25519: make one with `openssl genpkey -algorithm ed25519`")
    return der.removeprefix(_ED25519)


def _of_jwk(text: str) -> bytes:
    try:
        key = urlsafe_b64decode(text + "=" * (-len(text) % 4)) if text.isascii() else b""
    except (Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise PublicKeyError(f"expected a PUBLIC KEY in PEM, or `x` of a JWK, which has 43 characters; {_HOW}")
    return key


def verifier_of(key: bytes) -> Ed25519PublicKey:
    """Return what verifies signatures.

    Raises:
        ModuleNotFoundError: `cryptography` is not installed.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - may be missing

    return Ed25519PublicKey.from_public_bytes(key)

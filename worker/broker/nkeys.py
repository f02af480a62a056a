"""Keys of NATS: seeds and public keys as text, credentials files, and signatures.

A key as text is base32 of a prefix, 32 bytes, and a checksum (CRC-16/XMODEM, the low byte first). A seed has two bytes
in front: five bits say that it is one, the next eight have the prefix of its public key.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final, NamedTuple, cast

import msgspec

from worker.broker.errors import BrokerMismatchError
from worker.distribution import install

_SEED: Final = 18 << 3
USER: Final = 20 << 3
"""Prefix of a user's public key: such keys begin with a U, their seeds with SU."""
_SEED_BYTES: Final = 36
_SUM: Final = 2
_ALPHABET: Final = re.compile(r"[A-Z2-7]+")
_MARK: Final = re.compile(r"-{3,8} ?(BEGIN|END) ([A-Z ]{1,40}?) ?-{3,8}")
_JWT: Final = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]+")


class KeyFormatError(ValueError):
    """A key, a JWT or a credentials file is malformed; the message has nothing of it."""


class Seed(NamedTuple):
    """A seed: what signs. `prefix` is that of its public key."""

    prefix: int
    raw: bytes

    def __repr__(self) -> str:
        return "Seed(...)"


def read_seed(text: str) -> Seed:
    """Return a user's seed.

    Raises:
        KeyFormatError: it is none.
    """
    if not _ALPHABET.fullmatch(text):
        raise KeyFormatError("it is no seed: a user's begins with SU and has A to Z and 2 to 7 alone")
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raise KeyFormatError("the seed is cut short") from None
    if len(raw) < _SEED_BYTES or raw[0] & 0xF8 != _SEED:
        raise KeyFormatError("it is no seed, or the seed is cut short: a user's begins with SU and has 58 characters")
    # The last character has bits that nothing is kept in: only one spelling of a seed is right.
    written = base64.b32encode(raw).decode().rstrip("=")
    if len(raw) != _SEED_BYTES or _checksum(raw[:-_SUM]) != raw[-_SUM:] or written != text:
        raise KeyFormatError("the checksum of the seed is wrong: a character is missing or another one")
    prefix = (raw[0] & 0x07) << 5 | (raw[1] & 0xF8) >> 3
    if prefix != USER:
        raise KeyFormatError("it is the seed of an account or an operator; a user's begins with SU")
    return Seed(prefix, raw[2:-_SUM])


def public_text(prefix: int, public: bytes) -> str:
    """Return a public key as text."""
    raw = bytes([prefix]) + public
    return base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")


def _checksum(raw: bytes) -> bytes:
    return binascii.crc_hqx(raw, 0).to_bytes(_SUM, "little")


class Key:
    """A seed that signs.

    Raises:
        BrokerMismatchError: PyNaCl is not installed.
    """

    def __init__(self, seed: Seed, *, wanted_by: str) -> None:
        """Take a seed; `wanted_by` is the variable that needs it."""
        try:
            from nacl.signing import SigningKey  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "nacl":
                raise
            raise BrokerMismatchError(
                f"{wanted_by} needs PyNaCl, which is not installed; {install('nkeys')}"
            ) from error
        self._key = SigningKey(seed.raw)
        self.public = public_text(seed.prefix, bytes(self._key.verify_key))

    def sign(self, nonce: str) -> bytes:
        """Return the signature of what the broker asks to be signed, in base64."""
        return base64.b64encode(self._key.sign(nonce.encode()).signature)


class Credentials(NamedTuple):
    """A user's JWT and what signs for it; `expires` in seconds since the epoch, 0 for never."""

    jwt: str
    seed: Seed | None
    """None for a bearer token: the broker wants no signature for it."""
    subject: str
    """The public key that the JWT is for."""
    expires: int

    def __repr__(self) -> str:
        return "Credentials(...)"


def read_credentials(text: str) -> Credentials:
    """Return what a credentials file holds.

    Raises:
        KeyFormatError: it is none.
    """
    blocks = _blocks(text)
    jwt, seed = blocks.get("NATS USER JWT"), blocks.get("USER NKEY SEED")
    if jwt is None or seed is None:
        missing = "BEGIN NATS USER JWT" if jwt is None else "BEGIN USER NKEY SEED"
        raise KeyFormatError(f"it is no credentials file: it has no complete block {missing}")
    return read_user(jwt, read_seed(seed))


def read_user(jwt: str, seed: Seed | None) -> Credentials:
    """Return what a JWT says of its user.

    Raises:
        KeyFormatError: it is none, or it needs a seed.
    """
    claims = _claims(jwt)
    subject, expires, rest = claims.get("sub"), claims.get("exp", 0), claims.get("nats")
    if not isinstance(subject, str) or not isinstance(expires, int) or not isinstance(rest, dict):
        raise KeyFormatError("its JWT is malformed")
    if seed is None and cast("dict[str, object]", rest).get("bearer_token") is not True:
        raise KeyFormatError("its JWT is no bearer token, so the seed has to come with it")
    return Credentials(jwt, seed, subject, expires)


def read_seed_file(text: str) -> Seed:
    """Return the seed of a file that holds it alone, or in a block.

    Raises:
        KeyFormatError: there is none.
    """
    blocks = _blocks(text)
    return read_seed(blocks.get("USER NKEY SEED", text.strip()))


def _blocks(text: str) -> dict[str, str]:
    """Return the one line of each block by the block's name; a block that is not complete is none."""
    found: dict[str, str] = {}
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    marks = [_MARK.fullmatch(line) for line in lines]
    for begin, line, end in zip(marks, lines[1:], marks[2:], strict=False):
        if begin and end and (begin[1], end[1], begin[2]) == ("BEGIN", "END", end[2]):
            found[begin[2]] = line
    return found


def _claims(jwt: str) -> dict[str, Any]:
    """Return what a JWT says. The broker checks its signature; we only look who it is for and until when."""
    found = _JWT.fullmatch(jwt)
    try:
        held = b"" if found is None else base64.urlsafe_b64decode(found[1] + "==")
        return msgspec.json.decode(held, type=dict[str, Any])
    except ValueError:
        raise KeyFormatError("its JWT is malformed") from None

"""Who calls: a tenant's key, or a short-lived token that is bound to one subject. Everything else is refused.

A key is 256 random bits, and the file has its SHA-256. A slow hash would add nothing: passwords can be guessed because
people choose them, and no number of tries finds 256 random bits. It would cost every request what it costs a thief.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import Error
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, NamedTuple, TypeVar

import jwt
import msgspec
from msgspec import Meta, Struct

from dsl.outcome import Subject
from worker.serve.problems import ForbiddenError, UnauthorizedError
from worker.serve.public_keys import public_key_of, verifier_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from worker.serve.config import Config

    _Key = str | Ed25519PublicKey
    """A secret, or a public key."""

T = TypeVar("T")

KEY_PREFIX: Final = "ach_"
SHARED: Final = "HS256"
"""With a secret that the file has."""
SIGNED: Final = "EdDSA"
"""With the private key of an application; the file has the public one."""
AUDIENCE: Final = "ach"
ISSUER: Final = "ach"
LONGEST_SECONDS: Final = 3600
"""A token may live, from when it was signed."""
LEEWAY_SECONDS: Final = 30
"""That the clocks of two machines may differ."""
LONGEST_TOKEN: Final = 4096
"""Characters."""
_PARTS: Final = 3
_BAD: Final = "the credential is not valid here"
_Id = Annotated[str, Meta(min_length=1, max_length=512)]


class Caller(NamedTuple):
    """Who calls, known for sure."""

    tenant: str
    subject: Subject | None
    """The one subject of a token; None for a tenant's key."""
    id: str
    """For limits and logs; says nothing that is secret."""
    expires: float | None = None
    """Seconds since the epoch; None for never."""

    def check_tenant(self, tenant: str) -> None:
        """Refuse another tenant than the caller's, whether there is one or not.

        Raises:
            ForbiddenError: it is another one.
        """
        if tenant != self.tenant:
            raise ForbiddenError("this credential is not for what the path names")

    def check_subject(self, subject: Subject) -> None:
        """Refuse another subject than the one of a token.

        Raises:
            ForbiddenError: it is another one, or one of another tenant.
        """
        self.check_tenant(subject.tenant_id)
        if self.subject is not None and subject != self.subject:
            raise ForbiddenError("this credential is not for what the path names")

    def check_key(self) -> None:
        """Refuse tokens.

        Raises:
            ForbiddenError: the caller has shown a token.
        """
        if self.subject is not None:
            raise ForbiddenError("this is for a tenant's key alone", "Ask for it from your server, with its key.")


class _Head(Struct):
    """The part of a token's head that says how to verify it; not verified yet."""

    alg: str
    kid: str | None = None


class _Named(Struct):
    """The part of a token's claims that says by whose secrets to verify it; not verified yet."""

    tenant: str


class _Claims(Struct):
    tenant: _Id
    sub: _Id
    iat: float
    exp: float
    scope: _Id = "user"


class Keys(Generic[T]):
    """Whose keys are known, by their hashes."""

    def __init__(self, known: Mapping[str, T]) -> None:
        self._known = {hashed: (hashed, owner) for hashed, owner in known.items()}

    def find(self, key: str) -> tuple[T, str]:
        """Return the owner of a key, and a name of the key for limits and logs.

        Raises:
            UnauthorizedError: no such key is known.
        """
        # Found by its hash. A caller who does not know the key controls no bit of that, so the time it takes says
        # nothing. Compared in constant time all the same.
        hashed = hash_of(key)
        found = self._known.get(hashed)
        if found is None or not compare_digest(found[0], hashed):
            raise UnauthorizedError(_BAD)
        return found[1], f"key:{hashed[:12]}"


class Access:
    """Knows the keys and secrets of all tenants."""

    def __init__(self, config: Config) -> None:
        self._keys = Keys({key: name for name, tenant in config.tenants.items() for key in tenant.keys})
        self._secrets = {name: tenant.token_secrets for name, tenant in config.tenants.items()}
        self._public = {
            name: {kid: verifier_of(public_key_of(text)) for kid, text in tenant.public_keys.items()}
            for name, tenant in config.tenants.items()
        }

    def caller(self, credential: str) -> Caller:
        """Return whose credential it is.

        Raises:
            UnauthorizedError: it is a valid one of no tenant.
        """
        if len(credential) > LONGEST_TOKEN or not credential.isascii():
            raise UnauthorizedError(_BAD)
        return self._by_token(credential) if credential.count(".") == _PARTS - 1 else self._by_key(credential)

    def _by_key(self, key: str) -> Caller:
        tenant, caller = self._keys.find(key)
        return Caller(tenant, None, caller)

    def _by_token(self, token: str) -> Caller:
        head, payload, _ = token.split(".")
        said, tenant = _read(head, _Head), _read(payload, _Named).tenant
        for key in self._keys_for(tenant, said):
            claims = _verified(token, key, said.alg)
            if claims is not None:
                return _caller(tenant, claims)
        raise UnauthorizedError(_BAD)

    def _keys_for(self, tenant: str, head: _Head) -> Collection[_Key]:
        """Return the keys of a tenant that are for the algorithm of a token; each is for one algorithm alone."""
        if head.alg == SHARED:
            return self._secrets.get(tenant, ())
        if head.alg != SIGNED:
            return ()
        keys = self._public.get(tenant, {})
        if head.kid is None:
            return keys.values()
        return [keys[head.kid]] if head.kid in keys else ()


def _read(segment: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)), type=kind)
    except (Error, ValueError, RecursionError):
        raise UnauthorizedError(_BAD) from None


def _verified(token: str, key: _Key, algorithm: str) -> dict[str, Any] | None:
    """Return the claims of a token that was signed with a key by an algorithm; None where it was not.

    Raises:
        UnauthorizedError: it was, and it has expired, or a claim is missing or wrong.
    """
    try:
        return jwt.decode(  # pyright: ignore[reportUnknownMemberType]
            token,
            key,
            algorithms=[algorithm],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY_SECONDS,
            options={"require": ["aud", "exp", "iat", "iss", "sub"], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise UnauthorizedError("the token has expired", "Get a new token from your application.") from None
    except jwt.MissingRequiredClaimError as error:
        raise UnauthorizedError(f"the token has no claim {error.claim}", _HINT) from None
    except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
        raise UnauthorizedError("the token is for something else", _HINT) from None
    except jwt.ImmatureSignatureError:
        raise UnauthorizedError("the token is not valid yet: do the clocks agree?", _HINT) from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        return None


_HINT: Final = (
    f'Sign with {SHARED} or {SIGNED}: aud "{AUDIENCE}", iss "{ISSUER}", tenant, sub (the user), iat, and exp at most '
    f"{LONGEST_SECONDS} seconds later."
)


def _caller(tenant: str, said: dict[str, Any]) -> Caller:
    try:
        claims = msgspec.convert(said, _Claims)
    except msgspec.ValidationError as error:
        raise UnauthorizedError(f"a claim of the token is wrong: {error}", _HINT) from None
    lives = claims.exp - min(claims.iat, time())
    if not lives <= LONGEST_SECONDS + LEEWAY_SECONDS:
        raise UnauthorizedError(f"the token lives longer than {LONGEST_SECONDS} seconds", _HINT)
    subject = Subject(tenant, claims.scope, claims.sub)
    return Caller(tenant, subject, f"token:{_short(subject)}", claims.exp)


def _short(subject: Subject) -> str:
    return sha256(msgspec.json.encode(subject)).hexdigest()[:16]


def hash_of(key: str) -> str:
    """Return what the file has of a key."""
    return sha256(key.encode()).hexdigest()


def new_key() -> str:
    """Return a key of 256 random bits."""
    return KEY_PREFIX + token_urlsafe(32)


def new_secret() -> str:
    """Return a secret of 256 random bits."""
    return token_urlsafe(32)


def sign(secret: str, subject: Subject, seconds: int) -> str:
    """Return a token for one subject that lives for some seconds from now."""
    now = int(time())
    claims = {
        "aud": AUDIENCE,
        "iss": ISSUER,
        "tenant": subject.tenant_id,
        "sub": subject.subject,
        "scope": subject.scope,
        "iat": now,
        "exp": now + seconds,
    }
    return jwt.encode(claims, secret, SHARED)  # pyright: ignore[reportUnknownMemberType]

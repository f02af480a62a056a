from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dsl.outcome import Subject
from tests.integration.serving import public_pem
from worker.serve.access import Access, hash_of, new_key, new_secret, sign
from worker.serve.config import Config, Tenant
from worker.serve.problems import ForbiddenError, UnauthorizedError

KEYS = [new_key() for _ in range(3)]
SECRETS = [new_secret() for _ in range(3)]
ACCESS = Access(
    Config(new_secret(), {"t1": Tenant([hash_of(key) for key in KEYS[:2]], SECRETS[:2]), "t2": Tenant([], SECRETS[2:])})
)
ANN = Subject("t1", "user", "ann")


def test_two_keys_and_two_secrets_are_good_while_they_rotate() -> None:
    for key in KEYS[:2]:
        caller = ACCESS.caller(key)
        assert (caller.tenant, caller.subject, caller.expires) == ("t1", None, None)
        assert key not in caller.id
    assert len({ACCESS.caller(sign(secret, ANN, 60)).id for secret in SECRETS[:2]}) == 1
    assert ACCESS.caller(sign(SECRETS[0], ANN, 60)).subject == ANN
    for other in (KEYS[2], sign(SECRETS[2], ANN, 60), sign(new_secret(), ANN, 60)):
        with pytest.raises(UnauthorizedError, match="not valid here"):
            ACCESS.caller(other)


def test_a_caller_reaches_no_further() -> None:
    key, token = ACCESS.caller(KEYS[0]), ACCESS.caller(sign(SECRETS[0], ANN, 60))
    for caller in (key, token):
        caller.check_subject(ANN)
        caller.check_tenant("t1")
        with pytest.raises(ForbiddenError):
            caller.check_tenant("t2")
        with pytest.raises(ForbiddenError):
            caller.check_subject(ANN._replace(tenant_id="t2"))
    key.check_subject(ANN._replace(subject="bob"))
    key.check_key()
    for other in (ANN._replace(subject="bob"), ANN._replace(scope="team")):
        with pytest.raises(ForbiddenError):
            token.check_subject(other)
    with pytest.raises(ForbiddenError):
        token.check_key()


def test_a_token_that_has_expired_says_so_to_those_who_hold_it() -> None:
    with pytest.raises(UnauthorizedError, match="expired") as caught:
        ACCESS.caller(sign(SECRETS[0], ANN, -60))
    assert "new token" in caught.value.hint
    with pytest.raises(UnauthorizedError, match="longer than 3600 seconds"):
        ACCESS.caller(sign(SECRETS[0], ANN, 3700))


def test_applications_sign_with_keys_of_their_own_while_they_rotate() -> None:
    old, new, other = (Ed25519PrivateKey.generate() for _ in range(3))
    access = Access(
        Config(
            new_secret(),
            {
                "t1": Tenant(public_keys={"old": public_pem(old), "new": public_pem(new)}),
                "t2": Tenant(public_keys={"new": public_pem(other)}),
            },
        )
    )

    def signed(key: Ed25519PrivateKey, kid: str | None) -> str:
        claims = jwt.decode(  # pyright: ignore[reportUnknownMemberType]
            sign(SECRETS[0], ANN, 60), options={"verify_signature": False}
        )
        return jwt.encode(  # pyright: ignore[reportUnknownMemberType]
            claims, key, "EdDSA", headers={} if kid is None else {"kid": kid}
        )

    for key, kid in ((old, "old"), (new, "new"), (old, None), (new, None)):
        caller = access.caller(signed(key, kid))
        assert (caller.subject, caller.expires is not None) == (ANN, True)
    for key, kid in ((old, "new"), (new, "newer"), (other, "new"), (other, None)):
        with pytest.raises(UnauthorizedError, match="not valid here"):
            access.caller(signed(key, kid))
    with pytest.raises(UnauthorizedError, match="not valid here"):
        access.caller(sign(SECRETS[0], ANN, 60))

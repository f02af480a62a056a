"""What an operator hands out: keys and JWTs of NATS, and certificates. Made by the book, and by nothing of ours."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.signing import SigningKey

if TYPE_CHECKING:
    from pathlib import Path

PREFIXES: Final = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
"""Of public keys: O, A, U."""
_LIMITS: Final = "subs data payload imports exports conn leaf mem_storage disk_storage streams consumer"
_NO_LIMITS: Final = {**dict.fromkeys(_LIMITS.split(), -1), "wildcards": True}


class NKey:
    """A key pair of NATS."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._key = SigningKey.generate()
        prefix = PREFIXES[kind]
        self.public = _text(bytes([prefix]) + bytes(self._key.verify_key))
        self.seed = _text(bytes([18 << 3 | prefix >> 5, (prefix & 31) << 3]) + bytes(self._key))

    def sign(self, signed: bytes) -> bytes:
        return self._key.sign(signed).signature


def _text(raw: bytes) -> str:
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


def jwt(issuer: NKey, subject: NKey, name: str, says: dict[str, Any] | None = None, expires: int | None = None) -> str:
    """Return what an issuer says about a subject, signed."""
    claims: dict[str, Any] = {"jti": name, "iat": 1, "iss": issuer.public, "sub": subject.public, "name": name}
    if expires is not None:
        claims["exp"] = expires
    claims["nats"] = {"type": subject.kind, "version": 2, **(says or {})}
    signed = ".".join(_part(json.dumps(one).encode()) for one in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims))
    return f"{signed}.{_part(issuer.sign(signed.encode()))}"


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Operator:
    """An operator with one account that has JetStream."""

    def __init__(self) -> None:
        self.key, self.account, self.system = NKey("operator"), NKey("account"), NKey("account")

    def configuration(self) -> str:
        """Return a server's configuration."""
        limits = {"limits": _NO_LIMITS}
        preload = {
            one.public: jwt(self.key, one, name, limits if name == "ENGINE" else None)
            for name, one in (("ENGINE", self.account), ("SYS", self.system))
        }
        lines = "\n".join(f"{name}: {text}" for name, text in preload.items())
        return (
            f"operator: {jwt(self.key, self.key, 'test')}\nsystem_account: {self.system.public}\n"
            f"resolver: MEMORY\nresolver_preload: {{\n{lines}\n}}\n"
        )

    def credentials(self, path: Path, *, expires: int | None = None, **permissions: Any) -> Path:  # noqa: ANN401 - JSON
        """Write the credentials of a new user of the account, as `nsc generate creds` does."""
        return write_credentials(path, *self.user(expires=expires, **permissions))

    def user(self, *, expires: int | None = None, **says: Any) -> tuple[str, str]:  # noqa: ANN401 - JSON
        """Return JWT and seed of a new user of the account."""
        user = NKey("user")
        claims = {"subs": -1, "data": -1, "payload": -1, **says}
        return jwt(self.account, user, "ann", claims, expires), user.seed


def write_credentials(path: Path, token: str, seed: str) -> Path:
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\nNKEY Seed printed below can sign.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n"
        "*************************************************************\n"
    )
    return path


class Pair(NamedTuple):
    """Files of a certificate and of its key."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.ca = folder / f"{name}.pem"
        built = self._begin(self._name, self._key.public_key())
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        built = built.add_extension(_usage(signs_certificates=True), critical=True)
        self._certificate = built.sign(self._key, hashes.SHA256())
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *hosts: str, password: str = "") -> Pair:
        """Write a certificate and its key for a name, valid for some hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = self._begin(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key.public_key())
        built = built.add_extension(_usage(signs_certificates=False), critical=True)
        built = built.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
        if hosts:
            built = built.add_extension(x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False)
        pair = Pair(self._folder / f"{name}-cert.pem", self._folder / f"{name}-key.pem")
        pair.cert.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        locked = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
        return pair

    def _begin(self, name: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )

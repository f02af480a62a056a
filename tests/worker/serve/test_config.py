from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.integration.serving import public_pem
from worker.serve.config import ConfigError, is_open_to_others, load_config
from worker.serve.public_keys import public_key_of

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s" * 43
HASH = "0" * 64


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(f'cursor_key = "{SECRET}"\n[tenants."a b"]\nkeys = ["{HASH}"]\n')
    path.chmod(0o600)
    assert load_config(path).tenants["a b"].keys == [HASH]
    assert not is_open_to_others(path)
    path.chmod(0o644)
    assert is_open_to_others(path)


ED25519 = Ed25519PrivateKey.generate()
PRIVATE = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
X = urlsafe_b64encode(ED25519.public_key().public_bytes_raw()).decode().rstrip("=")
RSA = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC
9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==
-----END PUBLIC KEY-----"""


def of_application(key: str, more: str = "") -> str:
    return f'cursor_key = "{SECRET}"\n[tenants.a]\n{more}\n[tenants.a.public_keys]\n2026-11 = """\n{key}"""'


def test_a_public_key_is_given_as_pem_or_as_x_of_a_jwk(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    for key in (public_pem(ED25519), X, f"{X}=", public_pem(ED25519).replace("\n", "\r\n")):
        path.write_text(of_application(key))
        read = load_config(path).tenants["a"].public_keys["2026-11"]
        assert public_key_of(read) == ED25519.public_key().public_bytes_raw()


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "serve.toml"
    monkeypatch.setattr("worker.serve.config.find_spec", dict[str, object]().get)
    path.write_text(of_application(X))
    with pytest.raises(ConfigError, match=r"need cryptography.* pip install .*\[serve\]'"):
        load_config(path)
    path.write_text(f'cursor_key = "{SECRET}"')
    load_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing required field `cursor_key`"),
        ("= 1", "Invalid"),
        (f'cursor_key = "{SECRET}"\nother = 1', "unknown field `other`"),
        (f'cursor_key = "{"s" * 42}"', "length >= 43"),
        (f'cursor_key = "{SECRET}"\norigins = ["*"]', "origins"),
        (f'cursor_key = "{SECRET}"\norigins = ["https://*.example"]', "origins"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\nkeys = ["plain"]', "keys"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\nkeys = ["{HASH}", "{HASH}", "{HASH}"]', "keys"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\ntoken_secrets = ["short"]', "token_secrets"),
        (f'cursor_key = "{SECRET}"\n[tenants.a]\nkeys = ["{HASH}"]\n[tenants.b]\nkeys = ["{HASH}"]', "in common"),
        (of_application(PRIVATE), "private key"),
        (of_application(PRIVATE.replace("PRIVATE", "PUBLIC")), "not of Ed25519"),
        (of_application(RSA), "openssl genpkey -algorithm ed25519"),
        (of_application("-----BEGIN CERTIFICATE-----"), "one PUBLIC KEY in PEM"),
        (of_application(public_pem(ED25519) * 2), "cannot be read"),
        (of_application(X[:-1]), "43 characters"),
        (of_application("ü" * 43), "43 characters"),
        (of_application("A" * 43), "anyone can make signatures"),
        (of_application(X, f'token_secrets = ["{X}"]'), "all may know it"),
        (of_application(X) + f'\n[tenants.b.public_keys]\n1 = "{X}"', "in common"),
        (of_application(X) + "".join(f'\n{n} = "{X}"' for n in range(4)), "public_keys"),
    ],
)
def test_what_cannot_be_used_is_refused_without_its_secrets(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert said in str(caught.value)
    for secret in (SECRET, X, *PRIVATE.splitlines()[1:-1]):
        assert secret not in str(caught.value)
    with pytest.raises(ConfigError, match="ach serve key"):
        load_config(tmp_path / "missing.toml")

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from worker.notify.signature import SecretError, read_secret, signed_headers


def text_of(key: bytes) -> str:
    return f"whsec_{b64encode(key).decode()}"


@given(key=st.binary(min_size=24, max_size=64), number=st.integers(), name=st.text("abc-_09", min_size=1))
def test_the_official_library_verifies(key: bytes, number: int, name: str) -> None:
    body = f'{{"type":"unlock.granted","data":{{"title":"Größe ☃","number":{number}}}}}'.encode()
    now = int(datetime.now(UTC).timestamp())
    headers = signed_headers([read_secret(text_of(key))], name, now, body)
    assert Webhook(text_of(key)).verify(body, headers)["data"]["number"] == number
    assert headers["webhook-signature"] == Webhook(text_of(key)).sign(
        name, datetime.fromtimestamp(now, UTC), body.decode()
    )
    with pytest.raises(WebhookVerificationError):
        Webhook(text_of(bytes(32))).verify(body + b" ", headers)


def test_either_of_two_secrets_verifies() -> None:
    new, old = bytes(range(32)), bytes(range(1, 33))
    headers = signed_headers([new, old], "x", int(datetime.now(UTC).timestamp()), b'{"a":1}')
    for key in (new, old):
        assert Webhook(text_of(key)).verify(b'{"a":1}', headers) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(text_of(bytes(32))).verify(b'{"a":1}', headers)


@pytest.mark.parametrize(
    "secret", ["", "abc", "whsec_", "whsec_!!!!", "whsec_YWJj", text_of(bytes(65)), text_of(bytes(23))]
)
def test_a_bad_secret_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(SecretError, match="write whsec_") as refused:
        read_secret(secret)
    quoted = secret.removeprefix("whsec_")
    assert not quoted or quoted not in str(refused.value)

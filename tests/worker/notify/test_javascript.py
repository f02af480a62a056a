"""The official library for JavaScript verifies what is sent. `just webhooks-js` installs it and names its folder."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode
from pathlib import Path
from time import time

import pytest

from worker.notify.signature import read_secret, signed_headers

FOLDER = os.environ.get("ACH_WEBHOOKS_JS")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="just webhooks-js runs it")

SECRETS = [f"whsec_{b64encode(bytes([number]) * 32).decode()}" for number in range(3)]
BODY = '{"type":"unlock.granted","data":{"title":{"de":"Größe ☃ 🏆"},"n":1}}'


def verified(secret: str, body: str = BODY) -> subprocess.CompletedProcess[str]:
    headers = signed_headers([read_secret(one) for one in SECRETS[:2]], "id_2", int(time()), BODY.encode())
    asked = json.dumps({"secret": secret, "headers": headers, "body": body})
    script = Path(__file__).parent / "js" / "verify.mjs"
    command = ["node", str(script)]
    return subprocess.run(command, input=asked, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("secret", SECRETS[:2])
def test_either_secret_verifies(secret: str) -> None:
    done = verified(secret)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(BODY)


def test_another_secret_or_body_does_not() -> None:
    assert "No matching signature" in verified(SECRETS[2]).stderr
    assert "No matching signature" in verified(SECRETS[0], BODY + " ").stderr

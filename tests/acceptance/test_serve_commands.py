"""`ach serve` as an operator uses it: keys, tokens, and a process that serves and stops."""

from __future__ import annotations

import re
import signal
import tomllib
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from tests.acceptance.conftest import read_until
from worker.serve.access import hash_of

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio


def test_a_key_and_a_file_for_it(shell: Shell) -> None:
    made = shell.ach("serve", "key", "--tenant", "a b")
    assert made.code == 0
    found = tomllib.loads(made.out)
    (key,) = re.findall(r"ach_[\w-]{43}", made.out)
    assert found["tenants"]["a b"]["keys"] == [hash_of(key)]
    shell.write("serve.toml", made.out).chmod(0o600)
    token = shell.ach("serve", "token", "--tenant", "a b", "--user", "ann", "--ttl", "5m").out.strip()
    secret = found["tenants"]["a b"]["token_secrets"][0]
    claims = jwt.decode(token, secret, ["HS256"], audience="ach")  # pyright: ignore[reportUnknownMemberType]
    assert (claims["tenant"], claims["sub"], claims["exp"] - claims["iat"]) == ("a b", "ann", 300)
    for ttl in ("2h", "0s", "soon"):
        assert shell.ach("serve", "token", "--tenant", "a b", "--user", "ann", "--ttl", ttl).code == 2
    assert "no token secret of tenant other" in shell.ach("serve", "token", "-t", "other", "-u", "ann").err


def test_what_stands_in_the_way_is_said(shell: Shell) -> None:
    assert "ach serve key --tenant" in shell.ach("serve").err
    shell.write("serve.toml", "cursor_key = 1")
    ran = shell.ach("serve")
    assert (ran.code, "expected `str`, got `int`" in ran.err, "Traceback" in ran.err) == (1, True, False)


async def test_it_serves_until_it_is_stopped(on_servers: Shell) -> None:
    on_servers.write("rules.ach", 'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }')
    assert on_servers.ach("apply", "rules.ach").code == 0
    made = on_servers.ach("serve", "key", "--tenant", "t1").out
    on_servers.write("serve.toml", made)
    (key,) = re.findall(r"ach_[\w-]{43}", made)
    with on_servers.running("serve", "--port", "0") as process:
        seen = read_until(process, "serving")
        assert "other accounts may read serve.toml" in seen
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", seen)
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as client:
            response = await client.get(f"{address}/v1/tenants/t1/users/ann/achievements")
        assert [item["id"] for item in response.json()["items"]] == ["one"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0

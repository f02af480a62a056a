"""`ach dev` and `ach demo --keep` end in the browser: the console and the API, their links, and one Ctrl-C for all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.conftest import read_until
from worker.broker.outgoing import outgoing
from worker.distribution import install
from worker.local.sandbox import publish
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

RULES = 'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n'
LINK = re.compile(r"(http://127\.0\.0\.1:\d+)(/\S*)#token=(\S+)")
CURL = re.compile(r"curl -H 'Authorization: (Bearer \S+)' (\S+)")


def processes(needle: Path) -> list[str]:
    listed = subprocess.run(["/bin/ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(needle) in line and line.split()[0] != str(os.getpid())]


@contextmanager
def taken(port: int) -> Generator[None]:
    """Listen on a port for the length of a block; another program may have it already, which is as good."""
    with socket.socket() as one:
        with suppress(OSError):
            one.bind(("127.0.0.1", port))
            one.listen()
        yield


def opened(link: re.Match[str]) -> str:
    """Return the page that a link opens: a browser keeps what is behind the # from the request, and logs in with it."""
    address, path, token = link.groups()
    with httpx.Client(base_url=address) as client:
        refused = client.get(path)
        assert (refused.status_code, refused.headers["location"].partition("?")[0]) == (303, "/login")
        answer = client.post(refused.headers["location"], data={"token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        return client.get(path).text


def answered(address: str, credential: str) -> httpx.Response:
    return httpx.get(address, headers={"Authorization": credential})


def asked(line: re.Match[str]) -> list[dict[str, object]]:
    answer = answered(line[2], line[1])
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def emit(environment: dict[str, str], tenant: str, user: str) -> None:
    event = {"event_id": "e1", "event_type": "a.done", "user_id": user, "tenant_id": tenant}
    body = json.dumps({**event, "occurred_at": "2026-04-13T09:00:00Z"}).encode()
    settings = read_settings(environment)
    await publish(settings, outgoing([body], settings.input_prefix, dedup=False), lambda _: None)


@pytest.mark.timeout(120)
async def test_development_ends_in_the_browser(shell: Shell, tmp_path: Path) -> None:
    data, rules = tmp_path / "data", shell.write("rules.ach", RULES)
    with shell.running("dev", rules, "--data", data) as dev:
        said = read_until(dev, "its first key comes with")
        (link,) = LINK.finditer(said)
        assert "Now" in opened(link)
        servers = dict(re.findall(r'export (\w+)="?([^"\n]+)"?', said))
        await emit(servers, "a b/ü", "o'neill; $(id) #<b>/../x")
        said = read_until(dev, "curl -H")
        (link,), (curl,) = LINK.finditer(said), CURL.finditer(said)
        assert "o&#39;neill" in opened(link)
        # The line is for a shell: what a producer has named is no word of it.
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/tenants/[\w%.-]+/users/[\w%.-]+/achievements", curl[2])
        assert [(item["id"], item["status"]) for item in asked(curl)] == [("one", "earned")]
        # A further tenant gets a key of its own, and the first keeps its key.
        await emit(servers, "t2", "ann")
        (second,) = CURL.finditer(read_until(dev, "curl -H"))
        assert len(asked(second)) == len(asked(curl)) == 1
        assert answered(curl[2], second[1]).status_code == 403
        with httpx.stream("GET", curl[2].replace("achievements", "live"), headers={"Authorization": curl[1]}) as live:
            assert live.status_code == 200
            dev.send_signal(signal.SIGINT)
            assert dev.wait(30) == 0
    assert not processes(data)


@pytest.mark.timeout(180)
async def test_an_interrupted_demo_goes_on_later_and_ends_in_the_browser(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with shell.running("demo", "--data", data) as demo:
        read_until(demo, "events:")
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read() if demo.stdout else ""
        assert demo.wait(timeout=30) == 1, rest
    assert "goes on where it was" in rest
    assert not processes(data)
    with taken(8970), taken(8080), shell.running("demo", "--keep", "--data", data) as demo:
        said = read_until(demo, "pallets%2Fflask/users")
        assert "going on with what is in" in said
        assert "1,879 unlocks, exactly as expected" in said
        first, *users = LINK.finditer(said)
        assert not first[1].endswith(":8970")
        assert "Rules in effect" in opened(first)
        assert len(users) == 2
        assert "Where it stands" in opened(users[-1])
        curl = list(CURL.finditer(said))[-1]
        assert ":8080" not in curl[2]
        assert any(item["status"] == "earned" for item in asked(curl))
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert not processes(data)


@pytest.mark.timeout(60)
def test_without_its_packages_it_says_which_extra_and_goes_on(shell: Shell, tmp_path: Path) -> None:
    rules = shell.write("rules.ach", RULES)
    with shell.running("dev", rules, "--data", tmp_path / "data", without="starlette") as dev:
        said = read_until(dev, "the API is not shown")
        for what, extra in (("console", "console"), ("API", "serve")):
            missing = f"the {what} is not shown: it needs starlette, which is not installed."
            assert f"{missing} {install(extra)}" in said
        dev.send_signal(signal.SIGINT)
        assert dev.wait(30) == 0
        assert "Traceback" not in said + (dev.stdout.read() if dev.stdout else "")

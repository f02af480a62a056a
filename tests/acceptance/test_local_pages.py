"""`ach dev` and `ach demo --keep` end in the browser: the console and the API, their links, and one Ctrl-C for all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.acceptance.conftest import read_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Shell

RULES = 'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n'
LINK = re.compile(r"(http://127\.0\.0\.1:\d+)(/\S*)#token=(\S+)")
CURL = re.compile(r"curl -H 'Authorization: (Bearer \S+)' (\S+)")
PACKAGES = {"jinja2": "ach[console]", "starlette": "ach[console]", "jwt": "ach[serve]"}


def an_event(tenant: str, user: str) -> str:
    event = {"event_id": "e1", "event_type": "a.done", "user_id": user, "tenant_id": tenant}
    return json.dumps({**event, "occurred_at": "2026-04-13T09:00:00Z"}) + "\n"


def processes(needle: Path) -> list[str]:
    listed = subprocess.run(["/bin/ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(needle) in line and line.split()[0] != str(os.getpid())]


def opened(link: re.Match[str]) -> str:
    """Return the page that a link opens: a browser keeps what is behind the # from the request, and logs in with it."""
    address, path, token = link.groups()
    with httpx.Client(base_url=address) as client:
        refused = client.get(path)
        assert (refused.status_code, refused.headers["location"].partition("?")[0]) == (303, "/login")
        answer = client.post(refused.headers["location"], data={"token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        return client.get(path).text


def asked(line: re.Match[str]) -> list[dict[str, object]]:
    answer = httpx.get(line[2], headers={"Authorization": line[1]})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


@pytest.mark.timeout(120)
def test_development_ends_in_the_browser(shell: Shell, tmp_path: Path) -> None:
    data, rules = tmp_path / "data", shell.write("rules.ach", RULES)
    hostile = "o'neill; $(id) #<b>/../x"
    with shell.running("dev", rules, "--data", data) as dev:
        said = read_until(dev, "its first key comes with")
        (link,) = LINK.finditer(said)
        assert "Now" in opened(link)
        shell.environment.update(re.findall(r'export (\w+)="?([^"\n]+)"?', said))
        shell.write("s.jsonl", an_event("a b/ü", hostile))
        assert shell.ach("emit", "s.jsonl").code == 0
        said = read_until(dev, "curl -H")
        (link,), (curl,) = LINK.finditer(said), CURL.finditer(said)
        assert "o&#39;neill" in opened(link)
        # The line is for a shell: what a producer has named is no word of it.
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/tenants/[\w%.-]+/users/[\w%.-]+/achievements", curl[2])
        assert [(item["id"], item["status"]) for item in asked(curl)] == [("one", "earned")]
        # A further tenant gets a key of its own, and the first keeps its key.
        shell.write("s.jsonl", an_event("t2", "ann"))
        assert shell.ach("emit", "s.jsonl").code == 0
        (second,) = CURL.finditer(read_until(dev, "curl -H"))
        assert len(asked(second)) == len(asked(curl)) == 1
        assert httpx.get(curl[2], headers={"Authorization": second[1]}).status_code == 403
        with httpx.stream("GET", curl[2].replace("achievements", "live"), headers={"Authorization": curl[1]}) as live:
            assert live.status_code == 200
            dev.send_signal(signal.SIGINT)
            assert dev.wait(30) == 0
    assert not processes(data)


@pytest.mark.timeout(120)
def test_the_demo_goes_on_in_the_browser_where_ports_are_taken(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "data"
    taken: list[socket.socket] = []
    for port in (8970, 8080):
        one = socket.socket()
        taken.append(one)
        try:
            one.bind(("127.0.0.1", port))
            one.listen()
        except OSError:  # another program has it: as good
            pass
    with shell.running("demo", "--keep", "--data", data) as demo:
        said = read_until(demo, "exactly as expected") + read_until(demo, "pallets%2Fflask/users")
        first, *users = LINK.finditer(said)
        assert not {":8970", ":8080"} & set(re.findall(r":\d+", first[1]))
        assert "Rules in effect" in opened(first)
        assert len(users) == 2
        assert "Where it stands" in opened(users[-1])
        assert any(item["status"] == "earned" for item in asked(list(CURL.finditer(said))[-1]))
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    for one in taken:
        one.close()
    assert not processes(data)


@pytest.mark.timeout(60)
def test_without_its_packages_it_says_which_extra_and_goes_on(shell: Shell, tmp_path: Path) -> None:
    rules = shell.write("rules.ach", RULES)
    for number, (name, extra) in enumerate(PACKAGES.items()):
        with shell.running("dev", rules, "--data", tmp_path / str(number), without=name) as dev:
            said = read_until(dev, f"it needs {name}, which is not installed. pip install '{extra}'")
            if name == "starlette":
                said += read_until(dev, "the API is not shown: it needs starlette")
            dev.send_signal(signal.SIGINT)
            assert dev.wait(30) == 0
        assert "Traceback" not in said

"""What producers, files and URLs say, through real streams and every command: a terminal obeys nothing of it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.acceptance.conftest import ACH
from tests.worker.report.test_screen import obeyed

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell
    from tests.acceptance.herd import Ran

pytestmark = pytest.mark.anyio

EVIL = "\x1b[2J\x1b]0;t\x07\x9b31m\x7f\u202e\u200b\u2028\r\nx[bold]"
USER, TENANT = f"u{EVIL}", f"t{EVIL}"
RULES = """
event a.done { n: int, team: string? }
achievement first { title "First \u202e\u200b" when count(event=a.done, >= 1) reward { note: "\u2066" } }
achievement crew { title "Crew" when count(event=a.done, >= 2) scope team }
example "\u202e\u200b" {
  at 2026-04-13T09:00:00Z "u\u202e" a.done { n: 1 }
  expect "u\u202e" not first
}
# \u202e\u200b
"""
PASSING = RULES.replace(" not first", " first")
"""Rules whose example fails are not applied."""
NAME = "rules\x1b[2J\u202e.ach"


def event(**changes: object) -> dict[str, Any]:
    return {
        "event_id": f"e{EVIL}",
        "event_type": "a.done",
        "user_id": USER,
        "tenant_id": TENANT,
        "occurred_at": "2026-04-13T09:00:00Z",
        "source": EVIL,
        "payload": {"n": 1, "team": EVIL},
        **changes,
    }


LINES = [
    event(),
    event(event_id="e2"),
    event(event_id="e3", payload={"n": EVIL}),
    event(event_id="e4", event_type=f"free{EVIL}", payload={EVIL: EVIL}),
    event(event_id="e5", occurred_at=EVIL),
    [event(event_id="e6"), event(event_id="e7", tenant_id=f"other{EVIL}")],
    event(payload={"n": 2}),
]
RAW = b'{"a": "\x1b[2J\x9b\xe2\x80\xae'


@pytest.fixture
async def hostile(on_servers: Shell, nats_url: str) -> Shell:
    """A shell on servers that hold hostile events."""
    on_servers.environment.update(COLUMNS="1000")
    on_servers.write(NAME, PASSING)
    on_servers.write("stream.jsonl", "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in LINES))
    with (on_servers.folder / "stream.jsonl").open("ab") as file:
        file.write(RAW + b"\n")
    seen(on_servers.ach("apply", NAME), 0)
    on_servers.write(NAME, RULES)
    host, _, port = nats_url.removeprefix("nats://").partition(":")
    seen(on_servers.ach("emit", "stream.jsonl"), 0)
    async with await anyio.connect_tcp(host, int(port)) as client:
        await client.send(b'CONNECT {"verbose": false, "headers": true}\r\n')
        block = b"NATS/1.0\r\nA\x1b[1m: \x1b[2J\r\n\r\n"
        sizes = b"%d %d" % (len(block), len(block) + 4)
        await client.send(b"HPUB events.\x1b[31m\xff.x " + sizes + b"\r\n" + block + b"nope\r\nPING\r\n")
        answer = b""
        while b"PONG" not in answer:
            answer += await client.receive()
    return on_servers


def seen(ran: Ran, code: int) -> str:
    """Return what a command has printed, which a terminal obeys nothing of."""
    assert ran.code == code, ran.out + ran.err
    assert not obeyed(ran.out), ascii(ran.out)
    assert not obeyed(ran.err), ascii(ran.err)
    return ran.out + ran.err


async def test_no_received_text_reaches_a_terminal_unescaped(hostile: Shell) -> None:
    seen(hostile.ach("run", "--drain"), 0)
    assert r"\x1b[2J" in seen(hostile.ach("dead", "list"), 0)
    for number in re.findall(r"^ *([0-9]+) ", hostile.ach("dead", "list").out, re.MULTILINE):
        assert "bytes" in seen(hostile.ach("dead", "show", number), 0)
    assert r"\x1b[2J" in seen(hostile.ach("unlocks"), 0)
    assert r"\x1b[2J" in seen(hostile.ach("progress", USER, "-t", TENANT), 0)
    assert json.loads(seen(hostile.ach("progress", USER, "-t", TENANT, "--json"), 0))[0]["subject"] == USER
    asked = ("explain", "-u", USER, "--tenant", TENANT, "-a", "first")
    assert r"\x1b[2J" in seen(hostile.ach(*asked, "--from-ledger"), 0)
    seen(hostile.ach(*asked, "--from-ledger", "--format", "json"), 0)
    seen(hostile.ach("explain", "-u", f"no{EVIL}", "-a", f"no{EVIL}", "--from-ledger"), 1)
    seen(hostile.ach("progress", f"no{EVIL}", "-t", TENANT), 0)
    assert json.loads(seen(hostile.ach("digest", "--json"), 0))["unlocks"][1]["tenant_id"] == TENANT
    seen(hostile.ach("digest"), 0)
    number = re.findall(r"^([0-9a-f-]{36}) ", hostile.ach("unlocks").out, re.MULTILINE)[0]
    assert r"\x1b[2J" in seen(hostile.ach("revoke", number, "--yes"), 0)
    assert len(seen(hostile.ach("revoke", number, "--yes"), 1).splitlines()) == 2
    seen(hostile.ach("erase", USER, "-t", TENANT), 1)  # asks, and gets no answer
    seen(hostile.ach("erase", USER, "-t", TENANT, "--yes"), 0)


async def test_bytes_can_be_had_as_they_are(hostile: Shell) -> None:
    hostile.ach("run", "--drain")
    (number,) = re.findall(r"^ *([0-9]+) +malformed_json .*events\.raw", hostile.ach("dead", "list").out, re.MULTILINE)
    done = subprocess.run(  # noqa: ASYNC221 - nothing else goes on
        [ACH, "dead", "show", number, "--raw"], env=hostile.environment, capture_output=True, check=True
    )
    assert done.stdout == RAW


@pytest.mark.parametrize("form", ["text", "json"])
async def test_logs(hostile: Shell, form: str) -> None:
    hostile.environment["ACH_LOG_FORMAT"] = form
    assert "working" in seen(hostile.ach("run", "--drain"), 0)


async def test_a_terminal_gets_only_colours(hostile: Shell) -> None:
    hostile.ach("run", "--drain")
    hostile.environment.pop("NO_COLOR")
    hostile.environment["TERM"] = "xterm-256color"
    number = hostile.ach("dead", "list").out.splitlines()[2].split()[0]
    for command in (
        ["dead", "list"],
        ["dead", "show", number],
        ["dead", "show", number, "--raw"],
        ["unlocks"],
        ["progress", USER, "-t", TENANT, "--json"],
    ):
        said = on_a_terminal(hostile, *command)
        assert not obeyed(re.sub(r"\x1b\[[0-9;]*m", "", said), kept="\r\n\t"), ascii(said)


def on_a_terminal(shell: Shell, *command: str) -> str:
    """Return what a command writes to a terminal. It is little, so that it need not be read meanwhile."""
    ours, theirs = pty.openpty()
    assert shell.ach_on(os.ttyname(theirs), *command) == 0
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # how the system says that the other end is closed
        pass
    os.close(ours)
    return said.decode()


async def test_what_stands_in_files(shell: Shell) -> None:
    shell.write(NAME, RULES)
    shell.write("stream.jsonl", "".join(f"{json.dumps(line)}\n" for line in LINES))
    seen(shell.ach("check", NAME, "-v"), 0)
    for form in ("json", "sarif", "github"):
        seen(shell.ach("check", NAME, "--format", form), 0)
    for drawing in ("mermaid", "dot", "svg"):
        seen(shell.ach("check", NAME, "--graph", drawing), 0)
    assert r"\u202e" in seen(shell.ach("test", NAME, "--coverage"), 1)
    asked = ("-r", NAME, "stream.jsonl")
    assert r"\x1b[2J" in seen(shell.ach("replay", *asked), 0)
    result = seen(shell.ach("replay", *asked, "--json"), 0)
    assert TENANT in {unlock["tenant_id"] for unlock in json.loads(result)["unlocks"]}
    shell.write("expected.json", result.replace('"version":1', '"version":2'))
    assert r"\x1b[2J" in seen(shell.ach("replay", *asked, "--expect", "expected.json"), 1)
    for form in ("text", "json"):
        seen(shell.ach("explain", *asked, "-u", USER, "--tenant", TENANT, "-a", "first", "--format", form), 0)
    seen(shell.ach("explain", *asked, "-u", USER, "--tenant", TENANT, "-a", "first", "--html", f"why{EVIL[:3]}"), 0)
    assert not obeyed((shell.folder / f"why{EVIL[:3]}").read_text("utf-8"))
    seen(shell.ach("explain", *asked, "-u", USER, "-a", "first"), 1)
    seen(shell.ach("explain", *asked, "-u", EVIL, "-a", "first"), 1)
    seen(shell.ach("docs", NAME, "-o", f"site{EVIL[:3]}"), 0)


@pytest.mark.parametrize("text", [f"achievement {EVIL} {{", f'event a.done {{}}\nachievement x {{ title "{EVIL}" }}'])
async def test_files_that_are_no_rules(shell: Shell, text: str) -> None:
    shell.write(NAME, text)
    for command in (["check"], ["check", "--format", "json"], ["check", "--format", "github"], ["test"], ["fmt"]):
        seen(shell.ach(*command, NAME), 1)
    seen(shell.ach("check", f"missing{EVIL}"), 2)
    seen(shell.ach(f"no{EVIL}"), 2)
    seen(shell.ach("replay", f"missing{EVIL}", "-r", NAME), 1)
    shell.environment["ACH_WRITERS"] = EVIL
    seen(shell.ach("digest"), 2)

"""`ach doctor`, `ach status`, `ach top` and the start of `ach run`: what they print, and their exit codes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nats
import pytest

from tests.acceptance.conftest import ACH
from tests.integration.engine import RULES

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

SECRET = "c0rrect-h0rse"


@pytest.fixture
def deployed(on_servers: Shell) -> Shell:
    assert on_servers.ach("apply", on_servers.write("rules.ach", RULES)).code == 0
    return on_servers


async def test_a_setup_is_checked_in_lines_and_as_json(deployed: Shell) -> None:
    assert deployed.ach("run", "--drain").code == 0
    ran = deployed.ach("doctor")
    assert "ok       stream EVENTS retention: limits\n" in ran.out
    assert "ok       engine rules: epoch 1\n" in ran.out
    # The servers of tests do not wait for the disk: that is an error here, and keeps no worker from starting.
    assert ran.out.splitlines()[-1].startswith("1 error, 0 warnings, ")
    assert ran.code == 1
    quiet = deployed.ach("doctor", "--quiet", "--json")
    assert [(one["check"], one["level"]) for one in json.loads(quiet.out)] == [("postgresql fsync", "error")]


async def test_a_worker_refuses_in_words_and_starts_if_asked(deployed: Shell, nats_url: str) -> None:
    client = await nats.connect(nats_url)
    await client.jetstream().add_stream(name="UNLOCKS", subjects=["unlocks.>"], retention="interest")
    ran = deployed.ach("run", "--drain")
    assert ran.code == 1
    assert "error: stream UNLOCKS retention: interest: announcements go once they are read" in ran.err
    assert "mend it: nats stream edit UNLOCKS --retention limits --force" in ran.err
    assert "`ach run --unsafe` starts all the same" in ran.err
    assert deployed.ach("run", "--drain", "--unsafe").code == 0
    await client.jetstream().update_stream(name="UNLOCKS", subjects=["unlocks.>"], retention="limits")
    assert deployed.ach("run", "--drain").code == 0
    await client.close()


@pytest.mark.operate
async def test_every_wrong_address_is_one_sentence_without_a_secret(deployed: Shell, servers: Servers) -> None:
    tcp = urlsplit(servers.database_tcp_url)
    host = f"127.0.0.1:{tcp.port}"
    wrong = [
        {"NATS_URL": f"nats://u:{SECRET}@127.0.0.1:1"},
        {"NATS_URL": f"nats://u:{SECRET}@no.such.host.invalid:4222"},
        {"NATS_URL": f"nats://u:{SECRET}@{host}"},  # PostgreSQL listens there
        {"DATABASE_URL": f"postgresql://ach:{SECRET}@{host}/postgres"},
        {"DATABASE_URL": f"postgresql://ach:{tcp.password}@{host}/nothing"},
        {"DATABASE_URL": f"postgresql://ach:{SECRET}@127.0.0.1:1/postgres"},
        {"DATABASE_URL": f"postgresql://ach:{SECRET}@no.such.host.invalid/postgres"},
        {"NATS_URL": f"nats://u:{SECRET}@/@4222"},
        {"DATABASE_URL": f"mysql://u:{SECRET}@x/y"},
        {"ACH_INPUT_STREAM": "a.b"},
    ]
    jobs = [((name,), one) for one in wrong for name in ("doctor", "status")]
    for (args, variables), ran in zip(jobs, deployed.ach_all(jobs), strict=True):
        what = f"{args} {variables}: {ran}"
        assert ran.code in {1, 2}, what
        assert SECRET not in ran.out + ran.err, what
        assert str(tcp.password) not in ran.out + ran.err, what
        assert "Traceback" not in ran.err, what
        assert ran.seconds < 40, what
        assert any(word in ran.out + ran.err for word in ("PostgreSQL", "NATS", "Error: ")), what


async def test_status_is_printed_and_an_object(deployed: Shell) -> None:
    client = await nats.connect(deployed.environment["NATS_URL"])
    assert deployed.ach("run", "--drain").code == 0
    await client.jetstream().publish("events.acme.ann.x", b"{bad")
    said = json.loads(deployed.ach("status", "--json").out)
    assert (said["lag"]["pending"], said["lag"]["oldest_seconds"]) == (1, 0)
    assert said["rules"]["epoch"] == 1
    assert deployed.ach("run", "--drain").code == 0
    ran = deployed.ach("status")
    assert ran.code == 0
    assert "lag           none" in ran.out
    assert "dead letters  1 malformed_json of acme" in ran.out
    await client.close()


async def test_top_draws_on_a_terminal_and_q_ends_it(deployed: Shell) -> None:
    piped = deployed.ach("top")
    assert (piped.code, piped.err.splitlines()[0]) == (
        1,
        "error: `ach top` draws on a terminal, and standard output is none",
    )
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(slave)
    environment = {name: value for name, value in deployed.environment.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [ACH, "top"], stdin=slave, stdout=slave, stderr=slave, env={**environment, "TERM": "xterm"}
    )
    seen = b""
    while b"rules" not in seen or b"q quits" not in seen:
        seen += os.read(master, 65536)
    os.write(master, b"q")
    while b"\x1b[?1049l" not in seen:  # what was on the terminal before comes back
        seen += os.read(master, 65536)
    assert process.wait(20) == 0
    assert termios.tcgetattr(slave) == before
    assert b"\x1b[3" not in seen  # NO_COLOR
    os.close(master)
    os.close(slave)

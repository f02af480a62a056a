"""`ach export`, and `ach erase --undo`, on real servers."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from tests.acceptance.conftest import ACH, ROOT
from tests.integration.engine import event

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

RULES: Final = """event a.done { key: string? }
achievement two { title "Two" when count(event=a.done, >= 2) }
"""
ANN: Final = ("--user", "ann", "--tenant", "t1")
UNDO: Final = ("erase", "ann", "-t", "t1", "--undo")


@pytest.fixture
def deployed(on_servers: Shell) -> Shell:
    """A shell whose environment names servers with the rules applied."""
    on_servers.write("rules.ach", RULES)
    assert on_servers.ach("apply", "rules.ach").code == 0
    return on_servers


def send(shell: Shell, name: str, *events: dict[str, object]) -> None:
    shell.write(f"{name}.jsonl", "".join(json.dumps(one) + "\n" for one in events))
    assert shell.ach("emit", f"{name}.jsonl").code == 0
    assert shell.ach("run", "--drain").code == 0


async def test_a_person_is_exported_erased_and_taken_again(deployed: Shell) -> None:
    unknown = deployed.ach("export", *ANN)
    assert (unknown.code, unknown.out) == (1, "")
    assert "nothing is stored of 'ann' in tenant 't1'" in unknown.err
    assert deployed.ach("export", *ANN, "-o", "none.json").code == 1
    send(deployed, "first", *(event(n, user="ann", key="\x1b[2J") for n in range(2)), event(1, user="ann", tenant="t2"))
    printed = deployed.ach("export", *ANN)
    assert (printed.code, printed.err) == (0, "")
    found = json.loads(printed.out)
    assert [one["payload"] for one in found["events"]] == [{"key": "\x1b[2J"}] * 2
    assert "t2" not in printed.out
    written = deployed.ach("export", *ANN, "-o", "ann.json")
    assert (written.code, written.out) == (0, "")
    assert "ann.json: 2 events, 1 progress, 1 unlocks" in written.err
    file = deployed.folder / "ann.json"
    assert json.loads(file.read_text()) | {"as_of": ""} == found | {"as_of": ""}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in deployed.folder.iterdir() if "none.json" in one.name] == []
    missing = deployed.ach("export", *ANN, "-o", "nowhere/ann.json")
    assert (missing.code, "nowhere/ann.json cannot be written" in missing.err) == (1, True)

    refused = deployed.ach(*UNDO, "--reason", "asked to", "--yes")
    assert (refused.code, "is not erased; nothing was done" in refused.err) == (1, True)
    assert deployed.ach("erase", "ann", "-t", "t1", "--yes").code == 0
    assert deployed.ach(*UNDO, "--yes").code == 2  # without a reason
    assert deployed.ach(*UNDO, "--reason", "x", "--yes", "--purge-streams").code == 2
    assert deployed.ach("erase", "ann", "-t", "t1", "--reason", "x", "--yes").code == 2
    early = deployed.ach(*UNDO, "--reason", "asked to", "--yes")
    assert (early.code, "is not announced yet" in early.err) == (1, True)
    send(deployed, "out", event(5, user="ann"))
    nats_url, deployed.environment["NATS_URL"] = deployed.environment["NATS_URL"], "nats://127.0.0.1:1"
    away = deployed.ach(*UNDO, "--reason", "asked to", "--yes")
    assert (away.code, "nothing was lifted: NATS" in away.err) == (1, True)
    deployed.environment["NATS_URL"] = nats_url
    tombstone = json.loads(deployed.ach("export", *ANN).out)
    assert (tombstone["erasure"] is not None, tombstone["events"], tombstone["unlocks"]) == (True, [], [])
    assert deployed.ach(*UNDO, "--reason", "asked to", stdin=b"n\n").code == 1
    lifted = deployed.ach(*UNDO, "--reason", "asked to", "--by", "ada", "--json", "--yes")
    assert lifted.code == 0, lifted.err
    said = json.loads(lifted.out)
    assert (said["by"], said["reason"], said["announcements_removed"]) == ("ada", "asked to", 2)
    assert re.search("duplicate window", " ".join(said["not_restored"]))
    send(deployed, "again", *(event(n, user="ann", id=f"again-{n}") for n in range(2)))
    again = json.loads(deployed.ach("export", *ANN).out)
    assert [one["event_id"] for one in again["events"]] == ["again-0", "again-1"]
    assert [one["reason"] for one in again["lifted_erasures"]] == ["asked to"]
    assert deployed.ach("progress", "ann", "-t", "t1").out.count("earned") == 1


def test_the_printed_schema_is_the_one_that_is_kept(shell: Shell) -> None:
    assert shell.ach("schema", "export").out == (ROOT / "docs" / "export.schema.json").read_text("utf-8")


MANY: Final = """
INSERT INTO event (
    tenant_id, event_id, user_id, event_type, occurred_at, utc_offset, payload, received_at, stream_seq)
SELECT
    't1', $2 || n, $2, 'a.done', timestamptz '2026-01-01Z' + n * interval '1 s', 0,
    '{"key": "' || repeat('x', 200) || '"}', now(), n
FROM generate_series(1, $1) n
"""


@pytest.mark.operate
async def test_a_hundred_thousand_events_take_no_more_memory_than_few(on_servers: Shell, database_url: str) -> None:
    assert on_servers.ach("migrate").code == 0
    owner = await asyncpg.connect(database_url)
    sizes = {"bob": 5_000, "ann": 100_000}
    for user, number in sizes.items():
        await owner.execute(MANY, number, user)
    await owner.close()
    on_servers.write("rules.ach", RULES)
    assert on_servers.ach("apply", "rules.ach").code == 0  # and all of them are folded
    few, many = (exported(on_servers, user, number) for user, number in sizes.items())
    assert many < few + 8 * 1024, (few, many)


def exported(shell: Shell, user: str, number: int) -> int:
    """Export in a process of its own; return its peak of memory, in KiB."""
    measured = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    file = shell.folder / f"{number}.json"
    done = subprocess.run(
        [sys.executable, "-c", measured, ACH, "export", "-u", user, "-t", "t1", "-o", str(file)],
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(file.read_text())["events"]) == number
    return int(done.stdout)

"""Every command in every wrong circumstance: it ends in time, with one sentence, and says where to look.

With `ACH_CIRCUMSTANCES=FILE` the run writes a table of what each command has said into a file.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import pytest

from tests.acceptance.herd import STUCK
from tests.databases import fresh_database
from tests.integration.brokers import configured
from tests.integration.engine import Engine, event
from worker.app import wall_clock
from worker.settings import Settings
from worker.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from tests.acceptance.herd import Herd, Ran
    from worker.local.servers import Servers

pytestmark = pytest.mark.anyio

RULES: Final = """event a.done { team: string? }
achievement first { title "First" when count(event=a.done, >= 1) }
achievement crew { title "Crew" scope team when count(event=a.done, >= 2) }

example "one" {
  at 2026-04-13T09:00:00Z ann a.done {}
  expect ann first
}
"""
STREAM: Final = (
    '{"event_id":"e1","event_type":"a.done","user_id":"u","tenant_id":"t","occurred_at":"2026-04-13T09:00:00Z"}\n'
)
SECRET: Final = "hunter2secret"
SECRET_URLS: Final = (
    "{scheme}://me:{secret}@127.0.0.1:1/db",
    "{scheme}://{secret}@127.0.0.1:1",
    "{scheme}://me:{secret}/x@127.0.0.1:1",
    "{scheme}://me:p@ss/{secret}@127.0.0.1:1",
    "{scheme}://me:{secret}#@127.0.0.1:1",
    "{scheme}://me:[{secret}@127.0.0.1:1",
    "{scheme}://127.0.0.1:{secret}",
    "{scheme}://127.0.0.1:1/db?password={secret}&{secret}",
    "{scheme}://127.0.0.1:1/db?port={secret}",
    "{scheme}://me:%{secret}@127.0.0.1:1,{scheme}://me:{secret},@127.0.0.1:1",
    "{secret}://me:{secret}@127.0.0.1",
    "{secret}",
)
UNLIKELY: Final = "qxzvwkjq"
SERVING: Final = ("console", "ingest", "serve")
SERVICES: Final = (
    ("run",),
    ("serve", "--port", "0"),
    ("console", "--port", "0"),
    ("notify", "run", "--config", "notify.toml"),
)
"""Those that need the database from their start."""
NO_FILE: Final = (
    (("serve", "--config", "none.toml"), "ach serve key"),
    (("ingest", "--config", "none.toml"), "ach ingest key"),
    (("notify", "check", "--config", "none.toml"), "docs/notify.md"),
    (("console", "--persons", "none.toml"), "ach console --new-token"),
)
CONFIGURED: Final = (
    ("serve.toml", f'cursor_key = "{"c" * 43}"\n[tenants.t]\nkeys = ["{"0" * 64}"]\n'),
    ("ingest.toml", f'[tenants.t]\nkeys = ["{"0" * 64}"]\n'),
    ("app.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("notify.toml", '[endpoint.app]\nurl = "https://app.example/x"\nsecret = { file = "app.secret" }\n'),
)
"""A secret with parts that are in no word."""
LINES: Final = 4
"""Of standard error: usage, or one line while it waits, what is wrong, and a hint."""
AWAY: Final = "127.0.0.1:1"
REFUSED: Final = "the connection was refused"
WAITED: Final = f"cannot be reached ({REFUSED}); trying for 15 s"
UNLOCK: Final = "68adee72-3f69-8a5d-a138-a755ca804731"

READING: Final = (
    ("digest",),
    ("digest", "--json"),
    ("progress", "ann", "-t", "t"),
    ("progress", "ann", "-t", "t", "--json"),
    ("unlocks",),
    ("unlocks", "--json"),
    ("dead", "list"),
    ("dead", "list", "--json"),
    ("dead", "show", "1"),
    ("dead", "replay", "--reason", "contract", "--dry-run"),
    ("explain", "--from-ledger", "-u", "ann", "--tenant", "t", "-a", "first"),
)
"""Commands that need the database alone."""
CHANGING: Final = (
    ("grant", "ann", "first", "-t", "t", "--reason", "r"),
    ("revoke", UNLOCK, "--reason", "r"),
    ("erase", "ann", "-t", "t"),
    ("erase", "bob", "-t", "t", "--yes"),
    ("dead", "purge", "--all"),
    ("backfill",),
)
"""Those that change something there."""
MIGRATING: Final = (("migrate",), ("apply", "rules.ach"))
LOCAL: Final = (
    ("check", "rules.ach"),
    ("check", "rules.ach", "--format", "json"),
    ("check", "--explain", "ACH102"),
    ("fmt", "--check", "rules.ach"),
    ("test", "rules.ach"),
    ("lsp",),
    ("docs", "rules.ach", "-o", "site"),
    ("replay", "stream.jsonl", "-r", "rules.ach"),
    ("explain", "stream.jsonl", "-r", "rules.ach", "-u", "u", "-a", "first"),
    ("demo", "--stop", "--data", "none"),
)
"""Those that need no server."""


class Case(NamedTuple):
    """A command in a circumstance; `code` and `said` are what it has to end with."""

    where: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    code: int
    said: tuple[str, ...] = ()


class Places(NamedTuple):
    """Servers in several states: URLs of databases, and of brokers."""

    nats: str
    locked_nats: str
    password: str
    bare: str
    schema: str
    rules: str
    data: str
    port: int


@pytest.fixture
async def places(servers: Servers, nats_url: str, tmp_path: Path) -> AsyncGenerator[Places]:
    """Servers with databases: one without a schema, without rules, without events, with a few."""
    async with AsyncExitStack() as stack:
        bare, schema, rules, data = [await stack.enter_async_context(fresh_database(servers)) for _ in range(4)]
        async with open_store(schema) as store:
            await store.migrate(now=wall_clock())
        for url in (rules, data):
            engine = Engine(Settings(nats_url=nats_url, database_url=url))
            await engine.apply(RULES)
            await engine.backfill()
        await engine.publish([event(1, user="ann", tenant="t"), b"nonsense"])
        await engine.drain()
        locked = f'authorization {{ user: "ach", password: "{uuid4().hex}" }}'
        password = servers.database_tcp_url.replace("ach:", f"ach:{SECRET}")
        taken = stack.enter_context(socket.socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = await stack.enter_async_context(configured(tmp_path / "locked", locked))
        wrong = broker.url(f"ach:{SECRET}")
        yield Places(nats_url, wrong, password, bare, schema, rules, data, taken.getsockname()[1])


def cases(at: Places) -> list[Case]:
    """Return every command in every circumstance, with what it has to say."""

    def urls(database: str, nats: str = at.nats, **more: str) -> dict[str, str]:
        return {"DATABASE_URL": database, "NATS_URL": nats, "COLUMNS": "160", **more}

    no_database, no_nats = f"postgresql://ach@{AWAY}/x", f"nats://{AWAY}"
    database, nats = (
        (f"error: PostgreSQL at {no_database.replace('ach@', '')}: {REFUSED}", "is DATABASE_URL right?"),
        "is NATS_URL right?",
    )
    found: list[Case] = []
    for command in (*READING, *CHANGING, *MIGRATING, ("dead", "replay", "1")):
        found.append(Case("database away", command, urls(no_database), 1, (WAITED, *database)))
        found.append(Case("both away", command, urls(no_database, no_nats), 1, database))
        said = ("password authentication failed", "is DATABASE_URL right?")
        found.append(Case("wrong password", command, urls(at.password), 1, said))
    for command in (("digest",), ("emit", "stream.jsonl")):
        nowhere = urls("postgresql://ach@nowhere.invalid/x", "nats://nowhere.invalid")
        found.append(Case("no such host", command, nowhere, 1, ("host", "URL right?")))
    for where, url, said, purge_said in (
        ("broker away", no_nats, REFUSED, "none of the servers answers"),
        ("broker refuses", at.locked_nats, "uthorization", "uthorization"),
    ):
        found.append(Case(where, ("emit", "stream.jsonl"), urls(at.data, url), 1, (said, nats)))
        found.append(Case(where, ("dead", "replay", "1"), urls(at.data, url), 1, (said, nats)))
        purge = ("erase", where.replace(" ", ""), "-t", "t", "--yes", "--purge-streams")
        found.append(Case(where, purge, urls(at.data, url), 1, (purge_said, "the streams were not purged", "NATS_URL")))
        found.extend(Case(where, command, urls(at.data, url), 0) for command in (("digest",), ("unlocks",)))
    bare = ("the database has no schema yet", "run `ach migrate`")
    found.extend(Case("no schema", command, urls(at.bare), 1, bare) for command in (*READING, *CHANGING))
    no_rules = ("no rules are in force", "run `ach apply`")
    for command in READING:
        needs = command[0] in {"progress", "explain"}
        there = command[:2] != ("dead", "show")
        expected = no_rules if needs else () if there else ("there is no dead letter 1", "ach dead list")
        found.append(Case("no rules", command, urls(at.schema), 0 if there and not needs else 1, expected))
        expected = () if there else ("there is no dead letter 1", "ach dead list")
        found.append(Case("no data", command, urls(at.rules), 0 if there else 1, expected))
        found.append(Case("narrow", command, urls(at.data, COLUMNS="40"), 0))
    found += [
        Case("no rules", ("grant", "ann", "first", "-t", "t", "--reason", "r"), urls(at.schema), 1, no_rules),
        Case("no rules", ("backfill",), urls(at.schema), 0),
        Case("no rules", ("run", "--drain"), urls(at.schema), 0),
        Case("no data", ("backfill",), urls(at.rules), 0),
        Case("no data", ("dead", "replay", "--reason", "contract"), urls(at.rules), 0),
        Case("no data", ("dead", "purge", "--all"), urls(at.rules), 0),
        Case("no data", ("apply", "rules.ach"), urls(at.rules), 0),
        Case("no data", ("erase", "zoe", "-t", "t"), urls(at.rules), 1, ("nothing is known of 'zoe'",)),
        Case("no data", ("revoke", UNLOCK, "--reason", "r"), urls(at.rules), 1, ("there is no unlock", "ach unlocks")),
        Case("no data", ("emit", "empty.jsonl"), urls(at.rules), 0),
        Case("no data", ("replay", "empty.jsonl", "-r", "rules.ach"), {}, 1, ("nothing was tested",)),
    ]
    here = urls(at.rules)
    asked = ("explain", "--from-ledger", "-u", "ann", "--tenant", "t")
    found += [
        Case("unknown name", (*asked, "-a", "frist"), here, 1, ("no achievement frist", "did you mean first?")),
        Case("unknown name", (*asked, "-a", "first.gold"), here, 1, ("has no tier gold",)),
        Case("unknown name", ("grant", "a", "frist", "-t", "t", "--reason", "r"), here, 1, ("did you mean first?",)),
        Case("unknown name", ("progress", "x", "-t", "t", "--scope", "taem"), here, 1, ("did you mean team?",)),
        Case("unknown name", ("dead", "list", "--reason", "cntract"), here, 2, ("is none of", "contract")),
        Case("unknown name", ("unlocks", "--status", "grnted"), here, 2, ("granted",)),
        Case("unknown name", ("revoke", "no-id", "--reason", "r"), here, 2, ("UUID",)),
        Case("unknown name", ("check", "--explain", "ACH999"), {}, 2, ("ACH999",)),
        Case("unknown name", ("digst",), {}, 2, ("digst",)),
        Case("unknown setting", ("digest",), {**here, "ACH_BATCHSIZE": "5"}, 2, ("ACH_BATCHSIZE: unknown",)),
        Case("malformed URL", ("digest",), {**here, "DATABASE_URL": "mysql://x"}, 2, ("DATABASE_URL: expected",)),
        Case("malformed URL", ("emit", "stream.jsonl"), {**here, "NATS_URL": "x"}, 2, ("NATS_URL: expected",)),
        Case(
            "port taken", ("run",), {**here, "ACH_HEALTH_PORT": str(at.port)}, 1, ("cannot listen", "ACH_HEALTH_PORT")
        ),
        *(Case("port taken", (name, "--port", str(at.port)), here, 1, ("cannot listen", "--port")) for name in SERVING),
        *(
            Case("wrong password", command, urls(at.password), 1, ("password authentication failed", "DATABASE_URL"))
            for command in SERVICES
        ),
    ]
    found += files_of_urls(at)
    for command in (("check", "none.ach"), ("fmt", "none.ach"), ("test", "none.ach"), ("docs", "none.ach", "-o", "x")):
        found.append(Case("missing file", command, {}, 2, ("none.ach: no such file",)))
    for command in (("apply", "none.ach"), ("dev", "none.ach")):
        found.append(Case("missing file", command, here, 2, ("none.ach: no such file",)))
    for command in (("emit", "none.jsonl"), ("replay", "none.jsonl", "-r", "rules.ach")):
        found.append(Case("missing file", command, here, 1, ("none.jsonl",)))
    found += [Case("missing file", command, here, 1, ("none.toml", "No such file", hint)) for command, hint in NO_FILE]
    found.append(Case("missing file", ("dead", "replay", "1", "--body", "none"), here, 2, ("none",)))
    for command in (("check", "binary.ach"), ("test", "binary.ach"), ("apply", "binary.ach")):
        found.append(Case("unreadable file", command, here, 1))
    found.append(Case("unreadable file", ("replay", "broken.jsonl.gz", "-r", "rules.ach"), {}, 1, ("broken.jsonl.gz",)))
    found.append(Case("unreadable file", ("emit", "broken.jsonl.gz"), here, 1, ("broken.jsonl.gz",)))
    found.append(Case("unreadable file", ("emit", "loop.jsonl"), here, 1, ("loop.jsonl",)))
    found.append(Case("unreadable file", ("check", "loop.ach"), here, 2, ("loop.ach",)))
    found.append(Case("nothing to write to", ("docs", "rules.ach", "-o", "rules.ach"), {}, 1, ("rules.ach",)))
    found += [Case("no environment", command, {}, 0) for command in LOCAL]
    found += [Case("narrow", command, {"COLUMNS": "40"}, 0) for command in LOCAL if command[0] != "docs"]
    return found


def files_of_urls(at: Places) -> list[Case]:
    """Return commands whose URL or identity names a file that cannot be used: no server is asked or waited for.

    Each kind of file for each setting: tests/worker/test_url_files.py.
    """
    found: list[Case] = []
    for where, name, words in (
        ("file missing", "none.pem", "there is no file none.pem"),
        ("file is a pipe", "pipe", "pipe is no regular file"),
    ):
        database = f"postgresql://ach:{SECRET}@{AWAY}/x?sslmode=verify-full&sslrootcert={name}"
        env = {"DATABASE_URL": database, "NATS_URL": f"nats://{AWAY}", "COLUMNS": "160"}
        said = (f"sslrootcert of DATABASE_URL: {words}", "is DATABASE_URL right?")
        found.extend(
            Case(where, command, env, 1, said) for command in (("digest",), ("run",), ("serve", "--port", "0"))
        )
        env = {"DATABASE_URL": at.data, "NATS_URL": f"nats://{AWAY}", "NATS_CA": name, "COLUMNS": "160"}
        found.extend(
            Case(where, command, env, 1, (f"NATS_CA: {words}",)) for command in (("run",), ("emit", "stream.jsonl"))
        )
    return found


def with_secrets() -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """Return commands whose URL of the database, or of the broker, holds a secret, whatever else is wrong with it."""
    return [
        (command, {name: form.format(scheme=scheme, secret=UNLIKELY), "COLUMNS": "160"})
        for form in SECRET_URLS
        for command, name, scheme in (
            (("digest",), "DATABASE_URL", "postgresql"),
            (("emit", "empty.jsonl"), "NATS_URL", "nats"),
        )
    ]


def judge(case: Case, ran: Ran) -> list[str]:
    """Return what is wrong with what a command did."""
    said, wrong = ran.out + ran.err, list[str]()
    if ran.code != case.code:
        wrong.append("stuck" if ran.code == STUCK else f"exit code {ran.code} instead of {case.code}")
    if "Traceback" in said:
        wrong.append("a traceback")
    if case.code and len(ran.err.splitlines()) > LINES:
        wrong.append("more than a sentence")
    if SECRET in said:
        wrong.append("a secret")
    wrong += [f"lacks {words!r}" for words in case.said if words not in ran.err]
    wrong += [f"names {name}" for name in re.findall(r"\b[A-Z]\w*(?:Error|Exception)\b|\[Errno", said)]
    if case.code and not re.search(r"^(error|Error): ", ran.err, re.MULTILINE) and not ran.out:
        wrong.append("no sentence")
    return wrong


async def test_every_command_in_every_circumstance(places: Places, tmp_path: Path, commands: Herd) -> None:
    for name, text in (("rules.ach", RULES), ("stream.jsonl", STREAM), ("empty.jsonl", ""), *CONFIGURED):
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "binary.ach").write_bytes(b"event a.b {} \xff")
    (tmp_path / "broken.jsonl.gz").write_bytes(b"\x1f\x8bno")
    os.mkfifo(tmp_path / "pipe")
    for name in ("loop.jsonl", "loop.ach"):
        (tmp_path / name).symlink_to(name)
    found, secrets = cases(places), with_secrets()
    # All of them at once, since most of them wait.
    everything = commands.run_all([*((case.command, case.env) for case in found), *secrets], tmp_path)
    ran = everything[: len(found)]
    if table := os.environ.get("ACH_CIRCUMSTANCES"):
        Path(table).write_text(_table(found, ran), "utf-8")
    wrong = {
        f"{case.where}: ach {' '.join(case.command)}": (problems, one.code, one.out[-300:], one.err[-600:])
        for case, one in zip(found, ran, strict=True)
        if (problems := judge(case, one))
    }
    assert not wrong, "\n".join(f"{name}\n  {what}" for name, what in wrong.items())
    for (command, env), one in zip(secrets, everything[len(found) :], strict=True):
        said = one.out + one.err
        assert said, (command, env)
        assert "Traceback" not in said
        assert not [part for part in (UNLIKELY[:4], UNLIKELY[2:6], UNLIKELY[4:]) if part in said], (command, env, said)
    # What is copied from a table is in one piece, in a pipe and in a narrow terminal.
    narrow = {case.command: one.out for case, one in zip(found, ran, strict=True) if case.where == "narrow"}
    assert re.search(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} +t +ann +first +", narrow["unlocks",], re.MULTILINE)
    assert re.search(r"^ *1 +malformed_json .* events\.raw ", narrow["dead", "list"], re.MULTILINE)


def _table(found: list[Case], ran: list[Ran]) -> str:
    lines = ["| circumstance | command | exit code | seconds | what it says |", "|---|---|---|---|---|"]
    for case, one in sorted(zip(found, ran, strict=True), key=lambda pair: pair[0][:2]):
        lines_said = [line.strip() for line in (one.err or one.out).splitlines() if line.strip()]
        errors = [line for line in lines_said if line.startswith(("error:", "Error:", "hint:"))]
        words = " / ".join(errors if one.code and errors else lines_said)[:240]
        words = re.sub(r"\?host=\S+|127\.0\.0\.1:(?!1\b)\d+|circumstance_[0-9a-f]+", "...", words).replace("|", "\\|")
        lines.append(f"| {case.where} | `ach {' '.join(case.command)}` | {one.code} | {one.seconds:.0f} | {words} |")
    return "\n".join(lines) + RUNNING


RUNNING: Final = """

`ach run` is a service: it waits for a server that is away, says so with each try, and ends at a signal
(test_operating_commands.py). What waiting does not mend ends it: a wrong password or database at its start, a port that
is taken, a consumer that is no use (test_life_cycle.py). `ach demo` and `ach dev` run servers of their own, on ports
that are free (test_life_cycle.py has their folders).
"""
"""What is tried elsewhere."""

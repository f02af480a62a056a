"""Each command of the playbooks, run as it stands: by a shell with `ach`, and by psql. Queries: test_dashboard.py.

Words in capitals stand for what a person fills in, and are filled in here from a deployment that runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.conftest import ACH, ROOT, Shell
from tests.databases import psql
from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.operate, pytest.mark.timeout(300)]

PLAYBOOKS: Final = ROOT / "docs" / "playbooks"
RULES: Final = """
event lesson.done { score: decimal }
achievement first { title "First" when count(event=lesson.done, >= 1) }
"""
EXITS: Final = {"ach doctor": 1}
"""Where that is not 0: the servers of tests run without fsync, which the doctor calls an error."""
DEFECT: Final = "UPDATE dead_letter SET reason = 'defect' WHERE convert_from(body, 'UTF8') LIKE '%e-eve%'"
TELLING: Final[dict[str, dict[str, str]]] = {
    "announcing-denied": {},
    "backfill-stuck": {"ach apply RULES": "in force", "SELECT scope, epoch": "changed_at"},
    "backlog-old": {},
    "broker-gone": {"curl -s http://WORKER:8080/readyz": "ready"},
    "broker-refuses": {},
    "dead-letters": {
        "ach dead list": "malformed_json",
        "ach dead list --reason contract": "contract",
        "ach dead show ID": "score",
        "ach dead replay --reason contract --dry-run": "contract",
    },
    "defect": {
        "ach dead list --reason defect": "defect",
        "ach dead list --reason refused": "0 dead letters",
        "ach dead show ID": "score",
        "ach dead replay --reason defect --dry-run": "defect",
    },
    "events-silent": {"ach dead list": "malformed_json"},
    "no-progress": {"curl -s http://WORKER:8080/readyz": "ready", "SELECT pid, state": "wait_event_type"},
    "no-worker": {
        "curl -s http://WORKER:8080/healthz": "ok",
        "curl -s http://WORKER:8080/readyz": "ready",
        "ach digest --json": '"digest"',
    },
    "noisy-tenant": {},
    "outbox-stale": {"SELECT tenant_id, achievement": "granted_at", "ach doctor": "stream UNLOCKS storage: file"},
    "retries": {"SELECT pid, wait_event_type": "wait_event"},
    "rule-silent": {
        "ach explain --from-ledger -a ACHIEVEMENT -u USER --tenant TENANT": "first",
        "SELECT achievement, version": "first",
        "ach dead list --reason contract": "contract",
    },
    "unlocks-late": {},
    "unlocks-refused": {
        "ach unlocks --status granted": "first",
        'ach revoke ID --reason "..."': "revoked",
    },
    "workers-dead": {"SELECT host, release": "0.1.0"},
}
"""By page: what each command, or each query of SQL by its beginning, prints among other things."""
REPAIRS: Final = frozenset(
    {"backup-restored", "outage-partial", "release-bad", "rule-bug", "schema-malformed", "stream-lost"}
)
"""Pages that mend something, step by step: test_repair_playbooks.py."""


def commands_of(text: str) -> list[str]:
    """Return what a person runs in a shell: lines of blocks, and in sentences what has a blank or an option."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line]
    return [*lines, *re.findall(r"`(ach [^`]*(?:ID|--)[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))]


def test_each_page_has_its_expectations() -> None:
    assert {page.stem for page in PLAYBOOKS.glob("*.md")} == TELLING.keys() | REPAIRS


def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        pytest.skip("curl is missing, of Debian's package curl")
    return found


def asked(database_url: str, query: str) -> tuple[int, str]:
    ran = subprocess.run(
        [psql(), database_url, "-X", "-v", "ON_ERROR_STOP=1", "-c", query],
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def in_shell(shell: Shell) -> Callable[[str], tuple[int, str]]:
    environment = {**shell.environment, "PATH": f"{ACH.parent}{os.pathsep}{shell.environment['PATH']}"}

    def run(command: str) -> tuple[int, str]:
        ran = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=shell.folder,
            env=environment,
            input="y\n",
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.returncode, ran.stdout + ran.stderr

    return run


def lesson(user: str, score: object) -> str:
    return json.dumps(
        {
            "event_id": f"e-{user}",
            "event_type": "lesson.done",
            "user_id": user,
            "tenant_id": "acme",
            "occurred_at": "2026-03-01T00:00:00Z",
            "payload": {"score": score},
        }
    )


class World:
    """A deployment with dead letters of several reasons, and a worker that runs."""

    def __init__(self, shell: Shell, database_url: str, port: int) -> None:
        self._run = in_shell(shell)
        self._database_url = database_url
        self._port = port

    def value(self, query: str) -> str:
        code, said = asked(self._database_url, f"COPY ({query}) TO STDOUT")
        assert code == 0, said
        return said.strip()

    def filled(self, page: str, command: str) -> str:
        """Return a command whose words in capitals are filled in."""
        subject = "SELECT min(dead_letter_id) FROM dead_letter WHERE reason = "
        ids = {
            "dead-letters": f"{subject}'contract'",
            "defect": f"{subject}'defect'",
            "unlocks-refused": "SELECT unlock_id FROM unlock WHERE published_at IS NULL",
        }
        words = {"RULES": "rules.ach", "WORKER:8080": f"127.0.0.1:{self._port}", "ACHIEVEMENT": "first"}
        words |= {"USER": "ann", "TENANT": "acme"}
        if page in ids and re.search(r"\bID\b", command):
            words["ID"] = self.value(ids[page])
        return re.sub("|".join(rf"\b{one}\b" for one in words), lambda found: words[found[0]], command)

    def faults(self, page: str) -> list[str]:
        """Return what goes otherwise than a page says, each with its command."""
        text = (PLAYBOOKS / f"{page}.md").read_text("utf-8")
        queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
        commands = dict.fromkeys(commands_of(text))
        expected, found = TELLING[page], list[str]()
        for one in (*commands, *queries):
            begin = max((begin for begin in expected if one.startswith(begin)), key=len, default=None)
            if begin is None:
                found.append(f"{page}: {one}: no expectation")
                continue
            word = expected[begin]
            filled = self.filled(page, one)
            code, said = self._run(filled) if one in commands else asked(self._database_url, filled)
            if code != EXITS.get(one, 0) or word not in said:
                found.append(f"{page}: {one}: exit {code}, {word!r} expected:\n{said}")
        unused = [one for one in expected if not any(each.startswith(one) for each in (*commands, *queries))]
        return found + [f"{page}: {one}: stands there no more" for one in unused]


def ready(port: int) -> None:
    """Return once the worker is ready."""
    subprocess.run(
        [
            curl(),
            "-sf",
            "--retry",
            "60",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            f"http://127.0.0.1:{port}/readyz",
        ],
        check=True,
    )


async def test_each_command_does_what_its_page_says(on_servers: Shell, database_url: str) -> None:
    port = free_port()
    on_servers.write("rules.ach", RULES)
    assert on_servers.ach("apply", "rules.ach").code == 0
    world, last = World(on_servers, database_url, port), ("outbox-stale", "unlocks-refused", "workers-dead")
    on_servers.write(
        "events.jsonl", "\n".join([lesson("ann", 1), lesson("bob", "x"), lesson("eve", "y"), "no event", ""])
    )
    on_servers.environment.update(ACH_HEALTH_PORT=str(port), ACH_HEALTH_HOST="127.0.0.1")
    with on_servers.running("run"):
        del on_servers.environment["ACH_HEALTH_PORT"]
        ready(port)
        assert on_servers.ach("emit", "events.jsonl").code == 0
        on_servers.ach("run", "--drain")
        assert asked(database_url, DEFECT)[0] == 0
        found = [fault for page in TELLING if page not in last for fault in world.faults(page)]
    # It died without a goodbye: what is granted now waits to be announced.
    assert on_servers.ach("grant", "zoe", "first", "--tenant", "acme", "--reason", "test").code == 0
    found += [fault for page in last for fault in world.faults(page)]
    assert found == [], "\n\n".join(found)

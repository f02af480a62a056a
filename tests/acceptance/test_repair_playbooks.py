"""Playbooks that mend something, done as they are written: each breaks a deployment first, and judges what came of it.

Words in capitals stand for what a person fills in. A block runs line by line, in the order of the page.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import nats
import pytest

from tests.acceptance.test_playbooks import PLAYBOOKS, REPAIRS, asked, in_shell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.acceptance.conftest import Shell

pytestmark = [pytest.mark.anyio, pytest.mark.operate, pytest.mark.timeout(300)]

RULES: Final = """
event lesson.done { score: int? }
achievement first { title "First" when count(event=lesson.done, >= 1) }
achievement third { title "Third" when count(event=lesson.done, >= 3) }
"""
GIFT: Final = RULES + 'achievement gift { title "Gift" when count(event=lesson.done, >= 2) }\n'
EXACTLY: Final = "production has exactly"


class Step(NamedTuple):
    """What a command prints among other things, and how it ends."""

    word: str
    code: int = 0


STEPS: Final[Mapping[str, Sequence[tuple[str, Step]]]] = {
    "rule-bug": (
        ("ach rules history", Step("2")),
        ("ach reconcile", Step("gift")),
        ("ach rollback EPOCH --yes", Step("in force: epoch 3")),
        ("ach revoke --change CHANGE", Step("revoked 2 unlocks")),
        ("ach replay --from-ledger", Step(EXACTLY)),
    ),
    "schema-malformed": (
        ("ach dead list --reason contract", Step("contract")),
        ("ach plan RULES", Step("lesson.done", 2)),
        ("ach apply RULES --accept-contracts", Step("in force: epoch 2")),
        ("ach dead replay --reason contract --dry-run", Step("2 dead letters")),
        ("ach dead replay --reason contract", Step("2 dead letters")),
    ),
    "release-bad": (
        ("ach workers", Step("0.1.0")),
        ("ach replay --from-ledger", Step("missing", 1)),
        ("ach rebuild --dry-run", Step("1 missing", 1)),
        ("ach rebuild", Step("1 state differed, 1 decision", 1)),
        ("ach replay --from-ledger", Step(EXACTLY)),
        ("ach rebuild", Step("everything was as the events make it")),
    ),
    "outage-partial": (
        ("ach status", Step("lag           none")),
        ("ach workers", Step("0.1.0")),
        ("ach replay --from-ledger", Step(EXACTLY)),
    ),
    "stream-lost": (
        ("SELECT tenant_id, max(published_at)", Step("acme")),
        ("ach emit EVENTS", Step("published")),
        ("ach unlocks --json --limit", Step('"achievement":"first"')),
        ("ach replay --from-ledger", Step(EXACTLY)),
    ),
    "backup-restored": (
        ("ach reapply --dry-run", Step("to do again: 1 erasure")),
        ("ach reapply", Step("done again: 1 erasure")),
        ("ACH_CONSUMER=restored ach run --drain", Step("")),
        ("ach reapply", Step("done again: 0 erasures, 0 lifted tombstones, 1 revocation")),
        ("ach replay --from-ledger", Step("revoked by an operator")),
    ),
}


def test_each_page_has_its_steps() -> None:
    assert STEPS.keys() == REPAIRS


def steps_of(page: str) -> list[str]:
    """Return the commands and queries of a page's blocks, in order; those within a list are indented."""
    text = (PLAYBOOKS / f"{page}.md").read_text("utf-8")
    found: list[str] = []
    for kind, block in re.findall(r"^ *```(sh|sql)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        found += [" ".join(lines)] if kind == "sql" else lines
    return found


def lesson(user: str, number: int, score: object = 1) -> str:
    return json.dumps(
        {
            "event_id": f"e-{user}-{number}",
            "event_type": "lesson.done",
            "user_id": user,
            "tenant_id": "acme",
            "occurred_at": f"2026-03-01T00:00:{number:02}Z",
            "payload": {"score": score},
        }
    )


class Deployment:
    """A deployment that a page is done on."""

    def __init__(self, shell: Shell, nats_url: str, database_url: str) -> None:
        self.shell, self.nats_url, self.database_url = shell, nats_url, database_url
        shell.environment.update(NATS_URL=nats_url, DATABASE_URL=database_url)
        self.words: dict[str, str] = {}

    def ach(self, *args: str, code: int = 0) -> str:
        ran = self.shell.ach(*args)
        assert ran.code == code, ran
        return ran.out + ran.err

    def apply(self, text: str) -> None:
        self.ach("apply", str(self.shell.write("rules.ach", text)))

    def play(self, *lines: str) -> None:
        self.ach("emit", str(self.shell.write("events.jsonl", "".join(f"{line}\n" for line in lines))))
        self.ach("run", "--drain")

    def value(self, query: str) -> str:
        code, said = asked(self.database_url, f"COPY ({query}) TO STDOUT")
        assert code == 0, said
        return said.strip()

    def filled(self, step: str) -> str:
        """Return a command whose words in capitals are filled in."""
        for word, meant in self.words.items():
            step = re.sub(rf"\b{word}\b", meant, step)
        return step

    def follow(self, page: str) -> None:
        """Do what a page says."""
        steps, expected = steps_of(page), STEPS[page]
        assert len(steps) == len(expected), steps
        run = in_shell(self.shell)
        for step, (begin, wanted) in zip(steps, expected, strict=True):
            assert step.startswith(begin), (page, step, begin)
            line = self.filled(step)
            code, said = asked(self.database_url, line) if step.startswith("SELECT") else run(line)
            assert code == wanted.code, (line, code, said)
            assert wanted.word in said, (line, said)


@pytest.fixture
def deployment(shell: Shell, nats_url: str, database_url: str) -> Deployment:
    made = Deployment(shell, nats_url, database_url)
    made.apply(RULES)
    made.play(*(lesson(user, number) for user in ("ann", "bob") for number in range(3)))
    return made


async def test_a_rule_bug(deployment: Deployment) -> None:
    deployment.apply(GIFT)
    assert deployment.value("SELECT count(*) FROM unlock WHERE achievement = 'gift'") == "2"
    deployment.words = {"EPOCH": "1", "CHANGE": deployment.value("SELECT max(change_id) FROM change")}
    deployment.follow("rule-bug")
    assert deployment.value("SELECT count(*) FROM unlock WHERE achievement = 'gift' AND revoked_at IS NULL") == "0"
    deployment.play(lesson("cy", 0), lesson("cy", 1))
    assert deployment.value("SELECT string_agg(achievement, ' ') FROM unlock WHERE subject = 'cy'") == "first"


async def test_a_contract_that_does_not_fit(deployment: Deployment) -> None:
    deployment.play(lesson("cy", 0, "good"), lesson("cy", 1, "bad"))
    corrected = deployment.shell.write("corrected.ach", RULES.replace("int?", "string?"))
    deployment.words = {"RULES": str(corrected)}
    deployment.follow("schema-malformed")
    deployment.ach("run", "--drain")
    assert deployment.value("SELECT count(*) FROM event WHERE user_id = 'cy'") == "2"


async def test_a_bad_release(deployment: Deployment) -> None:
    spoil = (
        "UPDATE progress SET state = '[2,[[1,\"e\"]]]' WHERE subject = 'ann'",
        "DELETE FROM unlock WHERE subject = 'bob' AND achievement = 'third'",
    )
    for statement in spoil:
        assert asked(deployment.database_url, statement)[0] == 0
    deployment.follow("release-bad")


async def test_a_worker_is_away(deployment: Deployment) -> None:
    with deployment.shell.running("run") as away:
        away.kill()
        deployment.play(*(lesson("cy", number) for number in range(3)))
    deployment.follow("outage-partial")


async def test_streams_are_lost(deployment: Deployment) -> None:
    client = await nats.connect(deployment.nats_url)
    for stream in ("EVENTS", "UNLOCKS"):
        assert await client.jetstream().delete_stream(stream)
    await client.close()
    again = [lesson(user, number) for user in ("ann", "bob", "cy") for number in range(3)]
    recording = deployment.shell.write("recording.jsonl", "".join(f"{line}\n" for line in again))
    deployment.ach("run", "--drain")
    deployment.words = {"EVENTS": str(recording)}
    deployment.follow("stream-lost")
    deployment.ach("run", "--drain")
    assert deployment.value("SELECT count(*) FROM event") == "9"
    assert EXACTLY in deployment.ach("replay", "--from-ledger")
    # What was granted since is announced, and what was announced is not announced again.
    assert deployment.value("SELECT count(*) FROM unlock WHERE published_at IS NULL") == "0"


async def test_a_backup_is_restored(deployment: Deployment) -> None:
    shell = deployment.shell
    key = shell.write("journal.key", "k" * 44)
    shell.environment.update(ACH_JOURNAL=str(shell.folder / "journal"), ACH_JOURNAL_KEY_FILE=str(key))
    url, backup = deployment.database_url, f"backup_{uuid4().hex}"
    name = urlsplit(url).path.removeprefix("/")
    assert asked(url.replace(name, "postgres", 1), f'CREATE DATABASE {backup} TEMPLATE "{name}"')[0] == 0
    deployment.apply(GIFT)
    deployment.play(lesson("cy", 0))
    deployment.ach("erase", "ann", "--tenant", "acme", "--yes")
    revoked = deployment.value("SELECT unlock_id FROM unlock WHERE subject = 'cy' AND achievement = 'first'")
    deployment.ach("revoke", revoked, "--reason", "cheated", "--yes")
    deployment.ach("grant", "bob", "first", "--tenant", "acme", "--reason", "asked")
    deployment.database_url = shell.environment["DATABASE_URL"] = url.replace(name, backup, 1)
    deployment.follow("backup-restored")
    assert deployment.value("SELECT count(*) FROM event WHERE user_id = 'ann'") == "0"
    assert deployment.value("SELECT revoked_at IS NOT NULL FROM unlock WHERE subject = 'cy'") == "t"
    assert "gift" in deployment.ach("rules", "list")

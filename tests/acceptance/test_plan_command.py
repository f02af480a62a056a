"""`ach plan` on real servers: exit codes, a file that can be applied, typical mistakes, the commands of its page."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import jsonschema
import pytest

from dsl.calendar import format_instant
from tests.acceptance.conftest import ROOT
from worker.admin.plan_file import read_plan
from worker.engine.preview import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

TEN: Final = """event lesson.completed {}

achievement ten_lessons {
  title "Ten lessons"
  when  count(event=lesson.completed, >= 10)
}
"""
HELLO: Final = 'achievement hello { title "Hello" when count(event=lesson.completed, >= 1) }\n'


def history() -> Iterator[str]:
    for user in range(14):
        for number in range(user):
            at = format_instant(1_780_300_800_000_000 + number * 86_400_000_000)
            said = {"event_id": f"{user}-{number}", "event_type": "lesson.completed", "user_id": f"u{user}"}
            yield json.dumps({**said, "tenant_id": "acme", "occurred_at": at, "payload": {}})


@pytest.fixture
def deployed(on_servers: Shell) -> Shell:
    """A shell whose environment names servers with rules and history."""
    (on_servers.folder / "rules").mkdir()
    rules = on_servers.write("rules/ten.ach", TEN)
    recorded = on_servers.write("history.jsonl", "".join(f"{line}\n" for line in history()))
    for command in (("apply", rules), ("emit", recorded), ("run", "--drain")):
        ran = on_servers.ach(*command)
        assert ran.code == 0, ran.err
    return on_servers


def from_page() -> str:
    """Return the rules of the page that give a changed condition a new version."""
    page = (ROOT / "docs" / "changing-rules.md").read_text("utf-8")
    found = [block for block in re.findall(r"```ach\n(.+?)```", page, re.DOTALL) if "version 2" in block]
    assert len(found) == 1
    return found[0]


async def test_a_change_is_shown_and_applied_as_shown(deployed: Shell) -> None:
    """The words, the numbers and the exit codes of the page."""
    same = deployed.ach("plan", "rules/")
    assert (same.code, same.err) == (0, "")
    assert "No change: 1 achievement as in force (epoch 1)" in same.out

    deployed.write("rules/ten.ach", from_page() + HELLO)
    ran = deployed.ach("plan", "rules/", "--out", "plan.json", "--list")
    assert ran.code == 2, ran.err
    shown = ran.out.splitlines()
    assert re.fullmatch(r"Against epoch 1 \(applied \d+ s ago by \S+\), 91 events, snapshot \d\d:\d\d:\d\d", shown[0])
    assert shown[1:5] == [
        "+ hello                                            13 gain   announce: all",
        "~ ten_lessons v2 from 2026-06-01   count >= 10 -> >= 12",
        "    no longer qualify, keep it as contested         2   u10 acme, u11 acme",
        "    earned later (amended)                          2   median +2 d",
    ]
    assert "ten_lessons  contested  acme  u10  2026-06-10T08:00:00.000000Z" in shown
    assert len(shown) == shown.index("Announce: all of 13 new grants <- choose --announce none|since 7d|all") + 18
    assert "written to plan.json" in ran.err
    assert read_plan(deployed.folder / "plan.json").epoch == 1

    applied = deployed.ach("apply", "rules/")
    assert applied.code == 0, applied.err
    (row,) = (line.split() for line in applied.out.splitlines() if line.startswith("hello"))
    assert row[2] == "13"


async def test_json_fits_its_schema_and_a_list_follows_it(deployed: Shell) -> None:
    deployed.write("rules/hello.ach", HELLO)
    ran = deployed.ach("plan", "rules/", "--json", "--list", "--announce", "since", "2026-06-02T00:00:00Z")
    first, *rest = ran.out.splitlines()
    said = json.loads(first)
    jsonschema.Draft202012Validator(schema()).validate(said)
    assert (ran.code, said["gained"], said["announced"]) == (2, 13, 0)
    assert [json.loads(line)["subject"] for line in rest] == sorted(f"u{number}" for number in range(1, 14))
    sampled = json.loads(deployed.ach("plan", "rules/", "--json", "--sample", "50%").out)
    assert sampled["sample"]["of"] == 13
    assert sampled["achievements"][0]["effects"][0]["estimate"]["high"] <= 13


async def test_what_an_apply_refuses_is_said_beside_the_plan(deployed: Shell) -> None:
    fails = HELLO + 'example "never" {\n  at 2026-06-01T00:00:00Z ann lesson.completed {}\n  expect ann not hello\n}\n'
    deployed.write("rules/hello.ach", fails)
    ran = deployed.ach("plan", "rules/", "--out", "plan.json")
    refused = "`ach apply` would refuse these rules:\n    rules/hello.ach:"
    assert (ran.code, refused in ran.err, 'example "never" expects ann' in ran.err) == (1, True, True), ran
    assert "no plan was written" in ran.err
    assert not (deployed.folder / "plan.json").exists()
    ran = deployed.ach("plan", "rules/", "--json")
    assert (ran.code, refused in ran.err, ran.out.count("\n")) == (2, True, 1)
    deployed.write("rules/hello.ach", HELLO)
    second = TEN.partition("\n\n")[2].replace("ten_lessons {", "ten_lessons version {} from {}-06-01T00:00:00Z {{")
    two, three = second.replace("{}", "2", 1).replace("{}", "2026"), second.replace("{}", "3", 1).replace("{}", "2025")
    deployed.write("rules/second.ach", two.replace("{{", "{"))
    assert deployed.ach("apply", "rules/").code == 0
    deployed.write("rules/second.ach", three.replace("{{", "{"))
    ran = deployed.ach("plan", "rules/")
    assert "ten_lessons version 3 begins before version 2, which is in force" in " ".join(ran.err.split()), ran


async def test_the_rewards_of_a_family_are_judged_with_their_elements(deployed: Shell) -> None:
    """As an apply does: 66,400 bytes with the name of an element are less, or more, with its value."""
    head = 'achievement first for each course in [{}] {{\n  title "First"\n'
    clauses = '  when count(event=lesson.completed, >= 1)\n  reward { said: "' + "{course}" * 8300 + '" }\n}\n'
    deployed.write("rules/family.ach", head.format('"go", "rust_and_more"') + clauses)
    ran = deployed.ach("plan", "rules/", "--out", "plan.json")
    assert (ran.code, 'the reward has 107,912 bytes; the limit is 65,536 (for course "rust_and_more")' in ran.err) == (
        1,
        True,
    )
    assert "no plan was written" in ran.err
    ran = deployed.ach("apply", "rules/")
    assert (ran.code, "a reward is too large to be announced; nothing was done" in ran.err) == (1, True), ran
    deployed.write("rules/family.ach", head.format('"go", "c"') + clauses)
    ran = deployed.ach("plan", "rules/", "--out", "plan.json")
    assert (ran.code, "limit" in ran.err) == (2, False), ran
    assert deployed.ach("apply", "plan.json").code == 0


async def test_mistakes_end_with_1(deployed: Shell) -> None:
    """2 stands for changes, so that nothing else may end with it."""
    broken = deployed.write("broken.ach", "achievement x {}")
    changed = deployed.write("changed.ach", TEN.replace(">= 10", ">= 11"))
    for words, said in (
        (("missing.ach",), "missing.ach: no such file or folder"),
        ((broken,), "the rules have errors; nothing was done"),
        (("rules/", "--sample", "0%"), "--sample: expected a percentage such as 1% or 0.5%, got '0%'"),
        (
            ("rules/", "--announce", "some"),
            "--announce: expected none, all, or since with a span or an instant, got 'some'",
        ),
        (("rules/", "--announce", "since Monday"), "'--announce since Monday' is no span such as 7d, and no instant"),
        (("rules/", "--list", "--format", "markdown"), "--list names users, and --format markdown is for a comment"),
        (("rules/", "--nonsense"), "No such option '--nonsense'"),
        ((), "Missing argument 'PATH...'"),
        (("rules/", "--out", "no/such/folder.json"), "no/such/folder.json cannot be written: No such file"),
        ((changed, "--out", "plan.json"), "no plan was written: `ach apply` would refuse it"),
    ):
        ran = deployed.ach("plan", *words)
        assert (ran.code, said in " ".join(f"{ran.err} {ran.out}".split())) == (1, True), (words, ran)
    assert "ten_lessons v1: its own text has changed (give it a new version)" in deployed.ach("plan", changed).out
    deployed.environment["DATABASE_URL"] = re.sub(r"@/\w+", "@/gone", deployed.environment["DATABASE_URL"])
    away = deployed.ach("plan", "rules/", "--json")
    assert (away.code, away.out) == (1, "")
    assert "is DATABASE_URL right?" in away.err

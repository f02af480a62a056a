"""What scripts rely on: `--json` of commands with one object, exit codes, and messages that say what to type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from worker.local.locks import FolderLock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import Shell

pytestmark = pytest.mark.anyio

GOOD = """event a.done {}
achievement one { title "One" when count(event=a.done, >= 1) }
example "one" {
  at 2026-04-13T09:00:00Z ann a.done {}
  expect ann one at 2026-04-13T09:00:00Z
}
example "two" {
  at 2026-04-13T09:00:00Z ann a.done {}
  expect ann not one
}
"""
SMALL = 'event a.done {}\nachievement one { title "One" when count(event=a.done, >= 1) }\n'
FOUR = (
    SMALL
    + """achievement two { title "B" when count(event=a.done >= 1) }
achievement three { title "C" when count(event=a.done, distinct x, >= 1) }
achievement four { title "D" whn count(event=a.done, >= 1) }
"""
)


def event(user: str) -> str:
    about = {"event_id": user, "event_type": "a.done", "user_id": user, "tenant_id": "t"}
    return f"{json.dumps({**about, 'occurred_at': '2026-04-13T09:00:00Z'})}\n"


def asked(shell: Shell, *args: str | Path, code: int = 0) -> Any:  # noqa: ANN401 - JSON
    """Return what a command prints with --json."""
    ran = shell.ach(*args, "--json")
    assert ran.code == code, ran
    assert ran.out.count("\n") == 1
    return json.loads(ran.out)


def test_rules_are_checked_formatted_and_tested(shell: Shell) -> None:
    rules = str(shell.write("rules.ach", GOOD))
    assert asked(shell, "check", rules) == []
    assert asked(shell, "fmt", rules, "--check", code=1) == {"changed": [rules], "unchanged": [], "failed": []}
    assert asked(shell, "fmt", rules)["changed"] == [rules]
    assert asked(shell, "fmt", rules, "--check") == {"changed": [], "unchanged": [rules], "failed": []}
    assert shell.ach("fmt", rules, "--json", "--diff").code == 2
    found = asked(shell, "test", rules, "--coverage", code=1)
    assert (found["passed"], found["failed"], found["coverage"]["percent"]) == (1, 1, 100)
    assert [(one["title"], len(one["failures"])) for one in found["examples"]] == [("one", 0), ("two", 1)]
    (failure,) = found["examples"][1]["failures"]
    assert set(failure) == {"line", "expected", "got"}


def test_a_file_that_cannot_be_written_is_named(shell: Shell) -> None:
    rules = shell.write("rules.ach", GOOD.replace("  expect ann not one\n", ""))
    ran = shell.ach("test", rules, "--junit", "none/examples.xml")
    assert (ran.code, ran.err) == (1, "error: none/examples.xml: No such file or directory\n")


@pytest.mark.parametrize(
    "words",
    [
        ("erase", "", "-t", "acme", "--yes"),
        ("erase", "ann", "-t", "", "--yes"),
        ("serve", "key", "-t", ""),
        ("serve", "token", "-t", "acme", "-u", ""),
        ("ingest", "key", "-t", ""),
    ],
)
def test_a_variable_that_is_not_set_names_no_one(shell: Shell, words: tuple[str, ...]) -> None:
    ran = shell.ach(*words)
    assert (ran.code, ran.out, "expected a name, got an empty text" in ran.err) == (2, "", True)


def test_files_are_written(shell: Shell, tmp_path: Path) -> None:
    rules = shell.write("rules.ach", SMALL)
    assert asked(shell, "docs", rules, "-o", "site") == {"file": "site/index.html", "achievements": 1}
    written = asked(shell, "contract", rules, "-o", "contract")
    assert {tmp_path / one["file"] for one in written["changed"]} == {
        path for path in (tmp_path / "contract").rglob("*") if path.is_file()
    }
    assert asked(shell, "contract", rules, "-o", "contract", "--check")["out_of_date"] == []
    first = written["changed"][0]["file"]
    (tmp_path / first).write_text("")
    late = asked(shell, "contract", rules, "-o", "contract", "--check", code=1)
    assert [one["file"] for one in late["out_of_date"]] == [first]


def test_an_explanation(shell: Shell) -> None:
    rules, stream = shell.write("rules.ach", SMALL), shell.write("stream.jsonl", event("ann"))
    words = ("explain", stream, "-r", rules, "-u", "ann", "-a", "one")
    assert asked(shell, *words) == json.loads(shell.ach(*words, "--format", "json").out)


async def test_the_books(on_servers: Shell) -> None:
    rules = on_servers.write("rules.ach", SMALL)
    stream = on_servers.write("stream.jsonl", event("ann") + event("bob"))
    assert asked(on_servers, "migrate")["applied"][0].startswith("0001_")
    assert asked(on_servers, "migrate") == {"applied": []}
    applied = asked(on_servers, "apply", rules)
    assert (applied["epoch"], applied["new"]) == (1, [{"achievement": "one", "version": 1}])
    assert applied["backfill"] == {"epoch": 1, "subjects": 0, "versions": []}
    assert asked(on_servers, "apply", rules)["backfill"] is None
    assert asked(on_servers, "backfill")["subjects"] == 0
    sent = asked(on_servers, "emit", stream, "--quiet")
    assert (sent["published"], sent["duplicates"], sent["refused"]) == (2, 0, [])
    assert on_servers.ach("run", "--drain").code == 0
    granted = asked(on_servers, "grant", "cy", "one", "-t", "t", "--reason", "asked for")
    assert (UUID(granted["unlock_id"]).version, granted["before"]) == (8, None)
    assert on_servers.ach("revoke", granted["unlock_id"], "--json").code == 2
    revoked = asked(on_servers, "revoke", granted["unlock_id"], "--yes")
    assert (revoked["revoked"], revoked["unlocks"][0]["subject"]) == (1, "cy")
    assert on_servers.ach("erase", "ann", "-t", "t", "--json").code == 2
    erased = asked(on_servers, "erase", "ann", "-t", "t", "--yes", "--purge-streams")
    assert (erased["events"], erased["unlocks"], erased["purged"]["events"]) == (1, 1, 1)
    assert erased["not_reached"]


async def test_dead_letters(on_servers: Shell) -> None:
    on_servers.ach("apply", on_servers.write("rules.ach", SMALL))
    on_servers.ach("emit", on_servers.write("stream.jsonl", event("ann").replace('"e', '"E').replace("2026", "no")))
    assert on_servers.ach("run", "--drain").code == 0
    (letter,) = asked(on_servers, "dead", "list")
    number = str(letter["dead_letter_id"])
    shown = asked(on_servers, "dead", "show", number)
    assert json.loads(shown.pop("body"))["user_id"] == "ann"
    assert shown == letter
    assert on_servers.ach("dead", "show", number, "--json", "--raw").code == 2
    tried = asked(on_servers, "dead", "replay", number, "--dry-run")
    assert sum(tried["outcomes"].values()) == len(tried["first"]) == 1
    assert asked(on_servers, "dead", "replay", number) == {"sent": 1, "not_sent": []}
    assert asked(on_servers, "dead", "purge", "--all") == {"deleted": 1}


# -- messages ---------------------------------------------------------------------------------------------------------


def test_every_achievement_of_a_file_is_counted(shell: Shell) -> None:
    ran = shell.ach("test", shell.write("rules.ach", FOUR))
    assert ran.code == 1
    assert "1 file, 4 achievements: 3 errors" in ran.out


def test_a_demo_beside_a_running_one_says_so_and_nothing_else(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "nats").mkdir(parents=True)
    lock = FolderLock(folder)
    try:
        ran = shell.ach("demo", "--data", folder)
    finally:
        lock.close()
    assert (ran.code, ran.out) == (1, "")
    assert "is in use by process" in ran.err
    assert "choose another data folder with --data" in ran.err

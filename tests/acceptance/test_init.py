"""`ach init`: what it writes checks, runs, and is what the next commands take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell


def test_what_it_writes_passes_every_check_of_its_ci(shell: Shell) -> None:
    assert shell.ach("init", "here").code == 0
    shell.folder /= "here"
    for command in (
        ("check", "rules/", "--strict"),
        ("fmt", "--check", "rules/"),
        ("test", "rules/", "--coverage", "--fail-under", "100"),
        ("replay", "events.jsonl", "-r", "rules/", "--expect", "expected.json"),
    ):
        ran = shell.ach(*command)
        assert ran.code == 0, (command, ran.err)
    workflow = (shell.folder / ".github/workflows/rules.yml").read_text("utf-8")
    for said in ("ach check rules/", "ach fmt --check rules/", "ach test rules/", "ach replay events.jsonl"):
        assert said in workflow


@pytest.mark.parametrize(("ci", "path"), [("gitlab", ".gitlab-ci.yml"), ("none", None)])
def test_the_ci_is_a_choice(shell: Shell, ci: str, path: str | None) -> None:
    ran = json.loads(shell.ach("init", "--ci", ci, "--json").out)
    wanted = {"rules/lessons.ach", "events.jsonl", "expected.json", ".gitignore"}
    assert set(ran["written"]) == (wanted if path is None else {*wanted, path})


def test_a_file_that_is_there_stays(shell: Shell) -> None:
    shell.write("events.jsonl", "mine")
    ran = shell.ach("init")
    assert "kept  events.jsonl, which was there" in ran.out
    assert (shell.folder / "events.jsonl").read_text("utf-8") == "mine"
    again = shell.ach("init")
    assert again.code == 1
    assert "rules has rule files already" in again.err


def test_where_it_cannot_write_it_says_so(shell: Shell) -> None:
    shell.write("rules", "a file")
    ran = shell.ach("init")
    assert ran.code == 1
    assert "rules" in ran.err
    assert "Traceback" not in ran.err

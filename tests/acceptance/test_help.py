"""Help texts are as they are kept in tests/acceptance/help, fit a narrow terminal, and commands can be scripted."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import pytest
from click.shell_completion import BashComplete

from tests.acceptance.conftest import ACH
from tests.acceptance.help_pages import FOLDER, commands, help_of
from worker.cli import main

if TYPE_CHECKING:
    from tests.acceptance.help_pages import Named

ALL: Final = list(commands())
NARROW: Final = 40
SERVICE: Final = "runs until a signal ends it; its log is JSON with ACH_LOG_FORMAT=json"
PEOPLE: Final = "shows something to a person; "
DOCUMENT: Final = "prints a document of a form of its own: "
WITHOUT_JSON: Final = {
    "alerts": f"{DOCUMENT}YAML for Prometheus",
    "console": SERVICE,
    "demo": f"{PEOPLE}`ach replay --json` has the same for programs",
    "dev": f"{PEOPLE}`ach status --json` and the others work beside it",
    "export": f"{DOCUMENT}JSON, as docs/export.schema.json says",
    "grants": f"{DOCUMENT}SQL",
    "ingest": SERVICE,
    "ingest key": f"{DOCUMENT}TOML for the file of keys",
    "ingest openapi": f"{DOCUMENT}OpenAPI, in JSON",
    "lsp": "speaks the protocol of editors",
    "mirror ddl": f"{DOCUMENT}SQL",
    "notify run": SERVICE,
    "run": SERVICE,
    "schema": f"{DOCUMENT}JSON Schema",
    "serve": SERVICE,
    "serve key": f"{DOCUMENT}TOML for the file of keys",
    "serve openapi": f"{DOCUMENT}OpenAPI, in JSON",
    "serve token": f"{DOCUMENT}a token",
    "top": f"{PEOPLE}`ach status --json` has the same for programs",
}
PROGRESS: Final = {"emit", "rebuild", "replay", "notify replay"}
"""They draw their progress on a terminal."""


PAGE: Final = Path(__file__).parents[2] / "docs" / "commands.md"


def name_of(one: Named) -> str:
    return " ".join(one.words)


def is_run(one: Named) -> bool:
    """Return whether it does something by itself, which most groups do not."""
    return not isinstance(one.command, click.Group) or one.command.invoke_without_command


def test_the_page_of_commands_has_each_of_them() -> None:
    rows = re.findall(r"^\| (`ach .+?) \| (.+?) \| (.+?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    shown = {name for row in rows for name in re.findall(r"`ach ([a-z]+)", row[0])}
    assert shown == {one.words[0] for one in ALL if one.words}


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_help_is_as_it_is_kept(one: Named) -> None:
    kept = one.file.read_text(encoding="utf-8") if one.file.exists() else ""
    assert help_of(one.words) == kept, "if it should be so: python -m tests.acceptance.help_pages"


def test_no_help_is_kept_of_what_is_gone() -> None:
    assert set(FOLDER.iterdir()) == {one.file for one in ALL}


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_help_fits_a_narrow_terminal(one: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(NARROW))
    for line in help_of(one.words, width=None).splitlines():
        # The names of an option are in one piece, and so is a word.
        whole = line.startswith("  -") or len(line.split()) == 1
        assert len(line) <= NARROW or whole, line


def test_every_command_prints_json_or_has_a_reason_not_to() -> None:
    runs = [one for one in ALL if is_run(one)]
    assert {name_of(one) for one in runs if "--json" not in one.options} == set(WITHOUT_JSON)
    assert len(runs) - len(WITHOUT_JSON) > 25


def test_a_command_that_draws_progress_can_be_quiet() -> None:
    assert {name_of(one) for one in ALL if "--quiet" in one.options} == PROGRESS | {"doctor"}


@pytest.mark.parametrize(
    ("words", "begun", "wanted"),
    [
        ([], "de", {"dead", "demo", "dev"}),
        (["dead"], "", {"list", "purge", "replay", "show"}),
        (["unlocks"], "--st", {"--status"}),
        (["unlocks", "--status"], "an", {"announced"}),
        (["check", "--format"], "", {"github", "json", "sarif", "text"}),
    ],
)
def test_words_are_completed(words: list[str], begun: str, wanted: set[str]) -> None:
    found = BashComplete(main, {}, "ach", "_ACH_COMPLETE").get_completions(words, begun)
    assert {one.value for one in found} == wanted


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_command_makes_scripts_for_shells(shell: str) -> None:
    done = subprocess.run(
        [ACH], env={**os.environ, "_ACH_COMPLETE": f"{shell}_source"}, capture_output=True, text=True, check=True
    )
    assert f"{shell}_complete" in done.stdout

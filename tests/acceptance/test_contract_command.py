"""`ach contract` as CI uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

RULES = "event lesson.completed { lesson_id: string }\nevent login {}\n"


def test_a_folder_is_written_checked_and_brought_up_to_date(shell: Shell) -> None:
    shell.write("rules.ach", RULES)
    command = ("contract", "rules.ach", "-o", "out")
    missing = shell.ach(*command, "--check")
    assert missing.code == 1
    assert "out/asyncapi.json: missing\n" in missing.out
    assert missing.err.endswith("error: out: 6 files not up to date\n  hint: run the same command without --check\n")
    assert not (shell.folder / "out").exists()
    assert shell.ach(*command).out == "out: 2 event types, 6 files, 6 changed\n"
    assert shell.ach(*command, "--check").out == "out: up to date, 6 files\n"
    shell.write("rules.ach", RULES.replace("event login {}", ""))
    late = shell.ach(*command, "--check")
    assert late.code == 1
    assert "out/events/login.schema.json: of an event that is not declared\n" in late.out


def test_what_cannot_be_done_is_said(shell: Shell) -> None:
    shell.write("none.ach", "")
    none = shell.ach("contract", "none.ach", "-o", "out")
    assert none.code == 1
    assert none.err.startswith("error: the rules declare no events\n  hint: declare them")
    shell.write("rules.ach", RULES)
    assert shell.ach("contract", "rules.ach", "-o", "out", "--prefix", "events.>").code == 2
    full = shell.ach("contract", "rules.ach", "-o", "rules.ach/out")
    assert full.code == 1
    assert full.err == "error: rules.ach/out/envelope.schema.json: Not a directory\n"

"""`ach dev` tells a developer what comes of events and of edits, as they happen."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.acceptance.conftest import read_until

if TYPE_CHECKING:
    import subprocess

    from tests.acceptance.conftest import Shell

RULES = """event lesson.completed { minutes: int }
achievement first { title "First" when count(event=lesson.completed, >= 1) }
"""
EVENT = (
    '{"event_id":"%s","event_type":"%s","user_id":"ann","tenant_id":"acme","occurred_at":"2026-04-13T09:00:00Z",'
    '"payload":{"minutes":%s}}\n'
)


def test_dead_letters_undeclared_types_and_reloads_are_printed(shell: Shell) -> None:
    rules = shell.write("rules.ach", RULES)
    types = ("lesson.completed", "1"), ("lesson.complete", "1"), ("lesson.complete", "2"), ("lesson.completed", '"x"')
    shell.write("a.jsonl", "".join(EVENT % (f"e{n}", *one) for n, one in enumerate(types)) + "nope\n")
    with shell.running("dev", rules, "--data", shell.folder / "dev") as dev:
        started = read_until(dev, "ach dead list")
        for line in started.splitlines():
            name, _, value = line.strip().removeprefix("export ").partition("=")
            if name in ("NATS_URL", "DATABASE_URL"):
                shell.environment[name] = value.strip('"')
        assert shell.ach("emit", "a.jsonl").code == 0
        found = said_until(dev, 4)
        assert sorted(line for line in found if not line.startswith("console")) == [
            'dead letter 1 on events.acme.ann.lesson.completed: contract: payload.minutes: expected int, got "x"',
            "dead letter 2 on events.raw: malformed_json: JSON is malformed: invalid character (byte 1)",
            "lesson.complete is not declared: did you mean lesson.completed?",
            "unlock: acme ann first earned 2026-04-13T09:00:00.000000Z",
        ]
        rules.write_text(RULES.replace(">= 1", ">= x"), encoding="utf-8")
        assert "error[" in read_until(dev, "the rules from before stay in force")
        rules.write_text(RULES + "event lesson.complete {}\n", encoding="utf-8")
        assert "in force: epoch 2" in read_until(dev, "events: new lesson.complete")
        dev.send_signal(signal.SIGINT)
        assert dev.wait() == 0


def test_a_changed_meaning_is_judged_again_and_nothing_is_lost(shell: Shell) -> None:
    rules = shell.write("rules.ach", RULES)
    shell.write("a.jsonl", "".join(EVENT % (f"e{n}", "lesson.completed", n) for n in range(3)))
    with shell.running("dev", "rules.ach") as dev:
        read_until(dev, "ach dead list")
        # In this folder and below, commands find the servers without variables.
        (shell.folder / "below").mkdir()
        emitted = shell.ach("emit", "a.jsonl")
        assert emitted.code == 0
        assert "on the servers of `ach dev`" in emitted.err
        read_until(dev, "unlock: acme ann first")
        rules.write_text(RULES.replace(">= 1", ">= 4"), encoding="utf-8")
        said = read_until(dev, "no longer earned: acme ann first")
        assert "all events are judged again" in said
        assert shell.ach("unlocks", "--json").out.strip() == "[]"
        rules.write_text(RULES.replace(">= 1", ">= 2"), encoding="utf-8")
        read_until(dev, "earned: acme ann first at 2026-04-13T09:00:00.000000Z")
        digest = shell.ach("digest").out
        dev.send_signal(signal.SIGKILL)
        dev.wait()
    gone = shell.ach("digest")
    assert gone.code == 1
    assert "ach dev" in gone.err
    with shell.running("dev", "rules.ach") as dev:
        read_until(dev, "ach dead list")
        assert shell.ach("digest").out == digest
        dev.send_signal(signal.SIGINT)
        assert dev.wait() == 0


def said_until(process: subprocess.Popen[str], lines: int) -> list[str]:
    """Return what is printed until so many lines of events have come."""
    assert process.stdout is not None
    found: list[str] = []
    for line in process.stdout:
        if line.startswith(("dead letter", "unlock", "lesson")):
            found.append(line.strip())
        if len(found) == lines:
            return found
    raise AssertionError(found)

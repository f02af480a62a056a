"""Commands that need no server: check, fmt, test, replay."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.acceptance.conftest import ROOT

if TYPE_CHECKING:
    from tests.acceptance.conftest import Shell

RULES = ROOT / "fixtures" / "rules" / "commits.ach"
STREAMS = ROOT / "fixtures" / "streams"

BROKEN = """\
event lesson.completed { lesson_id: string, minutes: int >= 0 }

achievement one {
  when count(event=lesson.complete, >= 1)
}

achievement two {
  when sum(event=lesson.completed, of=lesson_id, >= 10)
}

achievement three {
  when count(event=lesson.completed >= 3)
}
"""

GOOD = """\
event lesson.completed { lesson_id: string }

achievement first {
  title "First"
  when  count(event=lesson.completed, >= 1)
}

example "one lesson" {
  at 2026-04-13T09:00:00Z ann lesson.completed { lesson_id: "l1" }
  expect ann first at 2026-04-13T09:00:00Z
}
"""


def _event(number: int, **other: object) -> bytes:
    said = {
        "event_id": f"e{number}",
        "event_type": "lesson.completed",
        "user_id": "ann",
        "tenant_id": "t",
        "occurred_at": f"2026-04-13T09:00:{number:02d}Z",
        "payload": {"lesson_id": f"l{number}"},
    }
    return json.dumps({**said, **other}).encode()


# -- help and usage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args", [["chekc"], ["check"], ["check", "nowhere.ach"], ["replay", "x.jsonl"], ["replay", "x", "-r", "nowhere"]]
)
def test_wrong_use_exits_with_two(shell: Shell, args: list[str]) -> None:
    ran = shell.ach(*args)
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_misspelt_command_is_suggested(shell: Shell) -> None:
    assert "check" in shell.ach("chekc").err


# -- check ------------------------------------------------------------------------------------------------------------


def test_check_reports_all_errors_in_one_run(shell: Shell) -> None:
    shell.write("rules.ach", BROKEN)
    ran = shell.ach("check", "rules.ach")
    assert ran.code == 1
    assert "did you mean" in ran.out
    assert "lesson.completed" in ran.out
    for place in ("rules.ach:4:", "rules.ach:8:", "rules.ach:12:"):
        assert place in ran.out
    assert "^^^" in ran.out
    assert "\x1b[" not in ran.out


def test_check_as_json(shell: Shell) -> None:
    shell.write("rules.ach", BROKEN)
    problems = json.loads(shell.ach("check", "rules.ach", "--format", "json").out)
    assert {problem["line"] for problem in problems if problem["severity"] == "error"} == {4, 8, 12}
    assert all(problem["code"].startswith("ACH") and problem["message"] for problem in problems)


def test_check_accepts_good_rules(shell: Shell) -> None:
    assert shell.ach("check", RULES).code == 0


def test_text_that_is_not_utf8_is_reported(shell: Shell) -> None:
    (shell.folder / "rules.ach").write_bytes(b"event a {}\n\xff\xfe")
    ran = shell.ach("check", "rules.ach")
    assert ran.code == 1
    assert "rules.ach:2:1" in ran.out
    assert "UTF-8" in ran.out


SHAKY = """\
event a {}
event b {}

achievement first { title "First" when count(event=a, >= 1) }
achievement row   { title "Row" when count(event=a, >= 3, unless=b) after first }

example "one" {
  at 2026-04-13T09:00:00Z ann a {}
  expect ann first
  expect ann not row
}
"""


def test_check_warns_unless_allowed(shell: Shell) -> None:
    shell.write("rules.ach", SHAKY)
    ran = shell.ach("check", "rules.ach")
    assert (ran.code, "warning[ACH505]" in ran.out, "0 errors, 1 warning" in ran.out) == (0, True, True)
    assert shell.ach("check", "rules.ach", "--strict").code == 1
    shell.write("rules.ach", SHAKY.replace("after first }", "after first }  # ach: allow ACH505"))
    ran = shell.ach("check", "rules.ach", "--strict")
    assert (ran.code, ran.out) == (0, "1 file, 2 achievements: no problems\n")


def test_check_shows_its_facts(shell: Shell) -> None:
    shell.write("rules.ach", SHAKY)
    out = shell.ach("check", "rules.ach", "--verbose").out
    assert "first: final\nrow: contestable\n  rules.ach:5:66: a late `b` undoes" in out
    assert "    to make it final: leave out `unless`" in out
    assert "remembered of every user: 2 aggregates" in out
    known = json.loads(shell.ach("check", "rules.ach", "-v", "--format", "json").out)
    assert [(each["name"], each["final"]) for each in known["achievements"]] == [("first", True), ("row", False)]
    (reason,) = known["achievements"][1]["reasons"]
    assert (reason["kind"], reason["place"]["line"], reason["place"]["column"]) == ("unless", 5, 66)
    assert [each["users"] for each in known["aggregates"]] == [["first"], ["row"]]
    assert [problem["code"] for problem in known["problems"]] == ["ACH505"]


def test_check_for_machines(shell: Shell) -> None:
    shell.write("rules.ach", BROKEN)
    ran = shell.ach("check", "rules.ach", "--format", "sarif")
    results = json.loads(ran.out)["runs"][0]["results"]
    assert (ran.code, [result["level"] for result in results]) == (1, ["error"] * 3)
    ran = shell.ach("check", "rules.ach", "--format", "github")
    assert (ran.code, ran.out.count("\n")) == (1, 3)
    assert ran.out.startswith("::error file=rules.ach,line=4,")


def test_check_draws_and_explains(shell: Shell) -> None:
    shell.write("rules.ach", SHAKY)
    assert shell.ach("check", "rules.ach", "--graph", "mermaid").out.startswith("flowchart LR\n")
    assert shell.ach("check", "rules.ach", "--graph").out.startswith("flowchart LR\n")
    assert shell.ach("check", "rules.ach", "--graph", "dot").out.startswith("digraph rules {\n")
    shell.write("bad.ach", BROKEN)
    ran = shell.ach("check", "bad.ach", "--graph", "dot")
    assert (ran.code, "error[ACH201]" in ran.out) == (1, True)
    assert shell.ach("check", "--explain", "ACH410").out.startswith("# ACH410: ")
    ran = shell.ach("check", "--explain", "ACH999")
    assert (ran.code, "did you mean ACH5" in ran.err) == (2, True)


# -- fmt --------------------------------------------------------------------------------------------------------------


def test_fmt_formats_in_place_once(shell: Shell) -> None:
    path = shell.write("rules.ach", "event   a{}\nachievement x{when count(event=a,>=1)}  # why\n")
    assert shell.ach("fmt", "--check", "rules.ach").code == 1
    assert shell.ach("fmt", "--diff", "rules.ach").out.startswith("--- rules.ach")
    assert shell.ach("fmt", "rules.ach").code == 0
    text = path.read_text()
    assert "count(event=a, >= 1)" in text
    assert "# why" in text
    assert shell.ach("fmt", "--check", "rules.ach").code == 0
    assert shell.ach("fmt", "-", stdin=text.encode()).out == text


def test_fmt_leaves_what_it_cannot_read(shell: Shell) -> None:
    path = shell.write("rules.ach", BROKEN)
    ran = shell.ach("fmt", "rules.ach")
    assert ran.code == 1
    assert path.read_text() == BROKEN


# -- test -------------------------------------------------------------------------------------------------------------


def test_examples_pass(shell: Shell) -> None:
    shell.write("rules.ach", GOOD)
    ran = shell.ach("test", "rules.ach")
    assert (ran.code, "1 passed, 0 failed" in ran.out) == (0, True)


def test_a_failing_example_says_what_came_instead(shell: Shell) -> None:
    shell.write("rules.ach", GOOD.replace("expect ann first at 2026-04-13T09:00:00Z", "expect ann not first"))
    ran = shell.ach("test", "rules.ach")
    assert ran.code == 1
    assert "rules.ach:10:" in ran.out
    assert "2026-04-13T09:00:00.000000Z" in ran.out


# -- replay -----------------------------------------------------------------------------------------------------------


def test_replay_prints_one_json_object(shell: Shell) -> None:
    shell.write("rules.ach", GOOD)
    lines = [_event(1), _event(2), _event(1), b"{", _event(3, event_id="e2")]
    ran = shell.ach("replay", "-", "-r", "rules.ach", "--json", stdin=b"\n".join(lines))
    assert ran.code == 0
    result = json.loads(ran.out)
    assert result["unlocks"] == [
        {
            "tenant_id": "t",
            "scope": "user",
            "subject": "ann",
            "achievement": "first",
            "tier": None,
            "occurrence": None,
            "version": 1,
            "earned_at": "2026-04-13T09:00:01.000000Z",
        }
    ]
    assert result["contested"] == []
    assert result["counts"] == {"events": 2, "duplicates": 1, "late": 0, "suppressed": 0, "dead": 2}
    assert len(result["digest"]) == 64


def test_replay_reads_plain_and_compressed_alike(shell: Shell) -> None:
    shell.write("rules.ach", GOOD)
    content = _event(1) + b"\n" + _event(2) + b"\n"
    (shell.folder / "plain.jsonl").write_bytes(content)
    (shell.folder / "small.jsonl.gz").write_bytes(gzip.compress(content))
    (shell.folder / "small.jsonl.zst").write_bytes(zstandard.compress(content))
    outs = {
        shell.ach("replay", name, "-r", "rules.ach", "--json").out
        for name in ("plain.jsonl", "small.jsonl.gz", "small.jsonl.zst")
    }
    assert len(outs) == 1


def test_replay_compares_with_what_is_expected(shell: Shell) -> None:
    good = STREAMS / "lark.expected.json"
    assert shell.ach("replay", STREAMS / "lark.jsonl.gz", "-r", RULES, "--expect", good).code == 0
    expected = json.loads(good.read_text())
    moved = expected["unlocks"].pop()
    expected["unlocks"].append({**moved, "earned_at": "2020-01-01T00:00:00.000000Z"})
    shell.write("expected.json", json.dumps(expected))
    ran = shell.ach("replay", STREAMS / "lark.jsonl.gz", "-r", RULES, "--expect", "expected.json")
    assert ran.code == 1
    assert "1 missing, 1 unexpected" in ran.err
    assert f"- {moved['tenant_id']} {moved['subject']}" in ran.err


def test_an_unreadable_stream_is_reported(shell: Shell) -> None:
    shell.write("rules.ach", GOOD)
    (shell.folder / "cut.jsonl.gz").write_bytes(gzip.compress(_event(1))[:-9])
    for name in ("nowhere.jsonl", "cut.jsonl.gz"):
        ran = shell.ach("replay", name, "-r", "rules.ach")
        assert ran.code == 1
        assert name in ran.err
        assert "Traceback" not in ran.err


def test_rules_with_errors_are_not_replayed(shell: Shell) -> None:
    shell.write("rules.ach", BROKEN)
    ran = shell.ach("replay", STREAMS / "lark.jsonl.gz", "-r", "rules.ach", "--json")
    assert ran.code == 1
    assert "nothing was done" in ran.err

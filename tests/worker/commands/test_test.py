"""`ach test` with its reports: JUnit, coverage, and updated expectations."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from worker.cli import main

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
event lesson.completed { lesson_id: string }
traits from user.updated { plan: string }

achievement three {
  title "Three"
  when  count(event=lesson.completed, distinct=lesson_id, >= 3, within=1h)
  for   plan = "pro"
}
achievement habit { title "Habit" when streak(event=lesson.completed, per=day, >= 2) repeat each }

"""
EXAMPLES = """\
example "too slow" {
  at 2026-04-13T08:00:00Z ann user.updated { plan: "pro" }
  at 2026-04-13T09:00:00Z ann lesson.completed { lesson_id: "l{n}" } times 3 every 30m
  expect   ann three at 2026-04-13T10:00:00Z   # as the author thought
  expect ann habit progress 1/2
}
"""


def _test(folder: Path, text: str, *args: str) -> Result:
    (folder / "rules.ach").write_bytes((RULES + text).encode())
    return CliRunner().invoke(main, ["test", str(folder / "rules.ach"), *args], catch_exceptions=False)


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_reported_with_its_reasons(tmp_path: Path) -> None:
    ran = _test(tmp_path, EXAMPLES)
    assert ran.exit_code == 1
    for text in (
        'rules.ach:14:3: example "too slow"',
        "  14 |   expect   ann three at 2026-04-13T10:00:00Z   # as the author thought",
        "     |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n",
        "= expected: ann has three at 2026-04-13T10:00:00",
        "=      got: it was not earned; progress 2/3",
        "1 more lesson.completed with another lesson_id",
        "window of 1 hour: the closest was 1 hour, at 2026-04-13T10:00:00Z",
        'lesson_id "l2": 2 of 3',
        "1 example: 0 passed, 1 failed",
    ):
        assert text in ran.stdout


def test_a_reason_is_as_of_the_clock_of_the_example(tmp_path: Path) -> None:
    rules = """
achievement soon { title "Soon" when count(event=lesson.completed, >= 9) }
achievement soon version 2 from 2026-05-01T00:00:00Z { title "Soon" when count(event=lesson.completed, >= 1) }
achievement then { title "Then" when count(event=lesson.completed, >= 1) after soon }
example "not before the next event" {
  at 2026-04-13T09:00:00Z ann lesson.completed { lesson_id: "l1" }
  until 2026-05-02T00:00:00Z
  expect ann then
}
"""
    ran = _test(tmp_path, rules)
    assert "ann has not earned then yet, as of 2026-05-02T00:00:00Z" in ran.stdout
    assert "nothing but the next event that it hears: lesson.completed" in ran.stdout


def test_the_same_question_is_answered_once(tmp_path: Path) -> None:
    ran = _test(tmp_path, EXAMPLES.replace("expect ann habit progress 1/2", "expect ann three"))
    assert ran.stdout.count("has not earned three") == 1
    assert "explained above" in ran.stdout


def test_a_grant_that_still_waits_is_distinguished_from_none(tmp_path: Path) -> None:
    text = """\
achievement slow { title "Slow" when count(event=lesson.completed, >= 1) settle 1h }
example "nothing happens for an hour" {
  at 2026-04-13T09:00:00Z ann lesson.completed { lesson_id: "a" }
  expect ann slow
}
"""
    ran = _test(tmp_path, text)
    assert "=      got: it is earned but waits for its `settle`: add a later event" in ran.stdout
    assert "announced from 2026-04-13T10:00:00Z on" in ran.stdout


def test_no_such_user(tmp_path: Path) -> None:
    text = 'example "x" {\n  at 2026-04-13T09:00:00Z ann lesson.completed { lesson_id: "a" }\n  expect bob habit\n}\n'
    assert "these rules hear no event of user bob" in _test(tmp_path, text).stdout


# -- JUnit ------------------------------------------------------------------------------------------------------------


def test_junit(tmp_path: Path) -> None:
    text = (
        EXAMPLES + 'example "a \\u0001 & <b>" {\n  at 2026-04-13T09:00:00Z u lesson.completed { lesson_id: "a" }\n}\n'
    )
    _test(tmp_path, text, "--junit", str(tmp_path / "report.xml"))
    root = ET.parse(tmp_path / "report.xml").getroot()  # noqa: S314 - our own
    assert root.tag == "testsuites"
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    suite = root[0]
    assert (suite.get("name") or "").endswith("rules.ach")
    first, second = suite.findall("testcase")
    failure = first.find("failure")
    assert failure is not None
    assert "it was not earned" in (failure.get("message") or "")
    assert "window of 1 hour" in (failure.text or "")
    assert (first.get("name"), first.get("line")) == ("too slow", "11")
    assert second.get("name") == "a \ufffd & <b>"
    assert second.find("failure") is None


# -- coverage ---------------------------------------------------------------------------------------------------------


def test_coverage_names_what_no_example_decides(tmp_path: Path) -> None:
    ran = _test(tmp_path, EXAMPLES, "--coverage")
    for text in (
        "three: 3 different lesson_id of lesson.completed, all within 1 hour: no example earns it",
        "rules.ach:6:72: three: all within 1 hour: no example completes it in time",
        'rules.ach:7:9: three: plan is "pro": no user of an example is rejected',
        "habit: 2 days in a row with lesson.completed each: no example earns it",
        "coverage: 50.0%",
    ):
        assert text in ran.stdout
    assert "completes it too slowly" not in ran.stdout


GOOD = """\
example "everything" {
  at 2026-04-13T08:00:00Z ann user.updated { plan: "pro" }
  at 2026-04-13T09:00:00Z ann lesson.completed { lesson_id: "l{n}" } times 3 every 10m
  at 2026-04-14T09:00:00Z ann lesson.completed { lesson_id: "x" }
  at 2026-04-13T09:00:00Z bob lesson.completed { lesson_id: "l{n}" } times 3 every 30m
  expect ann three at 2026-04-13T09:20:00Z
  expect ann habit occurrence "1"
  expect bob not habit
}
"""


def test_full_coverage(tmp_path: Path) -> None:
    ran = _test(tmp_path, GOOD, "--coverage", "--fail-under", "100")
    assert "coverage: 100.0%, 100% wanted" in ran.stdout
    assert ran.exit_code == 0


def test_too_little_coverage_fails(tmp_path: Path) -> None:
    text = EXAMPLES.replace("expect   ann three at 2026-04-13T10:00:00Z", "expect ann not three")
    assert _test(tmp_path, text).exit_code == 0
    ran = _test(tmp_path, text, "--fail-under", "60")
    assert ran.exit_code == 1
    assert "coverage: 50.0%, 60% wanted" in ran.stdout


DECISIONS = [
    ('when count(event=e where n > 1 or s = "x", >= 1)', "n is more than 1: no event of an example passes"),
    ("when all(count(event=e, >= 1), count(event=f, >= 1))", "1 f: it holds in no example"),
    ("when count(event=e, >= 2, unless=f)", "unless f: it holds in no example and no example resets it"),
    (
        "when count(event=e, >= 2, per=day)",
        "all in one day: no example completes it in one unit and no example",
    ),
    ("when count(event=e, >= 1) after other", "other: no example has it"),
    ("when count(event=e, >= 1) active 2026-05-01T00:00:00Z ..", "from 2026-05-01T00:00:00Z: no event lies inside"),
    ("tier a { when count(event=e, >= 1) } tier b { when count(event=e, >= 2) }", "tier b: 2 e: no example earns it"),
]


@pytest.mark.parametrize(("body", "left"), DECISIONS)
def test_what_can_be_left(tmp_path: Path, body: str, left: str) -> None:
    text = "event e { n: int?, s: string? }\nevent f {}\n"
    text += 'achievement other { title "O" when count(event=f, >= 1) }\n'
    text += f'achievement x {{ title "X" {body} }}\n'
    text += 'example "one" { at 2026-04-13T09:00:00Z u e { n: 1, s: "y" } expect u other progress 0/1 }\n'
    assert left in _test(tmp_path, text, "--coverage").stdout


# -- update -----------------------------------------------------------------------------------------------------------


def _after(folder: Path) -> str:
    return (folder / "rules.ach").read_bytes().decode().removeprefix(RULES)


def test_update_keeps_layout_and_comments(tmp_path: Path) -> None:
    ran = _test(tmp_path, EXAMPLES, "--update")
    assert ran.exit_code == 0
    assert "1 example: 1 passed" in ran.stdout
    assert _after(tmp_path) == EXAMPLES.replace(
        "expect   ann three at 2026-04-13T10:00:00Z", "expect ann three progress 2/3"
    )


def test_update_completes_examples_that_expect_nothing(tmp_path: Path) -> None:
    lines = ('at 2026-04-13T09:00:00Z "A B" lesson.completed { lesson_id: "l" } times 2 every 1d', "# end")
    text = 'example "x" {\n' + "".join(f"\t{line}\n" for line in lines) + "}\n"
    assert _test(tmp_path, text, "--update").exit_code == 0
    assert _after(tmp_path) == text.replace(
        "\t# end\n", '\t# end\n\texpect "A B" habit occurrence "1" at 2026-04-14T09:00:00Z\n'
    )


UPDATES = [
    ("expect ann not habit", 'expect ann habit occurrence "1" at 2026-04-14T09:00:00.5Z'),
    ('expect ann habit occurrence "7"', 'expect ann habit occurrence "1" at 2026-04-14T09:00:00.5Z'),
    ("expect ann three", "expect ann three progress 2/3"),
    ("expect bob three", "expect bob not three"),
    ("expect bob three progress 2/3", "expect bob three progress 0/3"),
    ("expect ann habit progress 2/2", "expect ann habit progress 0/2"),
]


@pytest.mark.parametrize(("line", "instead"), UPDATES)
def test_update_writes_what_came_out(tmp_path: Path, line: str, instead: str) -> None:
    text = f"""\
example "x" {{
  at 2026-04-14T08:30:00.5Z ann lesson.completed {{ lesson_id: "a" }}
  at 2026-04-13T09:00:00.5Z ann lesson.completed {{ lesson_id: "b" }}
  at 2026-04-14T09:00:00.5Z ann lesson.completed {{ lesson_id: "c" }}
  {line}  # kept
}}
"""
    text = text.replace("2026-04-14T08:30:00.5Z", "2026-04-14T09:00:00.5Z")
    assert _test(tmp_path, text, "--update").exit_code == 0
    assert f"  {instead}  # kept\n" in _after(tmp_path)


def test_update_keeps_the_ends_of_lines_and_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "rules.ach"
    path.write_bytes(b"\xef\xbb\xbf" + (RULES + EXAMPLES).replace("\n", "\r\n").encode())
    assert CliRunner().invoke(main, ["test", str(path), "--update"]).exit_code == 0
    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert b"progress 2/3" in after
    assert after.count(b"\n") == after.count(b"\r\n") == (RULES + EXAMPLES).count("\n")


def test_update_leaves_events_that_break_their_contract(tmp_path: Path) -> None:
    text = 'example "x" {\n  at 2026-04-13T09:00:00Z ann lesson.completed {}\n  expect ann habit\n}\n'
    assert _test(tmp_path, text, "--update").exit_code == 1
    assert _after(tmp_path) == text


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    _test(tmp_path, EXAMPLES)
    assert _after(tmp_path) == EXAMPLES

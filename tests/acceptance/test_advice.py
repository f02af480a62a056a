"""Warnings are rare: on careful rules, the checker reports only what is worth a look."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from dsl.advice import examine
from dsl.codes import ADVICE
from dsl.diagnostics import Diagnostic, render
from worker.rulefiles import load

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
WORTH_A_THOUGHT: Final = {"ACH501", "ACH505", "ACH506", "ACH509", "ACH510"}
"""What the rules of the test streams leave as it is on purpose: they want neither examples nor patience, and a month
with days of rest is there to be earned without a week."""


def advice(path: Path) -> list[Diagnostic]:
    rules = load([path])
    return examine(rules.files, rules.rules, rules.problems)


UNUSED_AND_CONTESTABLE: Final = """\
event commit.created {}
event commit.reverted {}
event commit.got_reverted {}

achievement clean_run {
  title "Nothing to take back"
  when  count(event=commit.created, >= 20, unless=commit.got_reverted)
}

example "one commit is no run" {
  at 2026-04-13T09:00:00Z ann commit.created {}
  expect ann not clean_run
}
"""


def test_the_rules_of_the_demo() -> None:
    assert [render(problem) for problem in advice(FIXTURES / "rules" / "commits.ach")] == []


def test_an_unused_event_and_a_grant_that_a_late_event_takes_back(tmp_path: Path) -> None:
    path = tmp_path / "rules.ach"
    path.write_text(UNUSED_AND_CONTESTABLE, encoding="utf-8")
    said = [(each.code, UNUSED_AND_CONTESTABLE[slice(*each.span)]) for each in advice(path)]
    assert said == [("ACH501", "commit.reverted"), ("ACH505", "commit.got_reverted")]


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("streams/*/rules.ach")), ids=lambda path: path.parent.name)
def test_the_rules_of_the_streams(path: Path) -> None:
    problems = advice(path)
    assert [render(each) for each in problems if each.code not in WORTH_A_THOUGHT] == []
    # A handful, however many achievements there are.
    assert sum(problem.code == "ACH510" for problem in problems) <= 3
    assert {problem.code for problem in problems} <= set(ADVICE)

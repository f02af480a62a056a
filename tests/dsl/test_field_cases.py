"""Situations from products in use, each with the rule that is meant and what it must earn: tests/dsl/field_cases.

What reads like the rule and means something else stands beside it, and draws a warning.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from dsl.advice import examine
from dsl.calendar import format_instant
from dsl.event import Event
from dsl.outcome import run
from dsl.payload import Fault, Reader, instant
from dsl.ruleset import RuleSet, build

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES: Final = sorted(path for path in (Path(__file__).parent / "field_cases").iterdir() if path.is_dir())
TRAPS: Final = {"weekdays_only": "ACH521", "penalty": "ACH520"}


def ruleset(path: Path) -> RuleSet:
    return build([(path.name, path.read_bytes())])


def events(case: Path, rules: RuleSet) -> Iterator[Event]:
    for line in (case / "events.jsonl").read_text(encoding="utf-8").splitlines():
        given = json.loads(line)
        schema = rules.rules.events.get(given["event_type"])
        fields = {} if schema is None else Reader(schema).strict(json.dumps(given["payload"]))
        assert not isinstance(fields, Fault), line
        moment = instant(given["occurred_at"])
        assert moment is not None
        yield Event(given["tenant_id"], given["event_id"], given["event_type"], given["user_id"], *moment, fields)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_situation_earns_what_it_should(case: Path) -> None:
    rules = ruleset(case / "rules.ach")
    assert rules.program is not None, rules.problems
    found = run(rules.program, list(events(case, rules))).unlocks
    expected = json.loads((case / "expected.json").read_text(encoding="utf-8"))
    wanted = sorted(
        (each["subject"], each["achievement"], each["tier"] or "", format_instant(_at(each["earned_at"])))
        for each in expected
    )
    assert sorted((one.subject, one.achievement, one.tier or "", one.earned_at) for one in found) == wanted


def _at(text: str) -> int:
    moment = instant(text)
    assert moment is not None
    return moment[0]


@pytest.mark.parametrize("name", TRAPS)
def test_what_reads_like_it_draws_a_warning(name: str) -> None:
    rules = ruleset(Path(__file__).parent / "field_cases" / name / "trap.ach")
    assert TRAPS[name] in {problem.code for problem in examine(rules.files, rules.rules, rules.problems)}

"""Explanations: golden texts of examples, the stable shape, and wrong questions.

`ACH_GOLDEN=write` writes the output instead of comparing it; review the difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from dsl.compile import scope_of
from dsl.explain import Asked, Explanation, MeantError, explain
from dsl.explain.text import render
from dsl.outcome import Subject, by_subject
from dsl.story import TENANT
from dsl.story.given import GivenEvents
from dsl.syntax import Example, Expect
from worker.rulefiles import load

if TYPE_CHECKING:
    from dsl.ruleset import RuleSet

HERE = Path(__file__).parent / "explained"


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    found = load([HERE / "stories.ach"])
    assert not found.errors
    return found


def _explained(rules: RuleSet, title: str, line: Expect | None = None, **asked: object) -> list[Explanation]:
    """Explain every `expect` line of an example, or one with something asked otherwise."""
    assert rules.program is not None
    file = rules.files[0]
    example = next(each for each in rules.rules.examples if each.title == title)
    events = list(GivenEvents(rules.rules, file.source, example).events())
    now = max(event.at for event in events)
    found: list[Explanation] = []
    for each in example.lines if line is None else [line]:
        if isinstance(each, Expect):
            name = each.target.achievement.text
            scope = scope_of(rules.rules.achievements[name][0])
            heard = by_subject(rules.program, events).get(Subject(TENANT, scope, each.user), [])
            question = Asked(TENANT, each.user, name, None, each.occurrence, now)._replace(**asked)
            found.append(explain(rules.rules, question, heard))
    return found


def test_stories_are_explained_as_before(rules: RuleSet) -> None:
    texts: list[str] = []
    for example in rules.rules.examples:
        texts.append(f"=== {example.title} ===\n")
        texts.extend(
            "\n".join(line.rstrip() for line in render(explanation)) + "\n"
            for explanation in _explained(rules, example.title)
        )
    golden, text = HERE / "stories.txt", "\n".join(texts)
    if os.environ.get("ACH_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text("utf-8")


def _line(rules: RuleSet, title: str, achievement: str) -> Expect:
    example: Example = next(each for each in rules.rules.examples if each.title == title)
    return next(
        each for each in example.lines if isinstance(each, Expect) and each.target.achievement.text == achievement
    )


def _counted(text: str, fraction: str, current: int) -> dict[str, object]:
    progress = {"fraction": fraction, "current": current, "target": 100}
    return {"part": "when", "effect": "counts", "text": text, "progress": progress}


def test_the_shape_in_json(rules: RuleSet) -> None:
    explanation = _explained(rules, "money", _line(rules, "money", "spender"))[0]
    assert msgspec.json.decode(msgspec.json.Encoder(decimal_format="number").encode(explanation)) == {
        "tenant_id": "example",
        "scope": "user",
        "subject": "ann",
        "achievement": "spender",
        "tier": None,
        "occurrence": None,
        "version": 1,
        "now": "2026-04-13T10:00:00.000000Z",
        "outcome": "not yet",
        "earned_at": None,
        "earned_by": None,
        "at_begin": False,
        "settles_at": None,
        "when": {
            "path": "when",
            "text": "amount of purchase.placed adding up to more than 100",
            "holds": False,
            "since": None,
            "span_seconds": None,
            "held_at": None,
            "progress": {"fraction": f"{10**40}/{10**40 + 1}", "current": 100, "target": 100},
            "missing": ["any more in amount of purchase.placed"],
            "parts": [],
        },
        "requirements": [],
        "missing": ["any more in amount of purchase.placed"],
        "events": [
            {
                "occurred_at": "2026-04-13T09:00:00.000000Z",
                "event_id": "e000001",
                "event_type": "purchase.placed",
                "user_id": "ann",
                "did": [_counted("amount 60: 60 of 100", "3/5", 60)],
            },
            {
                "occurred_at": "2026-04-13T10:00:00.000000Z",
                "event_id": "e000002",
                "event_type": "purchase.placed",
                "user_id": "ann",
                "did": [_counted("amount 40: 100 of more than 100", f"{10**40}/{10**40 + 1}", 100)],
            },
        ],
        "had": [],
        "ties": [],
    }


def test_an_earlier_moment(rules: RuleSet) -> None:
    line = _line(rules, "answers", "roll")
    # 2026-04-13T10:00:00Z, before the wrong answer
    explanation = _explained(rules, "answers", line, now=1_776_074_400_000_000)[
        0
    ]  # 2026-04-13T10:00:00Z, before the wrong one
    assert explanation.missing == ["1 more answer.right"]


@pytest.mark.parametrize(
    ("achievement", "asked", "message"),
    [
        ("roll", {"occurrence": "1"}, "roll does not repeat"),
        ("pairs", {"occurrence": "7"}, "the next one is 3"),
        ("weekly", {"occurrence": "2026-W54"}, "is no week up to now"),
        ("weekly", {"occurrence": "2027-W01"}, "is no week up to now"),
        ("weekly", {"tier": "gold"}, "there is no achievement weekly.gold"),
    ],
)
def test_what_is_not_there(rules: RuleSet, achievement: str, asked: dict[str, object], message: str) -> None:
    with pytest.raises(MeantError, match=message):
        _explained(rules, "answers", _line(rules, "answers", achievement), **asked)


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month", "year"])
def test_an_occurrence_of_every_unit(unit: str, tmp_path: Path) -> None:
    text = f'event a {{}}\nachievement x {{ title "X" when count(event=a, >= 2) repeat every {unit} }}\n'
    text += 'example "e" { at 2026-04-13T09:00:00Z u a {} times 2 every 1m at 2026-04-13T09:02:00Z u a {} }\n'
    (tmp_path / "x.ach").write_text(text)
    found = load([tmp_path / "x.ach"])
    events = list(GivenEvents(found.rules, found.files[0].source, found.rules.examples[0]).events())
    current = explain(found.rules, Asked(TENANT, "u", "x", None, None, events[-1].at), events)
    assert current.outcome == "earned"
    again = explain(found.rules, Asked(TENANT, "u", "x", None, current.occurrence, events[-1].at), events)
    assert again == current

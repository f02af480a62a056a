from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from dsl import words
from dsl.parse import parse
from dsl.source import Source
from dsl.syntax import Achievement, Condition
from tests.reference import strategies


def _version(body: str) -> Achievement:
    file, problems = parse(Source("words.ach", f'achievement x {{ title "X"\n{body}\n}}\n'))
    assert not problems
    found = file.declarations[0]
    assert isinstance(found, Achievement)
    return found


def _condition(text: str) -> Condition:
    when = _version(f"when {text}").when
    assert when is not None
    return when


PHRASES = [
    ("count(event=a, >= 1)", "1 a"),
    ("count(event=a.b, > 9)", "10 a.b"),
    (
        "count(event=lesson.completed, distinct=lesson_id, >= 10, within=7d, unless=answer.wrong)",
        "10 different lesson_id of lesson.completed, all within 7 days, with no answer.wrong in between",
    ),
    ("count(event=[a, b, c.d], >= 2)", "2 a, b or c.d"),
    ('count(event=[a where n > 1, b] where s = "x", >= 2)', '2 (a where n is more than 1 or b) where s is "x"'),
    ("sum(event=p, of=amount, >= 100)", "amount of p adding up to 100 or more"),
    ("sum(event=p, of=amount, > 0.50)", "amount of p adding up to more than 0.5"),
    ("max(event=p, of=amount, >= 1_000)", "1 p with amount of 1000 or more"),
    ("min(event=p, of=amount, < 3)", "1 p with amount of less than 3"),
    ("streak(event=a, per=day, >= 7)", "7 days in a row with a each"),
    (
        "streak(event=a, per=week, >= 2, min=3, grace=1, tz=user)",
        "2 weeks in a row with 3 a each, with up to 1 week off in between, in the user's time zone",
    ),
    ("streak(event=a, per=hour, >= 1, tz=event)", "1 hour in a row with a each, by the clock where it happened"),
    ("sequence([a, b, c])", "a, then b, then c"),
    ("sequence([a, b], by=id, within=90s)", "a, then b, all with the same id, all within 90 seconds"),
    (
        "all(sequence([a, b]), count(event=c, >= 1), within=7d)",
        "(a, then b) and 1 c, all within 7 days",
    ),
    ("any(count(event=a, >= 1), all(count(event=b, >= 1), unlocked(y.gold)))", "1 a or (1 b and y.gold unlocked)"),
    (
        "at_least(2, count(event=a, >= 1), count(event=b, >= 1, within=1h), unlocked(y))",
        "2 of 3: 1 a; (1 b, all within 1 hour); y unlocked",
    ),
    ('count(event=a, >= 3, per=month, tz="Europe/Berlin")', "3 a, all in one month, in Europe/Berlin time"),
]


@pytest.mark.parametrize(("text", "phrase"), PHRASES)
def test_conditions(text: str, phrase: str) -> None:
    assert words.condition(_condition(text)) == phrase


FILTERS = [
    ('plan in ["pro", "team"] and region = "eu"', 'plan is "pro" or "team" and region is "eu"'),
    ("n not in [1]", "n is none of 1"),
    ("n != 1 and (n < 3 or n >= 9)", "n is not 1 and (n is less than 3 or n is at least 9)"),
    ("a and b or c", "(a is true and b is true) or c is true"),
    ("not f", "f is not true"),
    ("not (n <= 2)", "not (n is at most 2)"),
    ("s is present and t is not present", "s is given and t is missing"),
    ("t >= 2026-05-01T00:00:00Z", "t is not before 2026-05-01T00:00:00Z"),
    ("f = false", "f is false"),
    ("at.hour < 5", "it is before 05:00"),
    ("at.hour >= 12", "it is not before 12:00"),
    ("at.hour > 12", "the hour is more than 12"),
    ("at.hour in [0, 23]", "the hour is 00:00 or 23:00"),
    ('at.weekday = "mon"', "it is Monday"),
    ('at.weekday not in ["sat", "sun"]', "it is none of Saturday or Sunday"),
    ('at.date >= "2026-04-13"', "it is not before 2026-04-13"),
]


@pytest.mark.parametrize(("text", "phrase"), FILTERS)
def test_filters(text: str, phrase: str) -> None:
    assert words.condition(_condition(f"count(event=e where {text}, >= 1)")) == f"1 e where {phrase}"


def test_an_outline_has_the_parts_below_the_composition() -> None:
    tree = _condition("all(count(event=a, >= 1), any(count(event=b, >= 1), count(event=c, >= 1)), within=1d)")
    assert words.outline(tree) == words.Phrase(
        "all of these, all within 1 day",
        (words.Phrase("1 a"), words.Phrase("any of these", (words.Phrase("1 b"), words.Phrase("1 c")))),
    )


def test_clauses() -> None:
    version = _version(
        'when count(event=a, >= 1) for plan = "pro" after x, y.gold active 2026-01-01T00:00:00Z .. '
        "repeat every week tz=user scope team settle 2h reveal at 30%"
    )
    assert words.clauses(version) == [
        'for users whose plan is "pro"',
        "after x and y.gold",
        "from 2026-01-01T00:00:00Z",
        "once every week, in the user's time zone",
        "for each team together",
        "announced 2 hours later, if it still holds",
    ]
    assert words.reveal(version.reveal) == "hidden until 30% of the way"


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "no time"),
        (1, "less than a second"),
        (1_000_000, "1 second"),
        (90_000_000, "1 minute 30 seconds"),
        (604_800_000_000, "7 days"),
        (614_800_000_000, "7 days 2 hours"),
        (86_400_000_000 + 60_000_000, "1 day"),
    ],
)
def test_lengths(us: int, text: str) -> None:
    assert words.length(us) == text


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(strategies.rule_files(strategies.ANCHORS[0]))
def test_every_condition_has_words(text: str) -> None:
    file, _ = parse(Source("drawn.ach", text))
    for declaration in file.declarations:
        if isinstance(declaration, Achievement):
            conditions = [declaration.when, *(tier.when for tier in declaration.tiers)]
            for tree in conditions:
                assert tree is None or words.condition(tree)
            assert all(words.clauses(declaration))

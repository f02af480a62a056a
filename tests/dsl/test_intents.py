"""What authors write at first, and what the hint says to write instead: each suggestion is pasted back, and checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.check import check
from dsl.diagnostics import Diagnostic, Severity, render
from dsl.lookup.fixes import fixes
from dsl.parse import parse
from dsl.parse.intents import clause_hint
from dsl.source import Source

EVENTS: Final = """\
event post.liked { post_id: string, amount: int >= 0, total: int >= 0 }
event run.finished { sport: string, km: decimal >= 0, route_id: string, gift: bool }
event lesson.completed { lesson_id: string, mistakes: int >= 0 }
event quiz.failed {}
event quiz.passed {}
event league.placed { rank: int >= 1 }
event a {}
event b {}
event c {}
event x {}
"""
TABLE: Final = Path(__file__).parent / "intents.txt"


class Row(NamedTuple):
    """What is written, a word of the hint, and what is suggested: a whole condition, or "" where that is for people."""

    written: str
    why: str
    instead: str


def rows() -> list[Row]:
    found: list[Row] = []
    for block in TABLE.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            written, why, *instead = lines
            found.append(Row(written, why.removeprefix("  "), "".join(instead).strip().removeprefix("-> ")))
    return found


def text_of(condition: str) -> str:
    if condition.startswith("event "):
        return f"{condition}\n"
    clause = condition if condition.startswith("when ") else f"when {condition}"
    return f'{EVENTS}achievement one {{\n  title "One"\n  {clause}\n}}\n'


def errors(text: str) -> list[Diagnostic]:
    file, syntax = parse(Source("rules.ach", text))
    found = [*syntax, *check([file])[1]]
    return [each for each in found if each.severity is Severity.ERROR]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.written)
def test_a_hint_says_what_to_write_and_that_checks(row: Row) -> None:
    text = text_of(row.written)
    found = errors(text)
    hints = "\n".join(map(render, found))
    assert any(row.why in (each.hint or "") for each in found), hints
    suggested = next((each.instead for each in found if each.instead is not None), None)
    if not row.instead:
        assert suggested is None, hints
        return
    assert suggested is not None, hints
    pasted = text[: suggested.span.start] + suggested.text + text[suggested.span.end :]
    assert row.instead in (suggested.text, pasted.partition("  when ")[2].partition("\n}")[0])
    assert [render(each) for each in errors(pasted)] == []
    # An editor offers the same, and the hint shows it.
    first = next(each for each in found if each.instead is not None)
    assert suggested.text in (first.hint or "")
    assert fixes(first)[0].edits[0].text == suggested.text


def test_what_a_hint_shows_for_people_checks_too() -> None:
    for row in rows():
        for problem in errors(text_of(row.written)):
            for shown in re.findall(r"(?:write|of what must): ((?:count|max)\(.*\))$", problem.hint or ""):
                if "course.closed" not in shown:
                    assert [render(each) for each in errors(text_of(shown))] == []


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("when count(event=a, >= 3) repeat each »post_id", "repeat by post_id"),
        ("when count(event=a, >= 3) repeat »per post_id", "repeat by post_id"),
        ("when count(event=a, >= 3) repeat »for each post_id", "repeat by post_id"),
        ("when count(event=a, >= 3) repeat each »day", None),
        ("when count(event=a, >= 3) repeat »daily", None),
        ("count(event=a where climb»/km > 20, >= 1)", "climb > 20 * km"),
        ("count(event=a where hits » / 2 >= 10, >= 1)", "hits >= 10 * 2"),
        ("count(event=a where hits » / 20%, >= 1)", None),
    ],
)
def test_clauses_are_answered_in_the_words_of_the_grammar(written: str, hint: str | None) -> None:
    at = written.index("»")
    text = written.replace("»", "")
    found = clause_hint(text, at + (text[at] == " "), ("by", "*"))
    assert (None if found is None else found.text) == hint
    assert clause_hint(text, at, ()) is None


CALLS: Final = st.lists(
    st.sampled_from(
        "count( sum( streak( sequence( all( any( not event= a b where within 7d , , , ) ) ) [ ] >= <= = 3 0 "  # noqa: SIM905
        'x y unless= per= day week "s" km sport= times then -> once per of= in= last= starts=sunday 7 days min='.split()
    ),
    max_size=30,
).map(" ".join)


@given(CALLS)
def test_a_suggestion_is_never_what_was_written(written: str) -> None:
    text = text_of(f"count({written}")
    for problem in errors(text):
        if problem.instead is not None:
            span = problem.instead.span
            assert text[span.start : span.end] != problem.instead.text
            assert 0 <= span.start <= span.end <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "count(event=a, " + " " * 200_000 + "within 7d >= 3)",
        "sequence([" + "not b, " * 20_000 + "c])",
        "sequence([" + "sequence([a, " * 60 + "b",
        "count(event=a, sport=" + '"' + "x" * 100_000 + '")',
        "all(" * 60 + "not count(event=a, >= 1)" + ")" * 60,
        "count(event=a, " + "once per a within " * 5_000 + ")",
        "count(event=a) where x" + " " * 200_000 + "y",
        "count(event=a) " + "and count(event=a) " * 10_000,
        "count(event=a, " + "a " * 450 + "= = )",
    ],
)
def test_long_calls_are_reported_like_others(text: str) -> None:
    assert errors(text_of(text))

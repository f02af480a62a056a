"""Every code has a page, and what a page shows is so: its bad example brings the code on, its good one does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from dsl.advice import examine
from dsl.check import check
from dsl.codes import CODES
from dsl.diagnostics import Severity, render
from dsl.parse import parse
from dsl.ruleset import build
from dsl.source import Source
from worker.commands.apply import meanings_changed
from worker.engine.meaning import Changed, meaning_of
from worker.report.pages import NoPageError, explained, page

if TYPE_CHECKING:
    from dsl.diagnostics import Diagnostic

PAGES: Final = Path(__file__).parents[2] / "docs" / "diagnostics"
_FENCE: Final = re.compile(r"^```ach(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
TODAY: Final = "2026-01-01"
"""For advice on dates that have passed."""
BESIDE: Final = frozenset({"ACH501", "ACH505", "ACH510"})
"""What short examples may bring on without being about it."""
SHOWN_ELSEWHERE: Final = {
    "ACH121": "takes too many errors for a page",
    "ACH422": "takes a rule set in force",
    "ACH423": "takes a reward that is too large for a page",
    "ACH446": "takes a list that is too large for a page",
}


def problems(text: str) -> list[Diagnostic]:
    file, syntax = parse(Source("rules.ach", text))
    rules, found = check([file])
    return examine([file], rules, [*syntax, *found], TODAY)


def shown(code: str) -> list[tuple[list[str], str]]:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    return [(found["kind"].split(), found["text"]) for found in _FENCE.finditer(text)]


@pytest.mark.parametrize("code", sorted(CODES.keys() - SHOWN_ELSEWHERE.keys()))
def test_a_page_has_a_bad_and_a_good_example(code: str) -> None:
    blocks = shown(code)
    assert blocks
    for (kind, bad), (none, good) in zip(blocks[::2], blocks[1::2], strict=True):
        assert (kind, none) == (["bad", code], [])
        found = problems(bad)
        assert [each.code for each in found if each.code == code or each.code not in BESIDE] == [code], "\n".join(
            render(each) for each in found
        )
        found = problems(good)
        assert [render(each) for each in found if each.code == code or each.severity is Severity.ERROR] == []


def test_changed_meaning_is_shown_where_it_stands() -> None:
    in_force, refused, instead = (build([("rules.ach", text.encode())]) for _, text in shown("ACH422"))
    old, new, both = (rules.rules.achievements["ten"] for rules in (in_force, refused, instead))
    assert meaning_of(old[0]) != meaning_of(new[0])
    assert meaning_of(old[0]) == meaning_of(both[0])
    (problem,) = meanings_changed(refused, [Changed("ten", 1, (), own=True)])
    assert (problem.code, problem.source.position(problem.span.start)) == ("ACH422", (3, 13))
    assert "version 2" in render(problem)
    assert not in_force.problems
    assert not instead.problems


def test_every_code_has_a_page_and_a_line_of_the_index() -> None:
    assert {path.stem for path in PAGES.glob("ACH*.md")} == set(CODES)
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(ACH\d{3})\]\((ACH\d{3})\.md\) \| (.+) \|$", index, re.MULTILINE)
    assert [(one, title) for one, _, title in rows] == list(CODES.items())
    assert all(one == two for one, two, _ in rows)
    for code, title in CODES.items():
        assert (page(code) or "").startswith(f"# {code}: {title}\n")


def test_a_code_is_explained_however_it_is_written() -> None:
    assert explained("ach410") == page("ACH410")
    with pytest.raises(NoPageError, match="did you mean ACH410"):
        explained("ACH4100")

"""The cookbook keeps what it says of itself; that its blocks run is for test_language_reference.py to show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from dsl.advice import examine
from dsl.analyze import verdicts
from dsl.diagnostics import render
from dsl.ruleset import build

PAGE: Final = Path(__file__).parents[2] / "docs" / "cookbook.md"
LEAST_RECIPES: Final = 45
_RECIPE: Final = re.compile(
    r"^### (?P<title>[^\n]+)\n\n\*\*Wanted:\*\*.*?"
    r"^```ach\n(?P<rules>.*?)^```\n\n"
    r"\*\*Why so:\*\*(?P<why>.*?)\*\*Variation:\*\*",
    re.MULTILINE | re.DOTALL,
)


class Recipe(NamedTuple):
    """One achievement: the rules, and why they are as they are."""

    title: str
    rules: str
    why: str


RECIPES: Final = [Recipe(**found.groupdict()) for found in _RECIPE.finditer(PAGE.read_text(encoding="utf-8"))]


def test_every_recipe_has_all_its_parts() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [each.title for each in RECIPES] == re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert text.count("```ach") == len(RECIPES) >= LEAST_RECIPES


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_says_whether_it_is_final_and_follows_all_advice(recipe: Recipe) -> None:
    rules = build([("recipe.ach", recipe.rules.encode())])
    said = [render(each) for each in examine(rules.files, rules.rules, rules.problems)]
    assert [each for each in said if "[ACH509]" not in each] == []
    final = all(verdict.final for verdict in verdicts(rules.rules).values())
    assert re.search(r"\b[Ff]inal\b" if final else r"\b[Cc]ontestable\b", recipe.why)
    assert ("Contestable" if final else "Final") not in recipe.why
    assert final or "settle" in recipe.rules

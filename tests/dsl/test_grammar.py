"""The grammar has no conflicts and no colliding terminals, and every keyword is a name."""

from __future__ import annotations

import re

import pytest
from lark import Lark

from dsl.diagnostics import render
from dsl.parse import grammar, parse
from dsl.source import Source


def test_strict() -> None:
    assert Lark(grammar(), parser="lalr", lexer="basic", strict=True)


def keywords() -> list[str]:
    words = set(re.findall(r'"([a-z]+)"', grammar()))
    return sorted(words - {"not"})


EVERYWHERE = """
event W {{ W: W }}
event W.W {{ W: int >= 1 once per W, W within 1d }}
traits from W {{ W: bool W: string }}
achievement W version 1 {{
  title {{ W: "x" }}
  when all(count(event=W where W, distinct=W, >= 1), sequence([W, W.W], by=W), unlocked(W), unlocked(W.W),
    count(event=W where W = 1 and not W or W in [1] and W is present, >= 1, unless=W))
  for W or W = true and not W
  after W, W.W
  reveal after W
  reward {{ W: 1, x: {{ W: W_ }} }}
  repeat every W
  scope W
  family W
  tier W {{ when count(event=W, >= 1) reveal after W.W }}
}}
example "x" {{
  at 2026-01-01T00:00:00Z W W {{ W: 1 }}
  at 2026-01-01T00:00:00Z W W {{}} times 2 every 1d tenant "W" id "W"
  expect W W at 2026-01-01T00:00:00Z
  expect W W
  expect W W occurrence "W"
  expect W not W
  expect W W.W progress 1/2
}}
"""


@pytest.mark.parametrize("word", keywords())
def test_every_keyword_is_a_name(word: str) -> None:
    text = re.sub(r"\bW\b", word, EVERYWHERE.replace("{{", "{").replace("}}", "}").replace("W_", '"W"'))
    file, problems = parse(Source("x.ach", text))
    assert [render(problem) for problem in problems] == []
    assert len(file.declarations) == 5


def test_not_is_not_a_name() -> None:
    for text in ("event not {}", "event a { not: int }", "achievement not { when unlocked(a) }", "event a.not.b {}"):
        assert parse(Source("x.ach", text))[1]

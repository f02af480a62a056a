"""The grammar has no conflicts, its tables say what it says, and every keyword is a name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lark import Lark, UnexpectedCharacters, UnexpectedToken

from dsl.diagnostics import render
from dsl.parse import lalr, parse
from dsl.parse.lalr import Parser, Stumble, grammar, tables
from dsl.parse.reading import Stray
from dsl.source import Source
from release.grammar import TABLES, tables_of, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from dsl.parse.reading import Token

ROOT: Final = Path(__file__).parents[2]
STALE: Final = "dsl/grammar.lark was changed: write its tables with `just grammar`, and commit both files"


def test_the_tables_are_those_of_the_grammar() -> None:
    # lark's strict mode refuses conflicts, and two terminals that fit the same text.
    assert written(tables_of(grammar())) == TABLES.read_bytes(), STALE


@pytest.mark.parametrize("content", [b"", b"<<<<<<< HEAD\n{}", b"{}"])
def test_tables_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    _instead(monkeypatch, lambda name, data: content if name.endswith(".json") else data)
    with pytest.raises(RuntimeError, match="just grammar"):
        tables.__wrapped__()


def test_tables_of_another_grammar_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _instead(monkeypatch, lambda name, data: data + b"\n" * name.endswith(".lark"))
    with pytest.raises(RuntimeError, match="just grammar"):
        tables.__wrapped__()


def _instead(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, bytes], bytes]) -> None:
    read = lalr._data  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def other(name: str) -> bytes:
        return change(name, read(name))

    monkeypatch.setattr(lalr, "_data", other)


# -- beside lark -------------------------------------------------------------------------------------------------------


class Recorder:
    """Stands for the builder, and writes down each call."""

    def __init__(self, *, listed: bool) -> None:
        self.calls: list[object] = []
        self._listed = listed

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("_"):
            raise AttributeError(name)

        def token(read: Token) -> object:
            return self._note((name, read.value, read.start_pos, read.end_pos))

        def rule(*parts: object) -> object:
            values = cast("list[object]", parts[0]) if self._listed else parts
            return self._note((name, *map(plain, values)))

        return token if name.isupper() else rule

    def _note(self, call: tuple[object, ...]) -> object:
        self.calls.append(call)
        return call


def plain(part: object) -> object:
    """Return a part of a rule: the tokens of lark are another class."""
    if part is None or isinstance(part, tuple):
        return cast("object", part)
    token = cast("Token", part)
    return token.type, token.value


@cache
def _lark() -> tuple[Lark, Recorder]:
    recorder: Any = Recorder(listed=True)
    return Lark(grammar(), parser="lalr", lexer="basic", transformer=recorder), recorder


def by_lark(text: str) -> tuple[list[object], object]:
    parser, recorder = _lark()
    recorder.calls = []
    try:
        parser.parse(text)
    except UnexpectedToken as problem:
        token = cast("Token", problem.token)
        at = len(text) if token.type == "$END" else token.start_pos
        expected = cast("set[str]", problem.interactive_parser.accepts())
        return recorder.calls, (token.type, at, frozenset(expected))
    except UnexpectedCharacters as problem:
        return recorder.calls, problem.pos_in_stream
    return recorder.calls, None


def by_tables(text: str) -> tuple[list[object], object]:
    recorder = Recorder(listed=False)
    try:
        Parser(tables(), recorder).parse(text, 0, len(text))
    except Stumble as problem:
        return recorder.calls, (problem.token.type, problem.token.start_pos, problem.expected)
    except Stray as problem:
        return recorder.calls, problem.at
    return recorder.calls, None


FILES: Final = sorted((ROOT / "fixtures" / "rules").rglob("*.ach"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_loop_makes_the_calls_that_lark_makes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    calls, problem = by_tables(text)
    assert calls
    assert (calls, problem) == by_lark(text)


@pytest.mark.parametrize(
    "text",
    [
        "event a { b: int >= 1 c: int? d: int? >= 1 } event b {} once per c",
        "achievement a version 2 fresh { active .. 2026-05-01T00:00:00Z }",
        "achievement a version 2 from 2026-05-01T00:00:00Z { active 2026-05-01T00:00:00Z .. }",
        "achievement a { when count(event=[a, b where c,] where d,) repeat every day tz=user }",
    ],
)
def test_parts_that_are_left_out_are_none_as_with_lark(text: str) -> None:
    assert by_tables(text) == by_lark(text)


SOUP: Final = st.lists(
    st.sampled_from(
        [
            *tables().words.values(),
            "a",
            "a.b",
            "1",
            "1.5",
            "7d",
            "50%",
            ">=",
            "2026-04-13",
            '"x"',
            "count(",
            "when",
            "&",
        ]
    ),
    max_size=12,
).map(" ".join)


@given(SOUP, st.sampled_from(["", "event a {", "achievement a { when ", "achievement a { when count(event=a where "]))
def test_it_stumbles_where_lark_does(soup: str, before: str) -> None:
    text = before + soup
    assert by_tables(text) == by_lark(text)


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

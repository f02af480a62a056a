"""The canonical layout: the same meaning, every comment, and no change the second time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dsl.format import MeaningChangedError, format_file, format_source, strip_spans
from dsl.format.tokens import tokens
from dsl.parse import parse
from dsl.source import NOWHERE, Source
from dsl.syntax import File, Name, Not, Ref, Truth
from tests.dsl.programs import texts

GOLDEN = Path(__file__).parent / "golden"
FORMATTED = Path(__file__).parent / "formatted"
BEFORE = ".before.ach"
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much)
RULES = Path(__file__).parents[2] / "fixtures" / "rules"


def formatted(text: str) -> str:
    result = format_source(Source("x.ach", text))
    assert result is not None
    return result


def comments(text: str) -> Counter[str]:
    return Counter(token.text for token in tokens(text) if token.comment)


def check_formatted(text: str) -> None:
    result = formatted(text)
    assert formatted(result) == result
    assert comments(result) == comments(text)
    assert all(line == line.rstrip() for line in result.split("\n"))
    assert "\n\n\n" not in result


@pytest.mark.parametrize("path", [GOLDEN / "clean.ach", *sorted(RULES.glob("*.ach"))], ids=lambda path: path.name)
def test_files(path: Path) -> None:
    check_formatted(path.read_text(encoding="utf-8"))


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(texts())
def test_any_program(text: str) -> None:
    file, problems = parse(Source("x.ach", text))
    # Some programs say a clause or key twice, or nest what must not be nested; they are not formatted at all.
    if problems:
        assert format_source(file.source) is None
    else:
        check_formatted(text)


def test_most_programs_are_good() -> None:
    good: list[bool] = []

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=SLOW)
    @given(texts())
    def look(text: str) -> None:
        good.append(not parse(Source("x.ach", text))[1])

    look()
    assert sum(good) > len(good) / 2


def test_a_text_with_errors_is_left_alone() -> None:
    assert format_source(Source("x.ach", "event a {")) is None


def test_a_changed_meaning_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_file: File) -> str:
        return "event other {}\n"

    monkeypatch.setattr("dsl.format.format_file", wrong)
    with pytest.raises(MeaningChangedError):
        format_source(Source("x.ach", "event a {}"))


def test_strip_spans_leaves_the_meaning() -> None:
    one, two = (parse(Source("x.ach", text))[0] for text in ("event a { x: int }", "  event a {x:int,}"))
    assert one.declarations != two.declarations
    assert strip_spans(one.declarations) == strip_spans(two.declarations)
    tree = Not(part=Truth(left=Ref(name="x")))
    assert strip_spans(tree) == tree
    assert strip_spans(Name(text="a")).span == NOWHERE


def test_nothing_is_nothing() -> None:
    assert formatted("") == ""
    assert formatted("\ufeff event a {}\r\n") == "event a {}\n"
    assert formatted("\n\n # only this\n\n\n# and this") == "# only this\n\n# and this\n"


def test_the_layout() -> None:
    text = """
# top


# second
event a.b { x: int # trailing x
  , # after comma
  y : string? # y
  # own line before once
  once per x # c1
  # end
} # after event
event c.d {}
event e.f {x:int,y:string once   per x}
# about a1
achievement a1 # head
 version 1 { # brace

  # over title
  title "x" # t
  when all( # first
    count(event=a.b, >= 10_000 # bound
      ),
    # over second
    count( event = [a.b, # in list
       c.d,] where (x=1 or not(x in [1,2,])) , >= 1,) # behind
    # below
  )
  for # odd
   plan in ["a" , # one
     "b"] and not ( pro )
  repeat every   week tz = user
  reward { "a b": [1, {x: 1}, [],{}], b: 1.50 # hmm
    , c: null }
  tier x { when count(event=a.b, >= 1) }

  tier y {
     # in y
     when count(event=a.b, >= 1) reward {} }
  # end of body
}
achievement one { when count(event=a.b,>=1) }
achievement wide { when any(count(event=a.b,>=1), sequence([a.b, c.d, [a.b, c.d]], by=x), at_least(1,
unlocked(one), unlocked(a1.x))) }
achievement two { when count(event=a.b,>=1) after one,a1 # hmm
}
event used {}
example "x" { at 2026-01-01T00:00:00Z u a.b { x: 1 } # story
  # then
 expect u a1 progress 1 / 2 at 2026-01-01T00:00:00Z u a.b { x: 1 }
}
# bye
"""
    assert (
        formatted(text)
        == """\
# top

# second
event a.b {
  # trailing x
  x: int  # after comma
  y: string?  # y
  # own line before once
  once per x  # c1
  # end
}  # after event

event c.d {}
event e.f { x: int, y: string once per x }

# about a1
# head
achievement a1 version 1 {  # brace
  # over title
  title  "x"  # t
  when   all(
    # first
    count(
      event=a.b,
      >= 10_000  # bound
    ),
    # over second
    count(
      event=[
        a.b,  # in list
        c.d] where (x = 1 or not (x in [1, 2])),
      >= 1)  # behind
    # below
  )
  # odd
  for    plan in [
    "a",  # one
    "b"] and not (pro)
  repeat every week tz=user
  reward {
    "a b": [1, { x: 1 }, [], {}],
    b: 1.50,  # hmm
    c: null
  }
  tier x { when count(event=a.b, >= 1) }

  tier y {
    # in y
    when   count(event=a.b, >= 1)
    reward {}
  }
  # end of body
}

achievement one { when count(event=a.b, >= 1) }

achievement wide {
  when any(
    count(event=a.b, >= 1),
    sequence([a.b, c.d, [a.b, c.d]], by=x),
    at_least(1, unlocked(one), unlocked(a1.x)))
}

achievement two {
  when  count(event=a.b, >= 1)
  after one, a1  # hmm
}

event used {}

example "x" {
  at 2026-01-01T00:00:00Z u a.b { x: 1 }  # story
  # then
  expect u a1 progress 1/2
  at 2026-01-01T00:00:00Z u a.b { x: 1 }
}

# bye
"""
    )


@pytest.mark.parametrize("name", sorted(path.name[: -len(BEFORE)] for path in FORMATTED.glob(f"*{BEFORE}")))
def test_pairs(name: str) -> None:
    # Bytes: line breaks are part of what is read.
    before, after = ((FORMATTED / f"{name}{suffix}").read_bytes().decode() for suffix in (BEFORE, ".after.ach"))
    assert formatted(before) == after
    check_formatted(before)


def test_a_file_that_was_formatted_by_hand_is_left_alone() -> None:
    text = """\
event a { x: int }
event b {}

# what follows is long
achievement c {
  title "C"
  when  count(event=a, >= 10)
}
"""
    assert format_file(parse(Source("x.ach", text))[0]) == text

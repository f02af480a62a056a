"""The parser on good text, bad text and hostile text."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsl import syntax
from dsl.diagnostics import Diagnostic, render
from dsl.parse import parse
from dsl.source import Source, Span
from dsl.syntax import (
    Achievement,
    Alternative,
    And,
    Cmp,
    Combine,
    Compare,
    Condition,
    Count,
    EventDecl,
    Example,
    Expect,
    Given,
    ListDecl,
    Literal,
    Member,
    Name,
    Not,
    Or,
    Pattern,
    Ref,
    Sequence,
    TraitsDecl,
    Truth,
)

GOLDEN = Path(__file__).parent / "golden"
CLEAN = (GOLDEN / "clean.ach").read_text(encoding="utf-8")


def read(text: str) -> list[syntax.Declaration]:
    file, problems = parse(Source("x.ach", text))
    assert [render(problem) for problem in problems] == []
    return list(file.declarations)


def reported(text: str) -> list[Diagnostic]:
    return parse(Source("x.ach", text))[1]


def achievement(body: str) -> Achievement:
    (node,) = read(f"achievement a {{ {body} }}")
    assert isinstance(node, Achievement)
    return node


def condition(text: str) -> Condition:
    when = achievement(f"when {text}").when
    assert when is not None
    return when


def predicate(text: str) -> syntax.Predicate:
    where = achievement(f"when unlocked(x) for {text}").where
    assert where is not None
    return where


def declared(text: str) -> list[str]:
    names: list[str] = []
    for node in parse(Source("x.ach", text))[0].declarations:
        match node:
            case Example(title=title):
                names.append(title)
            case EventDecl(name=name) | Achievement(name=name):
                names.append(name.text)
            case TraitsDecl(event=name) | ListDecl(name=name):
                names.append(name.text)
    return names


# -- good text -------------------------------------------------------------------------------------------------


def test_the_first_expression_of_the_article() -> None:
    match condition("count(event=lesson.completed, >= 10)"):
        case Count(
            event=Pattern(alternatives=(Alternative(event=Name(text="lesson.completed"), where=None),), listed=False),
            distinct=(),
            cmp=Cmp(op=">=", bound=10),
        ):
            pass
        case other:
            raise AssertionError(other)


def test_the_second_expression_of_the_article() -> None:
    node = condition("sequence([profile.completed, tutorial.finished, first_project.created])")
    assert isinstance(node, Sequence)
    names = [step.alternatives[0].event.text for step in node.steps]
    assert names == ["profile.completed", "tutorial.finished", "first_project.created"]


def test_arguments_come_in_any_order() -> None:
    one = condition("count(event=x, distinct=y, >= 10, within=7d, unless=z)")
    two = condition("count(unless=z, >= 10, within=7d, distinct=y, event=x)")
    assert isinstance(one, Count)
    assert isinstance(two, Count)
    assert one.cmp.bound == two.cmp.bound
    assert [name.text for name in one.distinct] == [name.text for name in two.distinct] == ["y"]
    assert one.mods.within is not None
    assert two.mods.within is not None
    assert one.mods.within.us == two.mods.within.us == 7 * 24 * 3600 * 1_000_000


def test_steps_with_filters_and_alternatives() -> None:
    node = condition("sequence([a.b, c.d where x > 1, [e.f, g.h where z] where y])")
    assert isinstance(node, Sequence)
    first, second, third = node.steps
    assert (first.listed, second.listed, third.listed) == (False, False, True)
    assert isinstance(second.alternatives[0].where, Compare)
    assert isinstance(third.where, Truth)
    assert [isinstance(each.where, Truth) for each in third.alternatives] == [False, True]


def test_combinations_know_how_many_parts_must_hold() -> None:
    for text, k in (("all(unlocked(a), unlocked(b))", 2), ("any(unlocked(a), unlocked(b))", 1)):
        node = condition(text)
        assert isinstance(node, Combine)
        assert node.k == k
    node = condition("at_least(unlocked(a), 2, unlocked(b), unlocked(c))")
    assert isinstance(node, Combine)
    assert (node.k, len(node.parts)) == (2, 3)


def test_predicates_bind_as_in_python() -> None:
    match predicate("a or b and not c = 1 and d"):
        case Or(
            parts=(
                Truth(left=Ref(name="a")),
                And(parts=(Truth(), Not(part=Compare(left=Ref(name="c"), op="=")), Truth())),
            )
        ):
            pass
        case other:
            raise AssertionError(other)
    assert isinstance(predicate("(a or b) and c"), And)
    assert isinstance(predicate('not a in ["x"]'), Not)
    match predicate('a not in ["x", 1, true]'):
        case Member(negated=True, values=(Literal(value="x"), Literal(value=1), Literal(value=True))):
            pass
        case other:
            raise AssertionError(other)


def test_numbers_are_exact() -> None:
    values = achievement("when unlocked(x) reward { a: 10_000, b: 0.1, c: -2, d: 1e3, e: 1.10 }").reward
    assert values is not None
    assert values.values == {"a": 10_000, "b": Decimal("0.1"), "c": -2, "d": Decimal("1e3"), "e": Decimal("1.10")}
    assert [type(value) for value in values.values.values()] == [int, Decimal, int, Decimal, Decimal]


@pytest.mark.parametrize(
    ("text", "us", "offset"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T01:00:00.000001+01:00", 1, 3600),
        ("1970-01-01t00:00:00.1234567z", 123_456, 0),
        ("1969-12-31T23:30:00-00:30", 0, -1800),
        ("2024-02-29T23:59:59.999999+14:00", 1_709_200_799_999_999, 50_400),
    ],
)
def test_instants(text: str, us: int, offset: int) -> None:
    active = achievement(f"when unlocked(x) active {text}..").active
    assert active is not None
    assert active.start is not None
    assert (active.start.us, active.start.offset, active.start.text, active.end) == (us, offset, text, None)


def test_active_with_either_end_left_out() -> None:
    one = achievement("when unlocked(x) active .. 2026-01-01T00:00:00Z").active
    two = achievement("when unlocked(x) active 2026-01-01T00:00:00Z ..").active
    assert one is not None
    assert two is not None
    assert (one.start, two.end) == (None, None)
    assert achievement("when unlocked(x) active ..").active is not None


def test_clauses_are_listed_as_written() -> None:
    node = achievement('tier x { when unlocked(b) } reward {} title "t" tier y { when unlocked(b) } settle 1h')
    assert node.order == ("tier", "reward", "title", "tier", "settle")


def test_at_ends_an_expectation_or_begins_a_line() -> None:
    at = "at 2026-04-13T09:00:00Z"
    (node,) = read(f'example "x" {{ expect u a {at} {at} u b {{}} expect u a {at} expect c {{}} expect u a }}')
    assert isinstance(node, Example)
    one, two, three, four, five = node.lines
    assert isinstance(one, Expect)
    assert one.at is not None
    assert isinstance(two, Given)
    assert isinstance(three, Expect)
    assert three.at is None
    assert isinstance(four, Given)
    assert (four.user, four.event.text) == ("expect", "c")
    assert isinstance(five, Expect)


def test_a_byte_order_mark_and_carriage_returns_are_white_space() -> None:
    assert declared('\ufeffevent a {}\r\nexample "x" {}\r\n') == ["a", "x"]


def test_strings_are_json() -> None:
    node = achievement(r'when unlocked(x) title "a\"\\\/\n\u00e9\ud83d\ude00 #{}"')
    assert node.title is not None
    assert node.title.texts == (("", 'a"\\/\né\U0001f600 #{}'),)


# -- places ----------------------------------------------------------------------------------------------------


def several(inner: object) -> tuple[object, ...]:
    if isinstance(inner, tuple) and not isinstance(inner, Span):
        return cast("tuple[object, ...]", inner)
    return (inner,)


def walk(value: object) -> list[tuple[syntax.Node, syntax.Node]]:
    """Return every node with the nodes right within it."""
    pairs: list[tuple[syntax.Node, syntax.Node]] = []
    if isinstance(value, syntax.Node | syntax.Modifiers):
        for name in value.__struct_fields__:
            inner: object = getattr(value, name)
            for each in several(inner):
                if isinstance(value, syntax.Node) and isinstance(each, syntax.Node):
                    pairs.append((value, each))
                if isinstance(value, syntax.Node) and isinstance(each, syntax.Modifiers):
                    pairs.extend((value, node) for node in (each.within, each.per, each.unless, each.tz) if node)
                pairs.extend(walk(each))
    return pairs


def test_spans_are_where_the_text_is() -> None:
    for node in read(CLEAN):
        assert CLEAN[node.span.end - 1] == "}"
        for outer, inner in walk(node):
            assert outer.span.start <= inner.span.start < inner.span.end <= outer.span.end, (outer, inner)
            text = CLEAN[inner.span.start : inner.span.end]
            assert text == text.strip()
            if isinstance(inner, Name | syntax.Ref | syntax.Duration | syntax.Instant):
                assert text == (inner.name if isinstance(inner, syntax.Ref) else inner.text)
            if isinstance(inner, Cmp):
                assert text.startswith(inner.op)
            if isinstance(inner, Literal) and isinstance(inner.value, int) and not isinstance(inner.value, bool):
                assert int(text) == inner.value


def test_spans_of_brackets_and_filters() -> None:
    text = "achievement a { when count(event=[a, b where x] where (y or not z), >= 1) for (p) and q in [1,2] }"
    (node,) = read(text)
    assert isinstance(node, Achievement)
    assert isinstance(node.when, Count)
    pattern = node.when.event

    def at(span: Span) -> str:
        return text[span.start : span.end]

    assert at(node.when.span) == "count(event=[a, b where x] where (y or not z), >= 1)"
    assert at(pattern.span) == "[a, b where x] where (y or not z)"
    assert at(pattern.alternatives[1].span) == "b where x"
    assert pattern.where is not None
    assert at(pattern.where.span) == "(y or not z)"
    assert node.where is not None
    assert at(node.where.span) == "(p) and q in [1,2]"


# -- bad text --------------------------------------------------------------------------------------------------


def test_good_declarations_survive_bad_ones() -> None:
    names = declared((GOLDEN / "recovery.ach").read_text(encoding="utf-8"))
    numbers = ("one", "two", "three", "four", "five", "six", "seven")
    assert sorted(names) == sorted(["good.one", "good.two"] + [f"good_{number}" for number in numbers[2:]])


def test_a_slip_whose_meaning_is_clear_does_not_lose_the_declaration() -> None:
    assert declared("achievement a { when count(event=b >= 1) }") == ["a"]
    assert declared("achievement a { when count(b => 1) }") == ["a"]
    assert declared("achievement a { when count(event=b, >= 1d) }") == []


def test_misspelt_declarations_are_skipped_alone() -> None:
    assert declared("event a {}\nevnt b { x: }\nevent c {} evemt d {}\nevent e {}") == ["a", "c", "e"]


def test_problems_come_in_the_order_of_the_text() -> None:
    text = "event a { x: }\nevent b {} junk\nachievement c { wehn }\n" * 5
    places = [problem.span.start for problem in reported(text)]
    assert places == sorted(places)
    assert len(places) == 15


def test_so_many_errors_are_enough() -> None:
    problems = reported("event a {\n" * 5000)
    assert problems[-1].code == "ACH121"
    assert len(problems) == 201
    problems = reported("achievement a {" + ' title "x"' * 5000 + "}")
    assert problems[-1].code == "ACH121"
    assert len(problems) == 1001


HOSTILE = {
    "parentheses": "achievement a { for " + "(" * 10_000 + "x" + ")" * 10_000 + " }",
    "operators": "achievement a { when " + "all(" * 10_000,
    "not": "achievement a { for " + "not " * 10_000 + "x }",
    "json": "achievement a { reward { a: " + "[" * 10_000 + "]" * 10_000 + "} }",
    "lists": "achievement a { when sequence(" + "[" * 10_000,
    "one long line": 'achievement a { title "' + "x" * 1_000_000 + '"',
    "an endless string": 'event a { "' + "\\" * 1_000_001,
    "an endless word": "a" * 1_000_000,
    "an endless name": "event " + "a." * 500_000,
    "an endless number": "achievement a { reward { x: " + "1" * 1_000_000 + " } }",
    "an endless duration": "achievement a { settle " + "1" * 1_000_000 + "d }",
    "a huge exponent": "achievement a { reward { x: 1e999, y: 1e-999, z: 1e99999999999 } }",
    "NUL": "\0" * 100_000,
    "quotes": '"' * 100_000,
    "a comment": "#" * 1_000_000,
    "lone surrogates": 'event \ud800 {}\nachievement a { title "\udfff" when unlocked(b) }',
    "all of Latin": "".join(map(chr, range(256))),
    "ands": "achievement a { for " + "x and " * 10_000 + "x }",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_reported_and_survived(text: str) -> None:
    file, problems = parse(Source("x.ach", text))
    for problem in problems[:50]:
        assert 0 <= problem.span.start <= problem.span.end <= len(text) + 1
        render(problem)
    assert repr(file)


def test_text_that_is_cut_off_anywhere() -> None:
    text = CLEAN.splitlines()
    for stop in range(0, len(CLEAN), 41):
        reported(CLEAN[:stop])
    assert reported("\n".join(text)) == []


SIGNS = ("\\", "\n", '"', "#", "$", "'", "é", "1d", "30%", "-1", *"()[]{},:=<?/1", ">=", "..")
FRAGMENTS = sorted({*CLEAN.split(), *SIGNS})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=60), st.sampled_from([" ", "", "\n"]))
@example(["event", "a", "{", "}", "}"], " ")
def test_any_tokens_are_survived(words: list[str], glue: str) -> None:
    text = glue.join(words)
    for prefix in ("", "achievement a { ", "achievement a { when ", "achievement a { for ", 'example "x" { '):
        for problem in reported(prefix + text):
            render(problem)


@settings(max_examples=60, deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_is_survived(text: str) -> None:
    for problem in reported(text):
        render(problem)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_text_is_survived(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(CLEAN)))
    stop = data.draw(st.integers(start, min(start + 40, len(CLEAN))))
    put = data.draw(st.sampled_from(["", *FRAGMENTS]))
    for problem in reported(CLEAN[:start] + put + CLEAN[stop:]):
        render(problem)


def test_a_nul_is_refused_wherever_it_stands() -> None:
    text = 'event a.b {} # x\0y\n# \0\nachievement a { title "A\0" when count(event=a.b, >= 1) }\n\0'
    _, problems = parse(Source("nul.ach", text))
    found = [(problem.code, problem.source.position(problem.span.start)) for problem in problems]
    assert [code for code, _ in found] == ["ACH102", "ACH102", "ACH103", "ACH102"]
    assert [line for _, (line, _) in found] == [1, 2, 3, 4]
    assert all("U+0000" in problem.message for problem in problems if problem.code == "ACH102")


@pytest.mark.parametrize("word", ["achievementThree", "eventX", "exampleOne", "listOf"])
def test_a_word_that_begins_like_a_declaration_is_reported_once(word: str) -> None:
    text = f"event a {{}}\n{word} days {{\n}}\nachievement x {{ when count(event=a, >= 1) }}\n"
    file, problems = parse(Source("rules.ach", text))
    assert [problem.span.start for problem in problems] == [text.index(word)]
    assert len(file.declarations) == 2

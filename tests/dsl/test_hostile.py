"""Hostile text: for any bytes, `ach check` reports problems with their places, and quickly.

The tests measure processor time, so that they do not fail on a busy machine.
"""

from __future__ import annotations

from time import process_time
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl.advice import examine
from dsl.diagnostics import LONGEST_LINE, Diagnostic, render
from dsl.ruleset import build
from tests.dsl.programs import texts
from worker.report.diagnostics import as_problem, github, sarif
from worker.report.facts import rule_facts

MAX_SECONDS: Final = 12.0
"""Of the processor, where other work shares its caches and clock: what grows by a square takes minutes."""
SHOWN: Final = 50

EVENTS: Final = "event a { n: int >= 0, s: string? once per s within 1d }\nevent b {}\n"


def checked(content: bytes) -> list[Diagnostic]:
    """Check a file as the command does, and print what it tells in every form."""
    rules = build([("hostile.ach", content)])
    problems = examine(rules.files, rules.rules, rules.problems)
    for problem in problems[:SHOWN]:
        assert 0 <= problem.span.start <= problem.span.end <= len(problem.source.text) + 1
        assert len(render(problem)) < 10 * LONGEST_LINE + 4 * len(problem.message)
        assert "\n" not in github(problem)
        msgspec.json.encode(as_problem(problem))
    msgspec.json.encode(sarif(problems[:SHOWN]))
    if rules.program is not None:
        rule_facts(rules)
    return problems


def alone_in(test: str) -> str:
    return f"{EVENTS}achievement a {{ when count(event=a where {test}, >= 1) }}"


def a_family(elements: str, test: str) -> str:
    return f"achievement a for each x in [{elements}] {{ when count(event=a where {test}, >= 1) }}"


def many(number: int, text: str) -> str:
    return "\n".join(text.replace("@", str(n)).replace("~", str(n - 1)) for n in range(1, number))


BAD: Final = {
    "parentheses": "achievement a { for " + "(" * 10_000 + "x" + ")" * 10_000 + " }",
    "operators": "achievement a { when " + "all(" * 10_000,
    "brackets": "achievement a { when sequence(" + "[" * 10_000,
    "json": "achievement a { reward { a: " + "[" * 10_000 + "]" * 10_000 + "} }",
    "a line of a megabyte": 'achievement a { title "' + "x" * 1_000_000 + '" when count(event=a, >= 0) }',
    "a megabyte of nothing": " " * 1_000_000 + "x",
    "many clauses on one line": "achievement a {" + " title " * 20_000,
    "many bad clauses": "achievement a {\n" + "  titel 1\n" * 20_000 + "}",
    "many bad achievements": "achievement a {\n  titel 1\n  wehn\n}\n" * 5_000,
    "a huge number": "achievement a { when count(event=a, >= " + "9" * 100_000 + ") }",
    "a huge exponent": "achievement a { when count(event=a, >= 1e999999999) }",
    "a huge version": EVENTS + "achievement a version " + "9" * 5_000 + " { when count(event=a, >= 1) }",
    "a huge duration": EVENTS + "achievement a { when count(event=a, >= 2, within=" + "9" * 100 + "w) }",
    "a huge percentage": EVENTS + "achievement a { when count(event=a, >= 2) reveal at " + "9" * 5_000 + "% }",
}


MILLION: Final = ", ".join(f'"e{n}"' for n in range(1_000_000))
FAMILY: Final = ", ".join(map(str, range(100_000)))
FAMILIES: Final = {
    "a list of a million": f"list names = [{MILLION}]",
    "a family of a list of a million": EVENTS + a_family(MILLION, "s = $x"),
    "a filter of a million": alone_in(f"s in [{MILLION}]"),
    "a family of a hundred thousand": f"{EVENTS}list l = [{FAMILY}]\n" + a_family("", "n = $x").replace("[]", "l"),
    "families of much text": f"{EVENTS}list x = [{', '.join(map(str, range(9_000)))}]\n"
    + many(20, f'achievement a@ for each y in x {{ title "{"t" * 1_000}" when count(event=a where n = $y, >= 1) }}'),
    "deep arithmetic": alone_in("n" + " * (n + 1" * 60 + ")" * 60 + " > 1"),
    "wide arithmetic": alone_in("n" + " * n" * 100_000 + " > 1"),
    "a key of ten kilobytes": EVENTS + a_family(f'"{"y" * 10_000}"', "s = $x"),
}


def alone(when: str) -> str:
    return f"{EVENTS}achievement a {{ when {when} }}"


WIDE: Final = ", ".join(f"count(event=a, >= {n})" for n in range(1, 3_000))
NAMES: Final = ",".join(f"e{n}" for n in range(1, 1_000))
VALUES: Final = '","'.join(map(str, range(20_000)))
TIERS: Final = many(400, "  tier t@ { when streak(event=a, per=day, >= 1, min=@, grace=1) }")
LATER: Final = "\n".join(
    f"achievement a version {n} from {2000 + n:04}-01-01T00:00:00Z {{ when count(event=a, >= {n}) }}"
    for n in range(2, 2_000)
)
CHAIN: Final = many(3_000, "achievement a@ { when count(event=a, >= 1) after a~ active 2026-01-01T00:00:00Z .. }")
GOOD: Final = {
    "a high bound": alone("count(event=a, >= " + "9" * 38 + ")"),
    "a high bound in a window": alone("count(event=a, distinct=s, >= 1000000000, within=1d)"),
    "a long streak": alone("streak(event=a, per=year, >= 1000000, min=1000000)"),
    "a long filter": alone("count(event=a where " + "n > 1 and " * 9_999 + "n > 2, >= 1)"),
    "a long list": alone(f'count(event=a where s in ["{VALUES}"], >= 1)'),
    "a long sequence": alone("sequence([" + "a where n > 1, " * 3_000 + "b])"),
    "a wide all": alone(f"all({WIDE})"),
    "many tiers": EVENTS + "achievement a {\n" + TIERS + "\n}",
    "many alternatives": many(1_000, "event e@ {}") + f"\nachievement a {{ when count(event=[{NAMES}], >= 1) }}",
    "a chain": EVENTS + "achievement a0 { when count(event=a, >= 1) }\n" + CHAIN,
    "many versions": alone("count(event=a, >= 1)") + "\n" + LATER,
    "many comments": alone("count(event=a, >= 1)") + "\n" + "# ach: allow ACH505\n" * 5_000,
}
NO_TEXT: Final = (b"\xff", b"event a {}\n\xc3(", b"\xef\xbb\xbf\xff", b"\xed\xa0\x80", b"\x00" * 1000)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_bad_text_is_reported_quickly(text: str) -> None:
    began = process_time()
    assert checked(text.encode())
    assert process_time() - began < MAX_SECONDS


@pytest.mark.parametrize("text", FAMILIES.values(), ids=FAMILIES.keys())
def test_families_and_expressions_have_bounds(text: str) -> None:
    began = process_time()
    assert {problem.code for problem in checked(text.encode())} & {"ACH446", "ACH108", "ACH118"}
    assert process_time() - began < MAX_SECONDS


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_much_of_a_good_thing_is_checked_soon(text: str) -> None:
    began = process_time()
    assert [render(each) for each in checked(text.encode()) if each.code.startswith("ACH1")] == []
    assert process_time() - began < MAX_SECONDS


@pytest.mark.parametrize("content", NO_TEXT)
def test_bytes_that_are_not_text_are_reported(content: bytes) -> None:
    assert {problem.code for problem in checked(content)} - {"ACH501"} == {"ACH102"}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(content: bytes) -> None:
    checked(content)
    checked(EVENTS.encode() + content)


@settings(max_examples=60, deadline=None, suppress_health_check=(HealthCheck.too_slow, HealthCheck.filter_too_much))
@given(texts(), st.data())
def test_any_program_with_a_few_other_bytes_is_survived(text: str, data: st.DataObject) -> None:
    content = text.encode()
    at = data.draw(st.integers(0, len(content)))
    checked(content[:at] + data.draw(st.binary(max_size=6)) + content[at + data.draw(st.integers(0, 6)) :])

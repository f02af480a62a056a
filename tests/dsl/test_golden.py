"""Rule sets with their expected problems, each on its line.

A file is cut at lines of `---`. `### CODE words` at the end of a line expects a problem there whose message or hint has
these words, `##^ CODE words` one in the line above, `##^^` two lines above; `### other words` expect nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from dsl.advice import examine
from dsl.check import check
from dsl.codes import ADVICE, CODES
from dsl.diagnostics import Diagnostic, Severity, render
from dsl.parse import parse
from dsl.source import Source

GOLDEN = Path(__file__).parent / "golden"
_EXPECTED = re.compile(r"##(#|\^+) (ACH\d{3}) (.*?)(?= ###|$)")


class Expected(NamedTuple):
    line: int
    code: str
    words: str


def chunks() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path in sorted(GOLDEN.glob("*.ach")):
        line = 1
        for text in re.split(r"(?m)^---\n", path.read_text(encoding="utf-8")):
            found.append((f"{path.name}:{line}", text))
            line += text.count("\n") + 1
    return found


def expected(text: str) -> list[Expected]:
    return [
        Expected(number - (0 if mark == "#" else len(mark)), code, words)
        for number, line in enumerate(text.split("\n"), 1)
        for mark, code, words in _EXPECTED.findall(line)
    ]


def problems(name: str, text: str) -> list[Diagnostic]:
    file, syntax = parse(Source(name, text))
    rules, found = check([file])
    return examine([file], rules, [*syntax, *found], "2026-01-01")


@pytest.mark.parametrize(("name", "text"), chunks(), ids=[name for name, _ in chunks()])
def test_golden(name: str, text: str) -> None:
    wanted = expected(text)
    # What is about syntax need not declare everything, and what is about one advice need not follow every other.
    codes = {each.code for each in wanted}
    beside = tuple(code for code in ADVICE if code not in codes)
    if all(code.startswith("ACH1") for code in codes):
        beside = ("ACH2", "ACH3", "ACH4", "ACH5")
    left: list[str] = []
    for problem in problems(name, text):
        line, _ = problem.source.position(problem.span.start)
        said = f"{problem.message} {problem.hint}"
        found = next((w for w in wanted if (w.line, w.code) == (line, problem.code) and w.words in said), None)
        if found is not None:
            wanted.remove(found)
        elif not problem.code.startswith(beside):
            left.append(render(problem))
    assert (left, wanted) == ([], []), "\n".join(left)


def test_every_code_has_a_golden_example() -> None:
    seen = {each.code for _, text in chunks() for each in expected(text)}
    # More errors than fit a golden file: test_parse.py. What is in force: tests/acceptance/test_diagnostic_pages.py. A
    # reward larger than a golden file should be: tests/worker/engine/test_announcement_limits.py.
    assert set(CODES) - seen == {"ACH121", "ACH422", "ACH423", "ACH446"}


def test_codes_are_unique_and_their_families_fit() -> None:
    for _, text in chunks():
        for problem in problems("x.ach", text):
            # A rule that no user can ever earn has a meaning and is valid: such ACH4xx problems are warnings.
            if not problem.code.startswith("ACH4"):
                assert (problem.severity is Severity.WARNING) is problem.code.startswith("ACH5")
            assert problem.code in CODES


def test_a_code_is_written_once_in_the_table() -> None:
    text = Path(__file__).parents[2].joinpath("dsl", "codes.py").read_text(encoding="utf-8")
    codes = re.findall(r'"(ACH\d{3})":', text)
    assert len(codes) == len(set(codes)) == len(CODES)


def test_the_file_without_problems_is_read_whole() -> None:
    text = (GOLDEN / "clean.ach").read_text(encoding="utf-8")
    file, found = parse(Source("clean.ach", text))
    rules, more = check([file])
    assert [render(problem) for problem in (*found, *more)] == []
    assert len(file.declarations) == text.count("\nachievement ") + text.count("\nevent ") + 2
    assert rules.achievements["version"][0].version == 2

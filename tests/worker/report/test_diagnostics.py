"""Problems in the forms that machines read: SARIF by its schema, GitHub's commands by its rules of escaping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.advice import examine
from dsl.codes import CODES
from dsl.diagnostics import Diagnostic, Severity
from dsl.ruleset import build
from dsl.source import Source, Span
from worker.report.diagnostics import github, sarif

SCHEMA: Final = json.loads(Path(__file__).with_name("sarif.schema.json").read_text(encoding="utf-8"))
GOLDEN: Final = Path(__file__).parents[2] / "dsl" / "golden"


def log(problems: list[Diagnostic]) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(sarif(problems)))


def diagnostic(name: str, text: str, span: tuple[int, int], message: str = "m", hint: str | None = None) -> Diagnostic:
    return Diagnostic("ACH201", Severity.ERROR, Source(name, text), Span(*span), message, hint)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.ach")), ids=lambda path: path.name)
def test_sarif_is_valid(path: Path) -> None:
    rules = build([(f"rules/{path.name}", path.read_bytes())])
    problems = examine(rules.files, rules.rules, rules.problems)
    written = log(problems)
    jsonschema.validate(written, SCHEMA, format_checker=jsonschema.FormatChecker())
    (run,) = written["runs"]
    known = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [known[result["ruleIndex"]] for result in run["results"]] == [problem.code for problem in problems]
    assert known == sorted(set(known))


def test_sarif_without_problems_is_valid() -> None:
    jsonschema.validate(log([]), SCHEMA)


def test_sarif_says_where_and_explains() -> None:
    written = log([diagnostic("my rules/a.ach", "event a {}\nevent b {}", (17, 18), "no", "do this")])
    (result,) = written["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20rules/a.ach"
    assert place["region"] == {"startLine": 2, "startColumn": 7, "endLine": 2, "endColumn": 8}
    assert (result["level"], result["message"]["text"]) == ("error", "no\nhint: do this")
    (rule,) = written["runs"][0]["tool"]["driver"]["rules"]
    assert rule["shortDescription"]["text"] == CODES["ACH201"]
    assert rule["help"]["markdown"].startswith("# ACH201")


def test_an_absolute_file_has_its_scheme() -> None:
    name = str(Path("/rules/a b.ach").absolute())
    uri = log([diagnostic(name, "x", (0, 1))])["runs"][0]["results"][0]["locations"][0]["physicalLocation"][
        "artifactLocation"
    ]
    assert uri["uri"] == "file:///rules/a%20b.ach"


def test_columns_count_code_points() -> None:
    written = log([diagnostic("a.ach", '"\U0001f600" x', (4, 5))])
    region = written["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert (written["runs"][0]["columnKind"], region["startColumn"]) == ("unicodeCodePoints", 5)


def test_a_workflow_command() -> None:
    problem = diagnostic("rules/a.ach", "event a {}", (6, 7), "100% wrong:\r\nsee, there", "a hint")
    assert github(problem) == (
        "::error file=rules/a.ach,line=1,endLine=1,col=7,endColumn=8,title=ACH201%3A Unknown event"
        "::100%25 wrong:%0D%0Asee, there%0Ahint: a hint"
    )


def test_names_of_files_are_escaped_in_properties() -> None:
    assert github(diagnostic("a,b:c%d\n.ach", "x", (0, 1))).startswith("::error file=a%2Cb%3Ac%25d%0A.ach,line=1,")


def test_a_span_over_lines_has_no_end_column() -> None:
    assert "endLine=2,col=1,title=" in github(diagnostic("a.ach", "ab\ncd", (0, 4)))


@given(st.text(), st.text(), st.text())
def test_nothing_ends_a_workflow_command_early(name: str, message: str, hint: str) -> None:
    command = github(diagnostic(name, "x", (0, 1), message, hint))
    assert "\n" not in command
    assert "\r" not in command
    head, _, said = command.removeprefix("::").partition("::")
    assert [part.partition("=")[0] for part in head.removeprefix("error ").split(",")] == [
        *("file", "line", "endLine", "col", "endColumn", "title")
    ]
    decoded = said.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
    assert decoded == f"{message}\nhint: {hint}"

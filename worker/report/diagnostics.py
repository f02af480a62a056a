"""Problems for machines: JSON, SARIF 2.1.0, and the workflow commands of GitHub Actions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from dsl.codes import CODES
from dsl.diagnostics import Severity
from worker.distribution import release
from worker.report.pages import page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.diagnostics import Diagnostic
    from dsl.source import Source, Span

SARIF_VERSION: Final = "2.1.0"
SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


class Place(msgspec.Struct, frozen=True):
    """A range in a file: lines and columns count from 1, the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class Problem(msgspec.Struct, frozen=True):
    """A diagnostic as JSON: lines and columns count from 1, the end is exclusive."""

    code: str
    severity: str
    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    hint: str | None


def place_of(source: Source, span: Span) -> Place:
    """Return the place of a span."""
    return Place(source.name, *source.position(span.start), *source.position(max(span.end, span.start)))


def as_problem(found: Diagnostic) -> Problem:
    """Return a diagnostic as `--format json` prints it."""
    at = place_of(found.source, found.span)
    place = (at.file, at.line, at.column, at.end_line, at.end_column)
    return Problem(found.code, found.severity.value, *place, found.message, found.hint)


def said(found: Diagnostic) -> str:
    """Return the message of a diagnostic, with its hint on a line of its own."""
    return found.message if found.hint is None else f"{found.message}\nhint: {found.hint}"


# -- GitHub Actions ---------------------------------------------------------------------------------------------------


def github(found: Diagnostic) -> str:
    """Return the workflow command that annotates a place in a change."""
    at = place_of(found.source, found.span)
    properties = {"file": at.file, "line": str(at.line), "endLine": str(at.end_line), "col": str(at.column)}
    if at.line == at.end_line:
        properties["endColumn"] = str(at.end_column)
    properties["title"] = f"{found.code}: {CODES[found.code]}"
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{found.severity.value} {written}::{_data(said(found))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# -- SARIF ------------------------------------------------------------------------------------------------------------


def sarif(problems: Sequence[Diagnostic]) -> dict[str, object]:
    """Return the problems as a SARIF log with one run."""
    codes = sorted({problem.code for problem in problems})
    driver = {"name": "ach", "version": release(), "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, codes) for problem in problems],
    }
    return {"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]}


def _rule(code: str) -> dict[str, object]:
    level = Severity.WARNING if code.startswith("ACH5") else Severity.ERROR
    text = page(code)
    help_text = {} if text is None else {"help": {"text": text, "markdown": text}}
    description = {"shortDescription": {"text": CODES[code]}}
    return {"id": code, **description, **help_text, "defaultConfiguration": {"level": level.value}}


def _result(found: Diagnostic, codes: Sequence[str]) -> dict[str, object]:
    at = place_of(found.source, found.span)
    region = {"startLine": at.line, "startColumn": at.column, "endLine": at.end_line, "endColumn": at.end_column}
    physical = {"artifactLocation": {"uri": _uri(at.file)}, "region": region}
    return {
        "ruleId": found.code,
        "ruleIndex": codes.index(found.code),
        "level": found.severity.value,
        "message": {"text": said(found)},
        "locations": [{"physicalLocation": physical}],
    }


def _uri(name: str) -> str:
    """Return a file's name as a URI: relative as it was given, absolute with its scheme."""
    path = Path(name)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())

"""From the bytes of rule files to a rule set: parsed, checked and, if there are no errors, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dsl.check import check
from dsl.compile import compile_rules
from dsl.diagnostics import Diagnostic, Severity
from dsl.expand import expand
from dsl.parse import parse
from dsl.source import Source, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.compile import Program
    from dsl.schema import Rules
    from dsl.syntax import File


class RuleSet(NamedTuple):
    """What files say together. `program` is None if there are errors.

    `written_out` are the files as dsl/expand makes them: without families, each member in a file of its own.
    """

    sources: tuple[Source, ...]
    files: tuple[File, ...]
    rules: Rules
    problems: tuple[Diagnostic, ...]
    program: Program | None
    written_out: tuple[File, ...] = ()
    renamed: Mapping[str, tuple[str, ...]] = {}
    """Where achievements stand under their first names (dsl/renames.py): what each is called that has another name
    now, and the names between, the latest first. It is empty as long as they stand under the names they have."""
    written: Rules | None = None
    """The rules under the names that achievements have now, where `rules` has them under others."""

    @property
    def errors(self) -> int:
        """The number of problems that are errors."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)


def build(texts: Sequence[tuple[str, bytes]]) -> RuleSet:
    """Parse, check and compile files, given as (name, content); problems are values, not exceptions."""
    problems: list[Diagnostic] = []
    files: list[File] = []
    for name, content in texts:
        source, problem = decode(name, content)
        file, found = parse(source)
        files.append(file)
        problems.extend(found if problem is None else [problem])
    expanded = expand(files)
    rules, found = check(files, expanded)
    problems.extend(found)
    problems.sort(key=lambda problem: problem.order)
    faulty = any(problem.severity is Severity.ERROR for problem in problems)
    program = None if faulty else compile_rules(rules)
    sources = tuple(file.source for file in files)
    return RuleSet(sources, tuple(files), rules, tuple(problems), program, tuple(expanded.files))


def decode(name: str, content: bytes) -> tuple[Source, Diagnostic | None]:
    """Return a source; if its bytes are not UTF-8, also the problem, and the source ends before the first bad byte."""
    try:
        return Source(name, content.decode("utf-8-sig")), None
    except UnicodeDecodeError as error:
        source = Source(name, content[: error.start].decode("utf-8-sig"))
        at = len(source.text)
        message = f"byte {error.start} (0x{content[error.start]:02x}) is no UTF-8"
        hint = "save the file as UTF-8"
        return source, Diagnostic("ACH102", Severity.ERROR, source, Span(at, at), message, hint)

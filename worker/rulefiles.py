"""Rule files from disk: found, read, parsed, checked and, where nothing is wrong, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.check import check
from dsl.compile import compile_rules
from dsl.diagnostics import Diagnostic, Severity
from dsl.parse import parse
from dsl.source import Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dsl.compile import Program
    from dsl.schema import Rules
    from dsl.syntax import File

SUFFIX: Final = ".ach"


class NoRulesError(ValueError):
    """No rule file where one was named; the message says where."""


class RuleSet(NamedTuple):
    """Everything that was read. `program` is None where there are errors."""

    sources: tuple[Source, ...]
    files: tuple[File, ...]
    rules: Rules
    problems: tuple[Diagnostic, ...]
    program: Program | None

    @property
    def errors(self) -> int:
        """The number of problems that are errors."""
        return sum(problem.severity is Severity.ERROR for problem in self.problems)


def find(paths: Iterable[Path]) -> list[Path]:
    """Return the rule files that paths name: files as they are, folders with everything below them.

    Raises:
        NoRulesError: a path does not exist, or a folder holds no rule file.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            below = sorted(path.rglob(f"*{SUFFIX}"))
            if not below:
                raise NoRulesError(f"{path}: no {SUFFIX} file in this folder")
            found.update(dict.fromkeys(below))
        elif path.exists():
            found[path] = None
        else:
            raise NoRulesError(f"{path}: no such file or folder")
    return list(found)


def load(paths: Iterable[Path]) -> RuleSet:
    """Read, parse, check and compile rule files; problems are values, not exceptions.

    Raises:
        NoRulesError: see `find`.
        OSError: a file cannot be read.
    """
    return build([(str(path), path.read_bytes()) for path in find(paths)])


def build(texts: Sequence[tuple[str, bytes]]) -> RuleSet:
    """Do the same with (name, content) of files already read."""
    problems: list[Diagnostic] = []
    files: list[File] = []
    for name, content in texts:
        source, problem = decode(name, content)
        file, found = parse(source)
        files.append(file)
        problems.extend(found if problem is None else [problem])
    rules, found = check(files)
    problems.extend(found)
    problems.sort(key=lambda problem: problem.order)
    faulty = any(problem.severity is Severity.ERROR for problem in problems)
    program = None if faulty else compile_rules(rules)
    return RuleSet(tuple(file.source for file in files), tuple(files), rules, tuple(problems), program)


def decode(name: str, content: bytes) -> tuple[Source, Diagnostic | None]:
    """Return a source and, where its bytes are no UTF-8, the problem (then the source is what comes before it)."""
    try:
        return Source(name, content.decode("utf-8-sig")), None
    except UnicodeDecodeError as error:
        source = Source(name, content[: error.start].decode("utf-8-sig"))
        at = len(source.text)
        message = f"byte {error.start} (0x{content[error.start]:02x}) is no UTF-8"
        hint = "save the file as UTF-8"
        return source, Diagnostic("ACH102", Severity.ERROR, source, Span(at, at), message, hint)

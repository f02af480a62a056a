"""`# ach: allow ACH505`: a comment that silences warnings on a line; an unneeded one is reported."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.codes import ADVICE, CODES
from dsl.diagnostics import Diagnostic, Severity, nearest
from dsl.source import Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.syntax import File

_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"?|#[^\n]*')
_ALLOW: Final = re.compile(r"#\s*ach:\s*(\w+)[ \t]*([^\n]*)")
_CODE: Final = re.compile(r"([A-Z]+\d+)\b[ \t]*,?[ \t]*")
_UNNEEDED: Final = "ACH511"


class Allowance(NamedTuple):
    """One code that one comment allows on one line."""

    source: Source
    line: int
    code: str
    span: Span


class Allowances:
    """Every comment of a rule set that allows something."""

    def __init__(self, files: Sequence[File]) -> None:
        self._wrong: list[Diagnostic] = []
        self._allowed = [each for file in files if "ach:" in file.source.text for each in self._read(file.source)]

    def applied(self, problems: Iterable[Diagnostic], *, sound: bool) -> list[Diagnostic]:
        """Remove allowed warnings; if all advice was given (`sound`), report comments that allow nothing."""
        if not self._allowed and not self._wrong:
            return list(problems)
        wanted = {(each.source, each.line, each.code): each for each in self._allowed}
        kept: list[Diagnostic] = []
        used: set[Allowance] = set()
        for problem in problems:
            line, _ = problem.source.position(problem.span.start)
            allowance = wanted.get((problem.source, line, problem.code))
            if allowance is None or problem.severity is Severity.ERROR:
                kept.append(problem)
            else:
                used.add(allowance)
        unneeded = [_unneeded(each) for each in self._allowed if each not in used] if sound else []
        return [*kept, *self._wrong, *unneeded]

    def _read(self, source: Source) -> Iterator[Allowance]:
        lines = _Lines(source)
        for token in _TOKEN.finditer(source.text):
            said = _ALLOW.match(token[0])
            if said is None:
                continue
            if said[1] != "allow":
                self._warn(source, token, said, 1, f"`{said[1]}` is not a known comment command", ("allow",))
                continue
            at, code = 0, _CODE.match(said[2])
            if code is None:
                self._warn(source, token, said, 0, "the comment does not name the code to allow", ())
            while code is not None:  # what follows the codes is the author's reason
                start = token.start() + said.start(2) + at
                yield from self._allow(
                    source, code[1], Span(start, start + len(code[1])), lines.spoken_of(token.start())
                )
                at = code.end()
                code = _CODE.match(said[2], at)

    def _allow(self, source: Source, code: str, span: Span, line: int) -> Iterator[Allowance]:
        if code in ADVICE and code != _UNNEEDED:
            yield Allowance(source, line, code, span)
            return
        guess = nearest(code, ADVICE)
        hint = f"did you mean `{guess}`?" if guess else None
        known = code in CODES
        message = f"{code} is an error; only warnings can be allowed" if known else f"there is no warning {code}"
        self._wrong.append(Diagnostic(_UNNEEDED, Severity.WARNING, source, span, message, None if known else hint))

    def _warn(
        self,
        source: Source,
        token: re.Match[str],
        said: re.Match[str],
        group: int,
        message: str,
        words: tuple[str, ...],
    ) -> None:
        start = token.start() + said.start(group)
        span = Span(start, start + len(said[group].rstrip()))
        hint = f"did you mean `{words[0]}`?" if words else "write # ach: allow ACH505"
        self._wrong.append(Diagnostic(_UNNEEDED, Severity.WARNING, source, span, message, hint))


class _Lines:
    """The lines of a file with code, to find the line that a comment applies to."""

    def __init__(self, source: Source) -> None:
        self._source = source
        lines = (line.strip() for line in source.text.split("\n"))
        self._saying = [number for number, line in enumerate(lines, 1) if line and line[0] != "#"]

    def spoken_of(self, comment: int) -> int:
        """Return the line of a comment, or the next line with code if the comment stands alone."""
        line, column = self._source.position(comment)
        if self._source.line(line)[: column - 1].strip():
            return line
        below = bisect_right(self._saying, line)
        return self._saying[below] if below < len(self._saying) else line


def _unneeded(each: Allowance) -> Diagnostic:
    message = f"nothing on line {each.line} causes {each.code}"
    return Diagnostic(_UNNEEDED, Severity.WARNING, each.source, each.span, message, "remove the comment")

"""Expectations rewritten to what was observed: only those that failed, and those of examples that expect nothing.

Layout and comments stay as they are: a failed line is replaced within its own span, and new lines go before the closing
brace, indented like the line above them. The author must read the difference: an example that was
rewritten would no longer express the author's intent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.outcome import clock_of, full_name, run
from dsl.source import Span
from dsl.story.expecting import meant, standings_of
from dsl.story.given import until_of
from dsl.syntax import Expect
from dsl.values import canonical_number, canonical_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.compile import Program
    from dsl.outcome import Outcome, Unlock
    from dsl.source import Source
    from dsl.story.verdict import Verdict

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


class Correction(NamedTuple):
    """A span of a file, and what is to stand there instead."""

    span: Span
    text: str


def corrections(program: Program, verdict: Verdict) -> list[Correction]:
    """Return the changes that make an example expect the actual result; none if its events are invalid."""
    if any(failure.line is None for failure in verdict.failures):
        return []
    outcome = run(program, verdict.events, until_of(verdict.example))
    found = [
        Correction(failure.span, _observed(program, verdict, outcome, failure.line))
        for failure in verdict.failures
        if failure.line is not None
    ]
    if any(isinstance(line, Expect) for line in verdict.example.lines):
        return found
    return [*found, *_completed(verdict, outcome)]


def corrected(source: Source, found: Iterable[Correction]) -> str:
    """Return the text of a file with its corrections; they do not overlap."""
    text = source.text
    for span, new in sorted(found, reverse=True):
        text = text[: span.start] + new + text[span.end :]
    return text


# -- a failed line ----------------------------------------------------------------------------------------------------


def _observed(program: Program, verdict: Verdict, outcome: Outcome, line: Expect) -> str:
    """Return the text that a failed line should have; several lines if there are several unlocks."""
    unlocks = [unlock for unlock in outcome.unlocks if meant(unlock, line)]
    named = [unlock for unlock in unlocks if line.occurrence is None or unlock.occurrence == line.occurrence]
    if line.progress is None and (named or unlocks):
        shown = (named or unlocks) if line.negated or line.occurrence is not None else (named or unlocks)[:1]
        between = "\n" + _indent(verdict.source, line.span.start)
        return between.join(dict.fromkeys(_earned(unlock) for unlock in shown))
    head = f"expect {_user(line.user)}"
    target = verdict.source.text[line.target.span.start : line.target.span.end]
    progress = _progress(program, verdict, outcome, line)
    if progress is None:
        which = "" if line.occurrence is None else f" occurrence {canonical_text(line.occurrence)}"
        return f"{head} not {target}{which}"
    return f"{head} {target} progress {progress}"


def _progress(program: Program, verdict: Verdict, outcome: Outcome, line: Expect) -> str | None:
    """Return the progress that there is, None where `not` says as much."""
    clock = clock_of(verdict.events, until_of(verdict.example))
    standing = None if line.occurrence is not None else next(standings_of(program, outcome, clock, line), None)
    if standing is None:
        return None if line.progress is None else f"0/{canonical_number(line.progress[1])}"
    measure = standing.measure
    if not measure.fraction and line.progress is None:
        return None
    if measure.current is None or measure.target is None:
        return f"{measure.fraction.numerator}/{measure.fraction.denominator}"
    return f"{canonical_number(measure.current)}/{canonical_number(measure.target)}"


# -- an example without expectations ----------------------------------------------------------------------------------


def _completed(verdict: Verdict, outcome: Outcome) -> Iterator[Correction]:
    lines = list(dict.fromkeys(_earned(unlock) for unlock in outcome.unlocks))
    given: Sequence[object] = verdict.example.lines
    if not lines or not given:
        return
    source, end = verdict.source, verdict.example.span.end - 1
    last = verdict.example.lines[-1].span
    body = source.text[last.end : end]
    if "\n" not in body:
        yield Correction(Span(end, end), "".join(f"{line} " for line in lines))
        return
    # Behind the last line and what is said behind it, before the line of the closing brace.
    place = source.text.rfind("\n", 0, end) + 1
    indent = _indent(source, last.start)
    yield Correction(Span(place, place), "".join(f"{indent}{line}\n" for line in lines))


def _earned(unlock: Unlock) -> str:
    name = full_name(unlock.achievement, unlock.tier)
    occurrence = "" if unlock.occurrence is None else f" occurrence {canonical_text(unlock.occurrence)}"
    return f"expect {_user(unlock.subject)} {name}{occurrence} at {_instant(unlock.earned_at)}"


def _instant(text: str) -> str:
    """Return an instant without a zero fraction."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    kept = fraction.rstrip("0")
    return f"{whole}.{kept}Z" if kept else f"{whole}Z"


def _user(text: str) -> str:
    return text if _NAME.fullmatch(text) and text != "not" else canonical_text(text)


def _indent(source: Source, at: int) -> str:
    """Return the white space that begins the line of a place."""
    line = source.text[source.text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]

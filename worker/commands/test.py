"""`ach test`: the examples of rule files, why they failed, and what no example has decided."""

from __future__ import annotations

import sys
from itertools import takewhile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import click
import msgspec

from dsl.compile import scope_of
from dsl.outcome import by_subject, clock_of
from dsl.syntax import Achievement
from dsl.words import target_name
from worker.commands.checked_rules import usable_rules
from worker.commands.examples import run_examples
from worker.commands.options import json_object_option, rules_argument
from worker.report import screen
from worker.rulefiles import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.compile import Program
    from dsl.coverage import Covered, Decision
    from dsl.ruleset import RuleSet
    from dsl.source import Source
    from dsl.story import Failure, Verdict
    from dsl.story.update import Correction
    from worker.report.junit import Case

FILE: Final = click.Path(dir_okay=False, path_type=Path)
SHOWN: Final = 6
"""Events that an explanation of a failure shows."""
_BOM: Final = b"\xef\xbb\xbf"


class Request(msgspec.Struct, frozen=True):
    """What `ach test` was asked for."""

    paths: tuple[Path, ...]
    junit: Path | None = None
    coverage: bool = False
    fail_under: float | None = None
    update: bool = False
    as_json: bool = False


class Ran(NamedTuple):
    """One example, and how long it took, in seconds."""

    verdict: Verdict
    seconds: float


@click.command("test")
@rules_argument
@click.option("--junit", metavar="FILE", type=FILE, help="Also write the results as JUnit XML.")
@click.option("--coverage", is_flag=True, help="Also print what no example has decided both ways.")
@click.option("--fail-under", metavar="N", type=click.FloatRange(0, 100), help="Exit 1 if the coverage is below N %.")
@click.option("--update", is_flag=True, help="Write what came out into expectations that failed, then run again.")
@json_object_option
def command(
    paths: Sequence[Path],
    junit: Path | None,
    *,
    coverage: bool,
    fail_under: float | None,
    update: bool,
    as_json: bool,
) -> None:
    """Run the examples in rule files: in order, shuffled, doubled and in batches.

    A failure is printed with the events that mattered and what is missing. --update changes the `expect` lines that
    failed and adds some to examples without any; look at the difference before you keep it.
    """
    request = Request(tuple(paths), junit, coverage, fail_under, update, as_json)
    sys.exit(0 if _test(usable_rules(paths), request) else 1)


def _test(rules: RuleSet, request: Request) -> bool:
    """Run the examples and print what came of it; return whether everything is well."""
    ran = list(_timed(run_examples(rules)))
    if request.update and _update(rules, [each.verdict for each in ran]):
        rules = load(request.paths)
        ran = list(_timed(run_examples(rules)))
    if request.junit is not None:
        from worker.report.junit import report  # noqa: PLC0415 - examples that pass are run at every save

        request.junit.write_bytes(report([_case(rules, each) for each in ran]))
    covered = _covered(rules, [each.verdict for each in ran], request)
    if request.as_json:
        screen.say_json(_as_json(ran, covered))
    else:
        _print(rules, ran)
        if covered is not None:
            _print_coverage(rules, covered, request)
    if not ran:
        hint = 'add an example "..." { ... } block to a rule file; docs/language.md, section Examples, has some'
        screen.fail("nothing was tested: the rules have no example", hint)
    passed = bool(ran) and not any(each.verdict.failures for each in ran)
    return passed and (covered is None or _is_enough(covered, request))


def _as_json(ran: Sequence[Ran], covered: Sequence[Covered] | None) -> dict[str, object]:
    failed = sum(bool(each.verdict.failures) for each in ran)
    found: dict[str, object] = {"passed": len(ran) - failed, "failed": failed}
    if covered is not None:
        from dsl.coverage import total  # noqa: PLC0415 - see _test

        rows = [{"achievement": each.achievement, "decided": each.seen, "of": each.sides} for each in covered]
        found["coverage"] = {"percent": round(total(covered), 1), "achievements": rows}
    return {**found, "examples": [_ran_json(each) for each in ran]}


def _ran_json(ran: Ran) -> dict[str, object]:
    verdict = ran.verdict
    line, _ = verdict.source.position(verdict.example.span.start)
    failures = [
        {"line": failure.source.position(failure.span.start)[0], "expected": failure.expected, "got": failure.got}
        for failure in verdict.failures
    ]
    about = {"file": verdict.source.name, "line": line, "title": verdict.example.title}
    return {**about, "seconds": round(ran.seconds, 6), "failures": failures}


def _timed(verdicts: Iterable[Verdict]) -> Iterator[Ran]:
    """Yield verdicts, which are made as they are asked for, with the time that each took."""
    began = perf_counter()
    for verdict in verdicts:
        yield Ran(verdict, perf_counter() - began)
        began = perf_counter()


# -- failures ---------------------------------------------------------------------------------------------------------


def _print(rules: RuleSet, ran: Sequence[Ran]) -> None:
    """Print what failed and a summary."""
    failed = sum(bool(each.verdict.failures) for each in ran)
    for each in ran:
        for failure in each.verdict.failures:
            head, *lines = _failure(rules, each.verdict, failure)
            screen.out().say(head, style="bold red")
            for line in lines:
                screen.out().say(line)
            screen.out().print()
    summary = f"{screen.plural(len(ran), 'example')}: {len(ran) - failed} passed, {failed} failed"
    screen.out().print(summary, style="bold red" if failed or not ran else "bold green")


def _failure(rules: RuleSet, verdict: Verdict, failure: Failure) -> Iterator[str]:
    """Yield a failure in lines: where, what was expected, what there is, and why."""
    line, column = failure.source.position(failure.span.start)
    text = failure.source.line(line)
    width = max(1, min(failure.span.end - failure.span.start, len(text) - column + 1))
    yield f'{failure.source.name}:{line}:{column}: example "{failure.example}"'
    yield f"{line:>5} | {text}"
    yield f"      | {'':>{column - 1}}{'^' * width}"
    yield f"      = expected: {failure.expected}"
    yield f"      =      got: {failure.got}"
    if any(other.line is not None and _asks(other) == _asks(failure) for other in _before(verdict, failure)):
        yield "      = why: explained above"
        return
    for why in _why(rules, verdict, failure):
        yield f"      | {why}".rstrip()


def _before(verdict: Verdict, failure: Failure) -> Iterator[Failure]:
    return takewhile(lambda other: other is not failure, verdict.failures)


def _asks(failure: Failure) -> object:
    """Return what an explanation of the failure is about."""
    line = failure.line
    return None if line is None else (line.user, line.occurrence, target_name(line.target))


def _why(rules: RuleSet, verdict: Verdict, failure: Failure) -> Iterator[str]:
    """Yield what explains the failure of an expectation: the events that mattered, and what is missing."""
    expected = failure.line
    if expected is None or rules.program is None:
        return
    from dsl.explain import Asked, MeantError, explain, tiers_of  # noqa: PLC0415 - see _test
    from dsl.explain.text import render  # noqa: PLC0415
    from dsl.story.given import until_of  # noqa: PLC0415

    name = expected.target.achievement.text
    scope = scope_of(rules.rules.achievements[name][0])
    found = {
        subject: events
        for subject, events in by_subject(rules.program, verdict.events).items()
        if (subject.scope, subject.subject) == (scope, expected.user)
    }
    if not found:
        yield ""
        yield f"these rules hear no event of {scope} {expected.user}"
    now = clock_of(verdict.events, until_of(verdict.example))
    tiers = tiers_of(rules.rules, name) if expected.target.tier is None else [expected.target.tier.text]
    for subject, events in found.items():
        for tier in tiers:
            asked = Asked(subject.tenant_id, subject.subject, name, tier, expected.occurrence, now)
            yield ""
            try:
                yield from render(explain(rules.rules, asked, events), events=SHOWN)
            except MeantError as error:
                yield str(error)


def _case(rules: RuleSet, ran: Ran) -> Case:
    from worker.report.junit import Case  # noqa: PLC0415 - see _test

    verdict = ran.verdict
    line, _ = verdict.source.position(verdict.example.span.start)
    failures = ["\n".join(_failure(rules, verdict, failure)) for failure in verdict.failures]
    messages = [f"expected: {failure.expected}; got: {failure.got}" for failure in verdict.failures]
    return Case(
        verdict.source.name, verdict.example.title, line, ran.seconds, tuple(zip(messages, failures, strict=True))
    )


# -- updates ----------------------------------------------------------------------------------------------------------


def _update(rules: RuleSet, verdicts: Iterable[Verdict]) -> bool:
    """Write what was observed into the files; return whether there was anything to write."""
    if rules.program is None:
        raise AssertionError(rules.problems)
    from dsl.story.update import corrected, corrections  # noqa: PLC0415 - see _test

    changed: dict[Source, list[Correction]] = {}
    for verdict in verdicts:
        if found := corrections(rules.program, verdict):
            changed.setdefault(verdict.source, []).extend(found)
    for source, found in changed.items():
        _write(source, corrected(source, found))
        screen.err().print(f"{source.name}: {screen.plural(len(found), 'expectation')} written")
    return bool(changed)


def _write(source: Source, text: str) -> None:
    """Write a file back as it was read: the same mark at its beginning, the same ends of lines."""
    path = Path(source.name)
    mark = _BOM if path.read_bytes().startswith(_BOM) else b""
    if "\r\n" in source.text:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    path.write_bytes(mark + text.encode())


# -- coverage ---------------------------------------------------------------------------------------------------------


def cover(rules: RuleSet, program: Program, verdicts: Iterable[Verdict]) -> list[Covered]:
    """Return what the examples cover of each achievement."""
    from dsl.coverage import Coverage  # noqa: PLC0415 - see _test

    coverage = Coverage(rules.rules, program)
    for verdict in verdicts:
        coverage.take(verdict.example, verdict.events)
    return coverage.covered()


def _covered(rules: RuleSet, verdicts: Sequence[Verdict], request: Request) -> list[Covered] | None:
    """Return what is covered, where it is asked for."""
    if not request.coverage and request.fail_under is None:
        return None
    if rules.program is None:
        raise AssertionError(rules.problems)
    return cover(rules, rules.program, verdicts)


def _is_enough(covered: Sequence[Covered], request: Request) -> bool:
    from dsl.coverage import total  # noqa: PLC0415 - see _test

    return request.fail_under is None or total(covered) >= request.fail_under


def _print_coverage(rules: RuleSet, covered: Sequence[Covered], request: Request) -> None:
    """Print what is covered."""
    sources = _sources(rules)
    if request.coverage:
        rows = [(each.achievement, f"{each.seen}/{each.sides}", f"{each.percent:.0f}%") for each in covered]
        screen.table("", ["achievement", "decided", "coverage"], rows, right=(1, 2))
        for each in covered:
            for decision in each.left:
                screen.out().print(_left(sources, decision))
    against = "" if request.fail_under is None else f", {request.fail_under:g}% wanted"
    style = "bold green" if _is_enough(covered, request) else "bold red"
    from dsl.coverage import total  # noqa: PLC0415 - see _test

    screen.out().print(f"coverage: {total(covered):.1f}%{against}", style=style)


def _sources(rules: RuleSet) -> dict[tuple[str, int], Source]:
    """Return the file of every version."""
    return {
        (declaration.name.text, declaration.version): file.source
        for file in rules.written_out
        for declaration in file.declarations
        if isinstance(declaration, Achievement)
    }


def _left(sources: dict[tuple[str, int], Source], decision: Decision) -> str:
    source = sources[decision.achievement, decision.version]
    line, column = source.position(decision.span.start)
    return f"{source.name}:{line}:{column}: {decision.achievement}: {decision.text}: {decision.lacks}"

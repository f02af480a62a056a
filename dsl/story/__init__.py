"""Examples in rule files, run: the tests that live beside the rules they test.

Each example's events are folded in canonical order, and what is expected is compared with what came out. Then the same
events are fed shuffled, duplicated and split into batches, through the incremental way a worker takes (step what is
later, fold again what is late), and the outcome must not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.outcome import clock_of, run
from dsl.story.arrival import Arrival, reordered
from dsl.story.expecting import check, expected
from dsl.story.given import TENANT, GivenEvents, until_of
from dsl.story.verdict import Failure, Verdict
from dsl.syntax import Expect

if TYPE_CHECKING:
    from dsl.compile import Program
    from dsl.schema import Rules
    from dsl.source import Source
    from dsl.syntax import Example

__all__ = ["TENANT", "Arrival", "Failure", "Verdict", "run_example"]


def run_example(rules: Rules, program: Program, source: Source, example: Example) -> Verdict:
    """Run one example, in order and in every other way its events may arrive."""
    given = GivenEvents(rules, source, example)
    events = tuple(given.events())
    if given.failures:
        return Verdict(source, example, tuple(given.failures), events)
    until = until_of(example)
    outcome, clock = run(program, events, until), clock_of(events, until)
    for line in example.lines:
        if isinstance(line, Expect):
            got = check(program, outcome, clock, line)
            if got is not None:
                given.fail(line.span, expected(line), got, line)
    given.failures.extend(reordered(program, events, outcome, source, example))
    return Verdict(source, example, tuple(given.failures), events)

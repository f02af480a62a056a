"""How long a large rule set takes to check, to get advice on and to compile, and how much memory: 10,000 achievements.

    python bench/check_many.py [NUMBER]

The rules are made up: counts, distinct counts, sums, streaks, sequences, windows, compositions, `unless`, extremes and
tiers, over a few events and many bounds. Exits with 1 where a limit is missed.
"""

from __future__ import annotations

import resource
import sys
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, TypeVar

from dsl.advice import examine
from dsl.check import check
from dsl.compile import compile_rules
from dsl.diagnostics import Severity
from dsl.parse import parse
from dsl.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

NUMBER: Final = 10_000
MAX_SECONDS: Final = 10.0
"""Processor time of parsing, checking and compiling together."""
MAX_MEGABYTES: Final = 500.0

_EVENTS: Final = """\
event lesson.completed { lesson_id: string, course_id: string?, seconds: int >= 0, amount: decimal >= 0 }
event quiz.passed { score: int >= 0 }
event quiz.failed {}
event team.invited {}
traits from user.updated { plan: string, timezone: string }
"""


def rules(number: int) -> str:
    """Return a rule file with so many achievements."""
    return _EVENTS + "\n".join(_achievement(n) for n in range(number))


def _achievement(n: int) -> str:
    head, words = f'achievement a{n} {{\n  title  "Achievement {n}"', f'  about  "Something about number {n}."'
    if n % 10 == 0:
        low, high = n % 100 + 1, n % 100 + 10
        return (
            f"{head}\n{words}\n"
            f"  tier bronze {{ when count(event=lesson.completed, >= {low}) reward {{ xp: 10 }} }}\n"
            f"  tier silver {{ when count(event=lesson.completed, >= {high}) reward {{ xp: 20 }} }}\n}}\n"
        )
    return f'{head}\n{words}\n  when   {_when(n)}\n  reward {{ xp: {n % 100}, badge: "b{n}" }}\n}}\n'


def _when(n: int) -> str:
    course = f'lesson.completed where course_id = "c{n % 300}"'
    conditions = (
        f"count(event=lesson.completed, >= {n})",
        f"count(event=lesson.completed, distinct=lesson_id, >= {n % 50 + 1})",
        f"sum(event={course}, of=seconds, >= {n})",
        f"streak(event=lesson.completed, per=day, >= {n % 30 + 2}, grace=1, tz=user)",
        f"sequence([{course}, quiz.passed, team.invited], within={n % 30 + 1}d)",
        f"all(count(event=quiz.passed where score > {n % 100}, >= 3), count(event=team.invited, >= 1), within=7d)",
        f"count(event=quiz.passed, >= {n % 20 + 2}, unless=quiz.failed)",
        f"max(event=quiz.passed, of=score, >= {n})",
        f"count(event={course} and seconds > {n % 60}, >= 2, per=week)",
    )
    return conditions[n % len(conditions)]


class Clock:
    """Measures steps, and prints each."""

    def __init__(self) -> None:
        self.used = 0.0

    def step(self, what: str, work: Callable[[], T]) -> T:
        """Do something, and print how long it took on the wall and of the processor."""
        wall, used = perf_counter(), process_time()
        done = work()
        wall, used = perf_counter() - wall, process_time() - used
        self.used += used
        print(f"{what:>10} {used:6.2f} s of processor, {wall:6.2f} s, {megabytes():6.0f} MB")
        return done


def megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _steps(text: str, clock: Clock) -> Iterator[bool]:
    parse(Source("none.ach", ""))  # the grammar is read once a process
    file, problems = clock.step("parse", lambda: parse(Source("many.ach", text)))
    checked, found = clock.step("check", lambda: check([file]))
    yield not any(each.severity is Severity.ERROR for each in (*problems, *found))
    clock.step("compile", lambda: compile_rules(checked))
    yield clock.used < MAX_SECONDS
    clock.step("advise", lambda: examine([file], checked, found))
    yield megabytes() < MAX_MEGABYTES


def main() -> int:
    """Measure, and tell whether all limits were kept."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER
    text = rules(number)
    print(f"{number} achievements, {len(text) / 1e6:.1f} MB of text")
    clock = Clock()
    good = all(list(_steps(text, clock)))
    print(f"{'in all':>10} {clock.used:6.2f} s of processor, {megabytes():.0f} MB: {'kept' if good else 'missed'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

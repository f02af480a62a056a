"""What an event of a keyed condition costs in the fold, by how many groups its user has: `python -m bench.groups`.

Each condition is folded for users with 10, 1,000 and 100,000 values; then events of random values are timed. Prints
the rows of the table in docs/performance.md: time of an event, memory of the state, its text, and what writing it
costs after events of 32 groups.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.event import Event
from dsl.fold import start, step
from dsl.progress import encode
from dsl.ruleset import build

if TYPE_CHECKING:
    from dsl.compile import Plan
    from dsl.progress import State

CONDITIONS: Final = {
    "`count(..., by=post)`": "when count(event=like, >= 1_000_000, by=post)",
    "`repeat by post`": "when count(event=like, distinct=liker, >= 10) repeat by post",
    "`count(by=post, ...)`": "when count(by=post, count(event=like, >= 1_000), >= 100_000)",
    "`within=1h, by=post`": "when count(event=like, >= 1_000, within=1h, by=post)",
}
GROUPS: Final = (10, 1_000, 100_000)
TIMED: Final = 20_000
BETWEEN_SAVES: Final = 32
MINUTE: Final = 60_000_000


class Measured(NamedTuple):
    """Microseconds an event, megabytes in memory and as text, milliseconds to write."""

    event: float
    memory: float
    text: float
    writing: float


def _like(number: int, value: int) -> Event:
    fields = {"post": f"post-{value}", "liker": f"u{number % 7}"}
    return Event("t", f"e{number:08d}", "like", "u", number * MINUTE, 0, dict(fields))


def _grown(plan: Plan, groups: int) -> State:
    state = start(plan)
    for number in range(groups):
        step(plan, state, _like(number, number))
    return state


def measure(when: str, groups: int) -> Measured:
    """Fold as many groups, and time what comes then."""
    text = f'event like {{ post: string, liker: string }} achievement x {{ title "X" {when} }}'
    program = build([("rules.ach", text.encode())]).program
    if program is None:
        raise ValueError(when)
    plan, dice = program.scopes["user"], Random(1)  # noqa: S311 - no secret
    tracemalloc.start()
    state = _grown(plan, groups)
    gc.collect()
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    events = [_like(groups + number, dice.randrange(groups)) for number in range(TIMED + BETWEEN_SAVES)]
    began = time.process_time()
    for event in events[:TIMED]:
        step(plan, state, event)
    took = (time.process_time() - began) / TIMED
    encode(state)
    for event in events[TIMED:]:
        step(plan, state, event)
    began = time.process_time()
    written = encode(state)
    return Measured(took * 1e6, memory / 1e6, len(written) / 1e6, (time.process_time() - began) * 1e3)


def main() -> None:
    """Print the table."""
    print("| condition | groups | µs an event | memory, MB | text, MB | ms to write |\n|---|---|---|---|---|---|")
    for name, when in CONDITIONS.items():
        for groups in GROUPS:
            found = measure(when, groups)
            print(
                f"| {name} | {groups:,} | {found.event:.1f} | {found.memory:.1f} | {found.text:.2f}"
                f" | {found.writing:.2f} |"
            )


if __name__ == "__main__":
    main()

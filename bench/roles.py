"""`just roles-bench`: what an event costs that names one more user, beside the same event that says it in a string.

The events are those of the benchmark, and each one names another user. Under one contract that is a string; under the
other it is a user, rules count it for that user, and every event has a row that says so. CPU is compared, as in
bench/group.py, with one worker; the two take turns.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.events import SEED, Shape, make
from bench.group import ONE, Cost, measured
from bench.rig import RULES, rig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.events import Event

MORE: Final = """
achievement coach { title "Coach" when count(event=lesson.completed as coach, >= 100) }
achievement asked { title "Asked by ten" when count(event=project.created as coach, distinct=actor, >= 10) }
"""


def rules(kind: str) -> str:
    """Return the rules of the benchmark with a coach in each event: a `string`, or a `user` that rules count it for."""
    text = RULES.read_text(encoding="utf-8")
    for name, fields in (("lesson.completed", "{ lesson_id"), ("tutorial.finished", "{}"), ("project.created", "{}")):
        more = f"{{ coach: {kind}, lesson_id" if fields != "{}" else f"{{ coach: {kind} }}"
        text = text.replace(f"event {name} {fields}", f"event {name} {more}")
    return text + (MORE if kind == "user" else "")


def with_coaches(events: Sequence[Event]) -> list[Event]:
    """Return events that name a user each, by chance one of those who do something."""
    dice = Random(SEED)  # noqa: S311 - reproducible on purpose
    users = sorted({event.user for event in events})
    made: list[Event] = []
    for event in events:
        said = json.loads(event.body)
        said["payload"]["coach"] = dice.choice(users)
        made.append(event._replace(body=json.dumps(said, separators=(",", ":")).encode()))
    return made


async def run(number: int, rounds: int) -> dict[str, list[Cost]]:
    """Measure both, in turns, so often."""
    events = with_coaches(make(Shape(events=number)))
    found: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="ach-bench-") as name:
        folder = Path(name)
        for kind in ("string", "user"):
            (folder / f"{kind}.ach").write_text(rules(kind), encoding="utf-8")
        async with rig() as bench:
            for _ in range(rounds):
                for kind in ("string", "user"):
                    cost = await measured(bench, ONE, events, 1, folder, folder / f"{kind}.ach")
                    found.setdefault(kind, []).append(cost)
                    sys.stderr.write(f"{kind}: {json.dumps(cost._asdict())}\n")
    return found


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found = asyncio.run(run(asked.events, asked.rounds))
    middles = {kind: Cost(*(median(column) for column in zip(*costs, strict=True))) for kind, costs in found.items()}
    plain = middles["string"]
    sys.stdout.write("| the other user is | worker µs | database µs | events/s | rate by CPU | rate by time |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for kind, cost in middles.items():
        sys.stdout.write(
            f"| a {kind} | {cost.worker:.1f} | {cost.database:.1f} | {cost.rate:,.0f} |"
            f" {plain.ours / cost.ours:.2f} | {cost.rate / plain.rate:.2f} |\n"
        )


if __name__ == "__main__":
    main()

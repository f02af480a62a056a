"""Where the CPU of a large `ach replay` goes: `just bench replay --where`.

It runs in one process, with a clock around its parts; the collector rests, as in the command.
"""

from __future__ import annotations

import time
from collections import defaultdict
from functools import wraps
from typing import TYPE_CHECKING, Any

from worker.commands.checked_rules import usable_rules
from worker.commands.replay.request import Request
from worker.contract.bulk_reader import PlainReader
from worker.engine import shards, subject_folds
from worker.recording import pieces
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def _parts() -> Iterator[tuple[Any, str, str]]:
    """Yield functions, each with what is left of it once those within are taken off."""
    from worker.commands.replay.large import LargeReplay

    yield LargeReplay, "take", "divide it: spill to the file"
    yield shards.Router, "route", "divide it: send to shards"
    yield shards, "keys_of", "divide it: read whose each event is"
    yield shards, "_taken", "ids, duplicates"
    yield PlainReader, "read_joined", "read by the contract"
    yield shards, "events_of_users", "by users"
    yield shards, "put_in_order", "in order"
    yield shards, "fold_subjects", "progress for the digest, and unlocks"
    yield subject_folds, "fold", "fold"
    yield shards, "fold_users", "hashes of ids, and memory given back"
    yield LargeReplay, "_foreign", "compare ids of shards"
    yield LargeReplay, "_sum", "the digest, and unlocks in order"


def where(file: Path, rules: Path, lines: int) -> Iterator[str]:
    """Yield a table: microseconds of CPU an event, by part."""
    from worker.commands.replay.large import run_large

    took = defaultdict[str, float](float)
    within: list[float] = []

    def timed(function: Callable[..., object], name: str) -> Callable[..., object]:
        @wraps(function)
        def run(*args: object, **named: object) -> object:
            within.append(0.0)
            began = time.process_time()
            try:
                return function(*args, **named)
            finally:
                spent = time.process_time() - began
                took[name] += spent - within.pop()
                if within:
                    within[-1] += spent

        return run

    for owner, function, name in _parts():
        setattr(owner, function, timed(getattr(owner, function), name))
    checked = usable_rules([rules])
    if checked.program is None:
        raise AssertionError(checked.problems)
    request = Request((str(file),), now=time.time_ns() // 1000, quiet=True, jobs=1)
    began = time.process_time()
    with without_collector():
        run_large(checked.rules, checked.program, pieces(request.streams), request)
    total = time.process_time() - began
    yield "| of a large replay, in one process | CPU µs an event |\n|---|---|"
    for name, seconds in [*took.items(), ("read the lines, and all else", total - sum(took.values()))]:
        yield f"| {name} | {seconds / lines * 1e6:.2f} |"
    yield f"| together | {total / lines * 1e6:.2f} |"

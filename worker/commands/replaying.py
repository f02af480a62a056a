"""`ach replay`: a recorded stream folded, printed, and compared with what was expected."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker.engine.replay import Difference, Expected, Result, compare, replay
from worker.local.locks import EmbeddedError
from worker.process import logs
from worker.process.loop import run_async
from worker.recording import RecordingError, lines
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.outcome import Unlock
    from worker.contract.strict_reader import Rejected
    from worker.rulefiles import RuleSet

SHOWN = 20
"""Differences and dead letters that are listed; the rest is counted."""
SKEW = 300 * 1_000_000
"""How far ahead of the clock an event may be, in microseconds."""


class Request(msgspec.Struct, frozen=True):
    """What was asked for; `now` in microseconds."""

    streams: tuple[str, ...]
    now: int
    as_json: bool = False
    expect: Path | None = None
    through_worker: bool = False


def replay_command(rules: RuleSet, request: Request) -> bool:
    """Replay and print; tell whether the result is the one expected."""
    expected = None if request.expect is None else _read_expected(request.expect)
    try:
        result, dead = _run(rules, request)
    except (RecordingError, EmbeddedError) as error:
        screen.fail(str(error))
        return False
    if request.as_json:
        screen.say_json(result)
    else:
        _tell(result, dead)
    tested = _tell_untested(result)
    if expected is None:
        return tested
    difference = compare(result, expected)
    _tell_difference(difference, len(expected.unlocks))
    return difference is None and tested


def _tell_untested(result: Result) -> bool:
    """Say that the streams held no event, where that is so; return whether they held one.

    A run in CI that reads the wrong file should not pass.
    """
    counts = result.counts
    if counts.events:
        return True
    why = f"each of its {counts.dead:,} messages is a dead letter" if counts.dead else "it is empty"
    screen.fail(f"nothing was tested: the stream has no event, {why}", "is it the right file?")
    return False


def _run(rules: RuleSet, request: Request) -> tuple[Result, list[Rejected]]:
    if request.through_worker:
        return _run_through(rules, request), []
    if rules.program is None:
        raise AssertionError(rules.problems)
    with screen.progress("reading") as move:
        return replay(rules.rules, rules.program, _moving(request, move), now=request.now, skew=SKEW)


def _run_through(rules: RuleSet, request: Request) -> Result:
    from worker.local.replay_worker import replay_through  # noqa: PLC0415 - servers and their clients, only where asked for

    logs.quiet()
    messages = list(lines(request.streams))
    with screen.status("starting servers") as tell:
        work = partial(
            replay_through,
            rules,
            messages,
            now=request.now,
            on_progress=lambda what, done: tell(f"{what} {done:,} of {len(messages):,} messages"),
        )
        return run_async(work)


def _moving(request: Request, move: screen.Move) -> Iterator[bytes]:
    for number, line in enumerate(lines(request.streams), 1):
        if number % 1000 == 0:
            move(1000, "")
        yield line


def _read_expected(path: Path) -> Expected:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Expected)
    except msgspec.MsgspecError as error:
        raise screen.usage(f"{path}: not a stored result (of `ach replay --json`): {error}") from error


# -- telling ----------------------------------------------------------------------------------------------------------


def _tell(result: Result, dead: list[Rejected]) -> None:
    tell_unlocks(result.unlocks)
    counts = result.counts
    screen.table(
        "",
        ["events", "duplicates", "late", "suppressed", "dead letters", "contested"],
        [[f"{n:,}" for n in (*msgspec.structs.astuple(counts), len(result.contested))]],
        right=range(6),
    )
    if dead:
        screen.table("Dead letters", ["reason", "detail"], [(item.reason.value, item.detail) for item in dead[:SHOWN]])
        if len(dead) > SHOWN:
            screen.out().print(f"... and {len(dead) - SHOWN:,} more")
    screen.out().print(f"digest {result.digest}")


def tell_unlocks(unlocks: list[Unlock]) -> None:
    """Print how many subjects have what."""
    totals = Counter((unlock.achievement, unlock.tier or "") for unlock in unlocks)
    subjects = {key: len({u.subject for u in unlocks if (u.achievement, u.tier or "") == key}) for key in totals}
    rows = [(name, tier, f"{totals[name, tier]:,}", f"{subjects[name, tier]:,}") for name, tier in sorted(totals)]
    title = f"{screen.plural(len(unlocks), 'unlock')}"
    screen.table(title, ["achievement", "tier", "unlocks", "subjects"], rows, right=(2, 3))


def _tell_difference(difference: Difference | None, expected: int) -> None:
    console = screen.err()
    if difference is None:
        console.print(f"as expected: {screen.plural(expected, 'unlock')}", style="bold green")
        return
    missing, unexpected = difference.missing, difference.unexpected
    console.print(f"not as expected: {len(missing):,} missing, {len(unexpected):,} unexpected", style="bold red")
    for sign, style, unlocks in (("-", "red", missing), ("+", "green", unexpected)):
        for unlock in unlocks[:SHOWN]:
            console.say(f"{sign} {_line(unlock)}", style=style)
        if len(unlocks) > SHOWN:
            console.print(f"{sign} ... and {len(unlocks) - SHOWN:,} more", style=style)
    if difference.digest is not None:
        console.print(f"digest expected {difference.digest[0]}\n       got      {difference.digest[1]}")


def _line(unlock: Unlock) -> str:
    name = ".".join(part for part in (unlock.achievement, unlock.tier) if part)
    occurrence = "" if unlock.occurrence is None else f" [{unlock.occurrence}]"
    who = (
        f"{unlock.tenant_id} {unlock.subject}"
        if unlock.scope == "user"
        else f"{unlock.tenant_id} {unlock.scope}={unlock.subject}"
    )
    return f"{who} {name}{occurrence} v{unlock.version} at {unlock.earned_at}"

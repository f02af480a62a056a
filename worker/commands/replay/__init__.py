"""`ach replay`: recorded streams or the ledger folded, and the result printed or compared."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Final, TypedDict

import click
import msgspec

from dsl.outcome import full_name, subject_name
from dsl.renames import under_first_names
from worker.commands.checked_rules import usable_rules
from worker.commands.options import EXISTING_FILE, NAMED, PATHS, microseconds, quiet_option, wall_clock
from worker.commands.replay.request import SKEW, ProcessDiedError, Request, new_mark
from worker.commands.unlock_totals import print_unlock_totals
from worker.engine.renames import NO_RENAMES
from worker.engine.replay import Difference, Expected, Result, as_called, compare, replay
from worker.local.locks import EmbeddedError
from worker.recording import RecordingError, pieces
from worker.report import screen
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Unpack

    from dsl.outcome import Unlock
    from dsl.ruleset import RuleSet
    from worker.contract.strict_reader import Rejected

SHOWN: Final = 20
"""Differences and dead letters that are listed; the rest is counted."""
MOST_JOBS: Final = 64
"""There are no more shards to fold, as a rule."""
IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
"""Of a recording that is folded in memory, which takes some five times as many; a larger one is divided."""


class OfLedger(TypedDict):
    """Options of --from-ledger."""

    since: str | None
    until: str | None
    day: str | None
    tenant: str | None
    user: str | None
    twice: bool
    from_ledger: bool


@click.command("replay")
@click.argument("streams", nargs=-1, metavar="[STREAM...]")
@click.option("--rules", "-r", "paths", multiple=True, metavar="PATH", type=PATHS, help="Rule file or folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: digest, unlocks, contested, counts.")
@click.option(
    "--expect",
    metavar="FILE",
    type=EXISTING_FILE,
    help="Compare with a stored result (of --json); exit 1 and show the difference.",
)
@click.option(
    "--through-worker",
    is_flag=True,
    help="Run through NATS, a worker and PostgreSQL (private ones) instead of in this process.",
)
@click.option("--now", metavar="INSTANT", help="What counts as now, for events from the future (default: the clock).")
@click.option(
    "--from-ledger",
    is_flag=True,
    help="Fold the events of DATABASE_URL and compare with what it has granted; --rules tries other rules.",
)
@click.option("--since", metavar="INSTANT", help="With --from-ledger: events that occurred then or later.")
@click.option("--until", metavar="INSTANT", help="Only events that occurred earlier; the clock goes up to there.")
@click.option("--day", metavar="DATE", help="With --from-ledger: the events of a day (UTC), such as 2026-05-01.")
@click.option("--tenant", "-t", type=NAMED, metavar="T", help="With --from-ledger: of one tenant.")
@click.option("--user", "-u", type=NAMED, metavar="U", help="With --from-ledger: of one user; needs --tenant.")
@click.option("--twice", is_flag=True, help="With --from-ledger: fold twice, and compare the digests.")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, MOST_JOBS),
    metavar="N",
    help="Processes that fold a large recording (default: one a core).",
)
@quiet_option
def command(  # noqa: PLR0913 - its options
    streams: Sequence[str],
    paths: Sequence[Path],
    now: str | None,
    expect: Path | None,
    jobs: int | None,
    *,
    as_json: bool,
    through_worker: bool,
    quiet: bool,
    **of_ledger: Unpack[OfLedger],
) -> None:
    """Fold recorded streams (JSON Lines, also .gz and .zst; `-` is standard input) and print what comes out.

    Nothing is stored, and no server is needed unless --through-worker asks for private ones, or --from-ledger for the
    database. With --from-ledger, the exit code is 1 if production does not have what the events earn by the rules in
    force.
    """
    if of_ledger["from_ledger"]:
        if streams or through_worker or any(one is not None for one in (expect, now, jobs)):
            raise click.UsageError("--from-ledger takes no STREAM, --expect, --through-worker, --now or --jobs")
        from worker.commands.replay.ledger import replay_from_ledger

        rules = usable_rules(paths) if paths else None
        sys.exit(0 if replay_from_ledger(rules, of_ledger, as_json=as_json, quiet=quiet) else 1)
    until = of_ledger["until"]
    if name := next((name for name, value in of_ledger.items() if value and name != "until"), None):
        raise click.UsageError(f"--{name} goes with --from-ledger")
    if until is not None and through_worker:
        raise click.UsageError("--until goes without --through-worker, whose clock is the latest event")
    if not streams or not paths:
        raise click.UsageError("name a STREAM and --rules, or --from-ledger")
    at = wall_clock() if now is None else microseconds(now)
    end = None if until is None else microseconds(until)
    request = Request(
        tuple(streams), at, end, as_json=as_json, expect=expect, through_worker=through_worker, quiet=quiet, jobs=jobs
    )
    sys.exit(0 if _replay(usable_rules(paths), request) else 1)


def _replay(rules: RuleSet, request: Request) -> bool:
    """Replay and print; return whether the result is the expected one."""
    expected = None if request.expect is None else _read_expected(request.expect)
    rules = under_first_names(rules)
    renames = NO_RENAMES.with_rules(rules)
    try:
        result, dead = _run(rules, request)
        result = as_called(result, renames)
    except (RecordingError, EmbeddedError) as error:
        screen.fail(str(error))
        return False
    except ProcessDiedError as error:
        screen.fail(str(error), "is there memory for it? --jobs 1 takes one process")
        return False
    except OSError as error:
        screen.fail(f"a temporary file: {error.strerror or error}", "TMPDIR names another folder")
        return False
    if request.as_json:
        screen.say_json(result)
    else:
        _print(result, dead)
    tested = _has_events(result)
    if expected is None:
        return tested
    difference = compare(result, renames.shown_in(expected))
    _print_difference(difference, len(expected.unlocks))
    return difference is None and tested


def _has_events(result: Result) -> bool:
    """Return whether the streams held an event; print that they held none.

    A run in CI that reads the wrong file should not pass.
    """
    counts = result.counts
    if counts.events:
        return True
    why = f"each of its {counts.dead:,} messages is a dead letter" if counts.dead else "it is empty"
    hint = (
        "is it the right file? each line has one event, or one array of events, as JSON"
        if counts.dead
        else "is it the right file?"
    )
    screen.fail(f"nothing was tested: the stream has no event, {why}", hint)
    return False


def _run(rules: RuleSet, request: Request) -> tuple[Result, list[Rejected]]:
    if request.through_worker:
        from worker.commands.replay.through import run_through

        return run_through(rules, request), []
    if rules.program is None:
        raise AssertionError(rules.problems)
    with without_collector():
        waiting = pieces(request.streams)
        head = _head(waiting)
        if sum(map(_bytes_of, head)) >= IN_MEMORY_BYTES:
            from worker.commands.replay.large import run_large

            return run_large(rules.rules, rules.program, chain(head, waiting), request)
        messages = chain.from_iterable(chain(head, waiting))
        mark = new_mark()
        return replay(rules.rules, rules.program, messages, now=request.now, skew=SKEW, mark=mark, until=request.until)


def _head(waiting: Iterator[list[bytes]]) -> list[list[bytes]]:
    """Return the first pieces of a recording, all of them if they have room in memory."""
    head: list[list[bytes]] = []
    size = 0
    while size < IN_MEMORY_BYTES and (piece := next(waiting, None)) is not None:
        head.append(piece)
        size += _bytes_of(piece)
    return head


def _bytes_of(piece: list[bytes]) -> int:
    return sum(map(len, piece))


def _read_expected(path: Path) -> Expected:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Expected)
    except msgspec.MsgspecError as error:
        raise screen.usage(f"{path}: not a stored result (of `ach replay --json`): {error}") from error


# -- what is printed --------------------------------------------------------------------------------------------------


def _print(result: Result, dead: list[Rejected]) -> None:
    print_unlock_totals(result.unlocks)
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


def _print_difference(difference: Difference | None, expected: int) -> None:
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
    name = full_name(unlock.achievement, unlock.tier, unlock.occurrence)
    who = subject_name(unlock.scope, unlock.subject)
    return f"{unlock.tenant_id} {who} {name} v{unlock.version} at {unlock.earned_at}"

"""`just company`: what `ach serve`, `ach notify` and `ach console` cost the worker that they run beside.

A worker drains a backlog as in `just bench`, by turns alone and in company: `ach serve` with live streams and a few
answers a second, `ach notify` with an endpoint, `ach console` with its first page open. All of them share the cores.
"""

from __future__ import annotations

import re
import secrets
import shlex
import sys
import tempfile
from base64 import b64encode
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import anyio
import click
import msgspec

from bench.audience import Audience, Ports
from bench.contestants import CONTESTANTS
from bench.drain import Drained, drain
from bench.events import TENANT, Shape
from bench.machine import doubt, machine, versions
from bench.page import merged, number, table
from bench.processes import ROOT, BenchError, Peer, cpu_seconds, python
from bench.publish import publish_all
from bench.results import MODES, Run, spread
from bench.rig import rig
from bench.runs import Load
from worker.process import logs
from worker.process.loop import run_async
from worker.serve.access import hash_of, new_key, new_secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from bench.rig import Arena, Rig

EVENTS: Final = 200_000
ROUNDS: Final = 5
QUICK: Final = (20_000, 1)
"""Events and rounds of --quick."""
STREAMS: Final = 100
WAIT_SECONDS: Final = 60.0
PAGE: Final = ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- what follows is written by `just company` -->"
END: Final = "<!-- what `just company` writes ends here -->"
WORKER: Final = next(one for one in CONTESTANTS if one.key == "worker")
ACH: Final = str(Path(sys.executable).with_name("ach"))
OTHERS: Final = ("serve", "notify", "console", "audience")


class Turn(msgspec.Struct, frozen=True):
    """One run; `others` is the CPU of each other process, in seconds per million events."""

    drained: Drained
    others: dict[str, float]


class Company(Run):
    """One run of the benchmark: turns alone and in company, by the number of events in a message."""

    alone: dict[str, list[Turn]]
    together: dict[str, list[Turn]]


# -- the others --------------------------------------------------------------------------------------------------------


async def _said(peer: Peer, words: str) -> str:
    """Return what a process has written behind some words, once it has.

    Raises:
        BenchError: it has ended, or does not come to it.
    """
    began = perf_counter()
    while (found := re.search(rf"{words}(\S*)", peer.log())) is None:
        peer.check()
        if perf_counter() - began > WAIT_SECONDS:
            raise BenchError(f"it does not begin: {peer.log()}")
        await anyio.sleep(0.05)
    return found[1]


def _configure(folder: Path, users: Sequence[str]) -> Audience:
    """Write the files that the others are configured by."""
    audience = Audience(TENANT, list(users), new_key(), secrets.token_urlsafe(32))
    (folder / "audience.json").write_bytes(msgspec.json.encode(audience))
    serve = f'cursor_key = "{new_secret()}"\nport = 0\nkey_rate = 10000\nkey_burst = 10000\n'
    _write(folder / "serve.toml", f'{serve}[tenants.{TENANT}]\nkeys = ["{hash_of(audience.key)}"]\n')
    return audience


def _write(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text, "utf-8")


@asynccontextmanager
async def company(arena: Arena, users: Sequence[str]) -> AsyncGenerator[dict[str, int]]:
    """Run the others for the length of a block; give their process ids, once all of them are at work."""
    folder = arena.scratch
    audience = _configure(folder, users)
    async with AsyncExitStack() as stack:
        peers: dict[str, Peer] = {}

        async def begin(name: str, command: Sequence[str], words: str, **more: str) -> str:
            peer = Peer(command, {**arena.environments[0], "NO_COLOR": "1", **more}, folder / f"{name}.log")
            stack.callback(peer.end)
            peers[name] = peer
            return await _said(peer, words)

        pipe = folder / "ports"
        listener = python("bench.audience", str(folder / "audience.json"), str(pipe))
        receiver = await begin("audience", listener, "receiving ")
        endpoint = f'url = "http://127.0.0.1:{receiver}/"\nsecret = {{ env = "SECRET" }}\ninsecure = true\n'
        _write(folder / "notify.toml", f'[endpoint.app]\n{endpoint}allow_networks = ["127.0.0.0/8"]\n')
        serve = await begin("serve", (ACH, "serve", "--config", str(folder / "serve.toml")), r"127\.0\.0\.1:")
        notify = (ACH, "notify", "run", "--config", str(folder / "notify.toml"))
        await begin("notify", notify, "notifying", SECRET=f"whsec_{b64encode(secrets.token_bytes(24)).decode()}")
        console = await begin(
            "console", (ACH, "console", "--port", "0"), r"127\.0\.0\.1:", ACH_CONSOLE_TOKEN=audience.token
        )
        ports = Ports(*(int(re.sub(r"\D.*", "", port)) for port in (serve, console)))
        _write(pipe.with_suffix(".new"), msgspec.json.encode(ports).decode())
        pipe.with_suffix(".new").rename(pipe)
        await _said(peers["audience"], "listening")
        yield {name: peer.pid for name, peer in peers.items()}
        for peer in peers.values():
            peer.check()


# -- a turn ------------------------------------------------------------------------------------------------------------


async def turn(rig: Rig, load: Load, per: int, log: Path, *, accompanied: bool) -> Turn:
    """Publish everything, then measure how it is worked off.

    Raises:
        BenchError: it was not, or not all of it.
    """
    async with rig.arena() as arena, AsyncExitStack() as stack:
        await WORKER.prepare(arena)
        await publish_all(arena, load.messages(per))
        users = dict.fromkeys(event.user for event in load.events)
        pids: dict[str, int] = {}
        if accompanied:
            pids = await stack.enter_async_context(company(arena, [*users][:STREAMS]))
        before = {name: cpu_seconds([pid]) for name, pid in pids.items()}
        done = await drain(arena, [WORKER.command(per)], log, per=per, done=partial(WORKER.done, arena))
        million = len(load.events) / 1_000_000
        others = {name: (cpu_seconds([pid]) - before[name]) / million for name, pid in pids.items()}
        kept = await arena.connection.fetchval("SELECT count(*) FROM event")
        if kept != load.expected.events:
            raise BenchError(f"{kept:,} events kept of {load.expected.events:,}")
        return Turn(done, others)


async def _measure(results: Company) -> None:
    load = Load(Shape(results.events))
    with tempfile.TemporaryDirectory(prefix="ach-bench-logs-") as name:
        async with rig() as servers:
            results.versions |= await servers.versions()
            log = Path(name) / "worker.log"
            await turn(servers, Load(Shape(QUICK[0])), 50, log, accompanied=True)  # the first of all is slower
            for each in range(results.rounds):
                for per in MODES:
                    for accompanied in (each % 2 == 0, each % 2 == 1):
                        done = await turn(servers, load, per, log, accompanied=accompanied)
                        (results.together if accompanied else results.alone)[str(per)].append(done)
                        what = "in company" if accompanied else "alone"
                        said = f"{done.drained.events_per_second:>9,.0f} events/s  {_listed(done.others)}"
                        print(f"round {each + 1}, {per} a message, {what:<12}{said}", flush=True)


def _listed(others: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in others.items())


# -- what is said ------------------------------------------------------------------------------------------------------


def share(results: Company, per: int) -> float:
    """Return the rate in company to that alone: the ratio of the medians."""
    together, alone = (_middle(of[str(per)], _rate) for of in (results.together, results.alone))
    return together / alone


def _middle(turns: Sequence[Turn], what: Callable[[Turn], float]) -> float:
    return spread([what(one) for one in turns]).middle


def _rate(one: Turn) -> float:
    return one.drained.events_per_second


def section(results: Company) -> str:
    """Return the generated section of the page."""
    head = ("", "events/s", "to alone", "CPU worker", "CPU database", "CPU broker", *(f"CPU {one}" for one in OTHERS))
    rows = [
        _row(f"{per} a message, {what}" if per > 1 else f"one a message, {what}", turns[str(per)], ratio)
        for per in MODES
        for what, turns, ratio in (("alone", results.alone, 1.0), ("in company", results.together, share(results, per)))
    ]
    return "\n\n".join((results.said(), _ABOUT.format(events=results.events, rounds=results.rounds), table(head, rows)))


_ABOUT: Final = (
    "{events:,} events a run, {rounds} rounds, in each of them alone and in company, the order turned round each time."
    " Medians, with the lowest and the highest in brackets; CPU in seconds per million events. That of the others is"
    f" counted from the start of the worker on. The audience is one process with {STREAMS} live streams, five answers a"
    " second, the stream of the console's first page, and the receiver of every unlock's webhook."
)


def _row(name: str, turns: Sequence[Turn], ratio: float) -> Sequence[str]:
    rates = spread([_rate(one) for one in turns])
    drained: tuple[Callable[[Turn], float], ...] = (
        lambda one: one.drained.worker_cpu,
        lambda one: one.drained.database_cpu,
        lambda one: one.drained.broker_cpu,
    )
    others = [_middle(turns, lambda one, name=name: one.others.get(name, 0.0)) for name in OTHERS]
    return (
        name,
        f"{number(rates.middle)} ({number(rates.lowest)}–{number(rates.highest)})",
        f"{ratio:.2f}",
        *(number(_middle(turns, what)) for what in drained),
        *(number(one) if one else "–" for one in others),
    )


@click.command()
@click.option("--events", type=click.IntRange(QUICK[0]), help=f"Events of a run ({EVENTS:,}).")
@click.option("--rounds", type=click.IntRange(1), help=f"Rounds ({ROUNDS}).")
@click.option("--quick", is_flag=True, help=f"{QUICK[0]:,} events, {QUICK[1]} round: to see that everything works.")
@click.option("--write/--no-write", "writes", default=None, help="Write the page (default: unless --quick).")
def main(events: int | None, rounds: int | None, *, quick: bool, writes: bool | None) -> None:
    """Measure what serve, notify and console cost the worker beside them."""
    default_events, default_rounds = QUICK if quick else (EVENTS, ROUNDS)
    results = Company(
        measured_on=datetime.now(UTC).date().isoformat(),
        command=shlex.join(["just", "company", *sys.argv[1:]]),
        machine=machine(),
        versions=versions(),
        events=events or default_events,
        rounds=rounds or default_rounds,
        alone={str(per): [] for per in MODES},
        together={str(per): [] for per in MODES},
    )
    if said := doubt():
        print(said, file=sys.stderr)
    logs.quiet()
    try:
        run_async(lambda: _measure(results))
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    if writes if writes is not None else not quick:
        PAGE.write_text(merged(PAGE.read_text(), section(results), BEGIN, END))
        print(f"written: {PAGE.relative_to(ROOT)}")
    else:
        print(section(results))


if __name__ == "__main__":
    main(prog_name="just company")

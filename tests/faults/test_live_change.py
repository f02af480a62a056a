"""Rules that change under live traffic: an unlock waits hardly longer while all subjects are brought up to date.

They compare times: run them alone. ACH_FAULTS=long, or ACH_FAULTS_CHANGED, makes them larger.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
import nats
import pytest

from tests.databases import fresh_database
from tests.faults.processes import workers
from tests.faults.tally import count, tell
from tests.integration.engine import Engine, event, own_streams
from worker.broker.window import Outgoing
from worker.contract.partition import event_subject
from worker.local.sandbox import publish
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from tests.faults.processes import Child, Workers
    from worker.local.servers import Servers

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(3600)]

RULES: Final = """
event a.done { n: int? >= 0, team: string? }
event b.done {}
event probe.done {}

achievement ladder {
  title "Ladder"
  tier low { when count(event=a.done, >= 2) }
  tier high { when count(event=a.done, >= 4) }
}
achievement days { title "Days" when streak(event=a.done, per=day, >= 3) }
achievement team { title "Team" scope team when count(event=a.done, >= 50) }
achievement first { title "First" when count(event=probe.done, >= 1) }
"""
REBUILD: Final = "all states folded again"
FORMS: Final = {
    "a tier that changes nothing": (
        'achievement top_BOUND { title "Top" tier one { when count(event=a.done, >= BOUND) } }'
    ),
    "a new aggregate of users": (
        'achievement total_BOUND { title "Total" when sum(event=a.done where n < BOUND, of=n, >= 1000) }'
    ),
    "a rule of tenants": (
        'achievement all_BOUND { title "All" scope tenant when count(event=a.done where n < BOUND, >= 100) }'
    ),
    REBUILD: "",
}
"""What changes, with a number that is another one each time, so that nothing is known from the time before."""
CHANGED: Final = "SELECT state, subjects FROM change ORDER BY change_id DESC LIMIT 1"
REBUILT: Final = """
SELECT CASE WHEN ended_at IS NOT NULL AND states + decisions = 0 THEN 'done' ELSE 'differs' END AS state, subjects
FROM rebuild ORDER BY rebuild_id DESC LIMIT 1
"""
EVENTS_OF_A_USER: Final = 6
TENANTS: Final = 10
EVERY: Final = 0.005
"""Seconds between two probes."""
CALM_SECONDS: Final = 3.0
TURNS: Final = 4
NOISE: Final = 15.0
"""Milliseconds that two cores, shared with both servers, may add."""
PATIENCE: Final = 120.0


class Latencies(NamedTuple):
    """From publish to unlock, in milliseconds."""

    number: int
    median: float
    p99: float


class Turn(NamedTuple):
    """Latencies before, while and after something is done; what other programs do raises all three."""

    before: Latencies
    during: Latencies
    after: Latencies
    subjects: int
    seconds: float

    @property
    def calm(self) -> float:
        """The p99 without, in milliseconds."""
        return max(self.before.p99, self.after.p99)

    @property
    def held(self) -> bool:
        """Whether unlocks have hardly waited longer."""
        return self.during.p99 <= 2 * self.calm + NOISE


@pytest.mark.parametrize("form", FORMS)
async def test_unlocks_wait_hardly_longer(servers: Servers, tmp_path: Path, form: str) -> None:
    """In the best of some turns: noise of the machine passes, and what a change makes wait shows in each of them."""
    users = count("CHANGED", quick=3_000, long=50_000)
    turns: list[Turn] = []
    async with _engine(servers) as engine, workers(tmp_path / "workers") as started, _client(engine) as client:
        await engine.apply(RULES)
        await engine.backfill()
        child = await started.start(engine.settings)
        assert await child.until("ready"), child.log()
        await publish(engine.settings, _history(engine.settings, users), lambda _: None)
        await _caught_up(engine, users * EVENTS_OF_A_USER)
        await _probed(client, engine.settings, "warm", _for(1.0))
        while len(turns) < TURNS and not (turns and turns[-1].held):
            turns.append(await _turn(engine, started, client, form, len(turns)))
    best = min(turns, key=lambda turn: turn.during.p99 / turn.calm)
    tell(
        f"live unlocks while rules change: {form}",
        f"{users:,} users, {best.subjects:,} subjects brought up to date in {best.seconds:.1f} s; p99 "
        f"{best.during.p99:.0f} ms of {best.during.number:,} unlocks, {best.calm:.0f} without; median "
        f"{best.during.median:.0f}, {best.before.median:.0f}; turn {len(turns)}",
    )
    assert turns[-1].held, turns


async def _turn(engine: Engine, started: Workers, client: Client, form: str, number: int) -> Turn:
    before = await _probed(client, engine.settings, f"before{number}", _for(CALM_SECONDS))
    work = "rebuild" if form == REBUILD else "change"
    build = await started.start(engine.settings, work, rules=RULES + FORMS[form].replace("BOUND", str(1000 + number)))
    began = perf_counter()
    during = await _probed(client, engine.settings, f"during{number}", _while(build))
    seconds = perf_counter() - began
    assert build.code == 0, build.log()
    (change,) = await engine.rows(REBUILT if form == REBUILD else CHANGED)
    assert change["state"] == "done"
    after = await _probed(client, engine.settings, f"after{number}", _for(CALM_SECONDS))
    return Turn(before, during, after, change["subjects"], seconds)


@asynccontextmanager
async def _engine(servers: Servers) -> AsyncGenerator[Engine]:
    async with fresh_database(servers) as url:
        yield Engine(Settings(nats_url=servers.nats_url, database_url=url, **own_streams()))


@asynccontextmanager
async def _client(engine: Engine) -> AsyncGenerator[Client]:
    client = await nats.connect(engine.settings.nats_url)
    yield client
    await client.close()


def _history(settings: Settings, users: int) -> Iterator[Outgoing]:
    for at in range(users * EVENTS_OF_A_USER):
        user = at % users
        one = event(
            at // users * 600, user=f"u{user}", tenant=f"t{user % TENANTS}", id=f"h{at}", n=1, team=f"team{user % 50}"
        )
        subject = event_subject(settings.input_prefix, one["tenant_id"], one["user_id"], one["event_type"])
        yield Outgoing(subject, json.dumps(one).encode())


async def _caught_up(engine: Engine, events: int) -> None:
    with anyio.fail_after(PATIENCE):
        # The database does not tell: it has to be asked.
        while (await engine.rows("SELECT count(*) AS n FROM event"))[0]["n"] < events:  # noqa: ASYNC110
            await anyio.sleep(0.1)


def _for(seconds: float) -> Callable[[], bool]:
    until = perf_counter() + seconds
    return lambda: perf_counter() < until


def _while(child: Child) -> Callable[[], bool]:
    return lambda: child.code is None


async def _probed(client: Client, settings: Settings, name: str, more: Callable[[], bool]) -> Latencies:
    """Publish events that each grant something, at a steady pace; return how long the announcements took."""
    sent: dict[str, float] = {}
    waits: list[float] = []
    moved = anyio.Event()

    async def on_unlock(msg: Msg) -> None:
        nonlocal moved
        at = sent.pop(json.loads(msg.data)["subject"], None)
        if at is not None:
            waits.append(1000 * (perf_counter() - at))
            moved.set()
            moved = anyio.Event()

    subscription = await client.subscribe(f"{settings.unlock_prefix}.>", cb=on_unlock)
    began, number = perf_counter(), 0
    while more() or number < 100:
        user = f"{name}-{number}"
        one = event(number, "probe.done", user=user, tenant=f"p{number % TENANTS}")
        subject = event_subject(settings.input_prefix, one["tenant_id"], user, "probe.done")
        number += 1
        # What is due is sent even where the answers are late: a queue must show in the times.
        await anyio.sleep(max(0.0, began + number * EVERY - perf_counter()))
        sent[user] = perf_counter()
        await client.publish(subject, json.dumps(one).encode())
    with anyio.fail_after(PATIENCE):
        while sent:
            await moved.wait()
    await subscription.unsubscribe()
    return Latencies(number, median(waits), quantiles(waits, n=100)[98])

"""Notifier and receiver are killed, again and again: each id arrives, and copies come under the same id alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import anyio
import pytest

from tests.faults import tally
from tests.integration.engine import Engine
from tests.integration.notices import (
    ENVIRONMENT,
    claimed,
    endpoint,
    make_stream,
    publish,
    revoked,
    state_of,
)
from worker.local.process_tree import free_port
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

pytestmark = pytest.mark.anyio

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 90.0
ACK_SECONDS: Final = 2
ACH: Final = [sys.executable, "-c", "from worker.cli import main; main()", "notify", "run", "--nice", "0"]
"""Without stepping back: beside the load of other tests that would only take longer."""
FEW: Final = 3
"""Kills in the run of every day."""


class Victim:
    """A process that is started, killed and started again."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class World:
    """Servers, a notifier and a receiver."""

    def __init__(self, settings: Settings, folder: Path, notifier: Victim, receiver: Victim) -> None:
        self.settings = settings
        self.notifier = notifier
        self.receiver = receiver
        self._folder = folder

    def taken(self) -> list[dict[str, Any]]:
        """Return what the receivers have noted; the last line of one that was killed may be cut."""
        path = self._folder / "taken"
        found: list[dict[str, Any]] = []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    async def until_more(self, before: int) -> int:
        """Wait until the receiver has noted more than so many bytes; return how many by now."""
        path = self._folder / "taken"
        with anyio.fail_after(PATIENCE):
            while not path.exists() or path.stat().st_size <= before:  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.02)
        return path.stat().st_size

    def log(self) -> str:
        path = self._folder / "log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    async def _left(self, names: Sequence[str]) -> int | None:
        """Return how much the broker has left for some endpoints, None while one has no consumer."""
        states = [await state_of(self.settings, name) for name in names]
        if None in states:
            return None
        return sum(one.waiting + one.unacknowledged for one in states if one is not None)

    async def until_done(self, *names: str) -> None:
        """Wait until the broker has nothing left for some endpoints.

        A loaded machine may take its time for a long tail. So what is bounded is the time without progress: copies
        without end, or a message that waits for more than its schedule says, leave no less than there was before.
        """
        least: int | None = None
        while least != 0:
            try:
                with anyio.fail_after(PATIENCE):
                    while (left := await self._left(names)) is None or (least is not None and left >= least):  # noqa: ASYNC110
                        await anyio.sleep(0.1)
            except TimeoutError:
                pytest.fail(f"for {PATIENCE:g} s no less than {least} announcements are left:\n{self.log()}")
            least = left


@asynccontextmanager
async def world(settings: Settings, folder: Path, more: dict[str, str], *, dead: int) -> AsyncGenerator[World]:
    """Give a world whose endpoint `dead` never answers."""
    await Engine(settings).migrate()
    await make_stream(settings)
    port = free_port()
    texts = [endpoint(port, name, text) for name, text in more.items()]
    texts.append(endpoint(dead, "dead", 'timeout = "1s"'))
    (folder / "notify.toml").write_text("\n".join(texts).replace("hooks.example", "127.0.0.1"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ACH_")},
        **ENVIRONMENT,
        "NATS_URL": settings.nats_url,
        "DATABASE_URL": settings.database_url,
        "ACH_NOTIFY_CONFIG": str(folder / "notify.toml"),
        "ACH_ACK_WAIT": str(settings.ack_wait),
    }
    notifier = Victim(ACH, folder / "log", environment)
    listener = [sys.executable, "-m", "tests.faults.notify_receiver", str(port), str(folder / "taken")]
    receiver = Victim(listener, folder / "log", environment)
    made = World(settings, folder, notifier, receiver)
    notifier.start()
    receiver.start()
    try:
        yield made
    finally:
        notifier.kill()
        receiver.kill()


def judged(taken: list[dict[str, Any]], path: str, wanted: set[str]) -> list[str]:
    """Return what is wrong with what came to one endpoint."""
    there = [one for one in taken if one["path"] == path]
    arrived = {unlock for one in there if one["taken"] for unlock in one["unlocks"]}
    wrong = [f"{path}: {name} is missing" for name in sorted(wanted - arrived)]
    wrong += [f"{path}: {name} was not asked for" for name in sorted(arrived - wanted)]
    bodies: dict[str, set[str]] = {}
    unlocks: dict[str, set[str]] = {}
    for one in there:
        bodies.setdefault(one["id"], set()).add(one["body"])
        for unlock in one["unlocks"]:
            unlocks.setdefault(unlock, set()).add(one["id"])
    wrong += [f"{path}: {name} has several bodies" for name, several in bodies.items() if len(several) > 1]
    return wrong + [f"{path}: {name} came as {ids}" for name, ids in unlocks.items() if len(ids) > 1]


async def _killed(settings: Settings, folder: Path, kills: int) -> None:
    more = {
        "app": 'schedule = ["200ms", "500ms"]',
        "summed": 'schedule = ["200ms", "500ms"]\ndigest = { wait = "1s" }',
    }
    with socket.socket() as deaf:  # takes connections, and never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1024)
        async with world(settings, folder, more, dead=int(deaf.getsockname()[1])) as here:
            await here.until_done(*more)
            chance, wanted, number, noted = Random(kills), set[str](), 0, 0  # noqa: S311
            for _ in range(kills):
                for _ in range(10):
                    one = claimed(number, subject=f"u{number % 5}")
                    await publish(settings, one, revoked(one), claimed(number + 1_000_000, origin="backfill"))
                    wanted |= {str(one.unlock_id), f"{one.unlock_id}_2"}
                    number += 1
                # Both are at work by now: a kill before that would hit nothing.
                noted = await here.until_more(noted)
                await anyio.sleep(chance.random() / 2)
                for victim in chance.sample([here.notifier, here.receiver], chance.choice((1, 1, 2))):
                    victim.kill()
                    victim.start()
            await here.until_done(*more)
            taken = here.taken()
    assert judged(taken, "/app", wanted) == []
    assert judged(taken, "/summed", wanted) == []
    copies = len(taken) - len({(one["path"], one["id"]) for one in taken})
    tally.tell(
        "notifier or receiver of webhooks killed",
        f"{kills:,} kills: {len(wanted):,} ids to two endpoints, each arrived; {copies:,} copies, of the same body",
    )


@pytest.fixture
def settings(database_url: str, nats_url: str) -> Settings:
    return Settings(nats_url=nats_url, database_url=database_url, ack_wait=ACK_SECONDS)


@pytest.mark.timeout(240)
async def test_a_few_kills_lose_nothing(settings: Settings, tmp_path: Path) -> None:
    await _killed(settings, tmp_path, FEW)


@pytest.mark.faults
@pytest.mark.timeout(7200)
async def test_many_kills_lose_nothing(settings: Settings, tmp_path: Path) -> None:
    await _killed(settings, tmp_path, tally.count("NOTIFY", quick=20, long=1000))


@pytest.mark.faults
@pytest.mark.timeout(1800)
async def test_a_large_backfill_sends_nothing(settings: Settings, tmp_path: Path) -> None:
    many = tally.count("BACKFILL", quick=5000, long=100_000)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1024)
        async with world(settings, tmp_path, {"app": ""}, dead=int(deaf.getsockname()[1])) as here:
            await here.until_done("app")
            for begin in range(0, many, 5000):
                await publish(settings, *(claimed(begin + each, origin="backfill") for each in range(5000)))
            await publish(settings, claimed(many))
            await here.until_done("app")
            assert [one["id"] for one in here.taken() if one["taken"]] == [str(claimed(many).unlock_id)]
    tally.tell("backfill before an endpoint that did not ask for it", f"{many:,} announcements: 0 sent, and 1 behind")

"""Workers as processes of their own, started by the zygote: to be killed, frozen, and waited for."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from anyio.abc import Process

    from tests.faults.points import Point
    from worker.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
"""Seconds until a test gives up on a process that should have done something by now."""


class Child:
    """A process of a worker, and what it has reported."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.code: int | None = None
        self._log = log
        self._said = Counter[str]()
        self._moved = anyio.Event()

    def hear(self, said: str, code: int | None) -> None:
        """Note what it said, or how it ended."""
        self._said[said] += 1
        self.code = code if said == "dead" else self.code
        self._moved.set()
        self._moved = anyio.Event()

    async def until(self, said: str, times: int = 1) -> bool:
        """Wait until it has said something so often; False where it died before."""
        with anyio.fail_after(PATIENCE):
            while self._said[said] < times and self.code is None:
                await self._moved.wait()
        return self._said[said] >= times

    def send(self, how: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        if self.code is None:
            os.kill(self.pid, how)

    async def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait until it is dead."""
        self.send(how)
        await self.until("dead")

    def log_text(self) -> str:
        """Return all that it has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log(self) -> str:
        """Return the end of what it has written."""
        return self.log_text()[-4000:]


class Workers:
    """Starts workers. Made by `workers`."""

    def __init__(self, process: Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._children: dict[int, Child] = {}
        self._born: list[Child] = []
        self._one_is_born = anyio.Event()
        self._asking = anyio.Lock()
        self._number = 0

    async def start(
        self,
        settings: Settings,
        work: str = "serve",
        *,
        rules: str = "",
        crash: Point | None = None,
        record: Path | None = None,
        arguments: Sequence[str] = (),
        folder: Path | None = None,
    ) -> Child:
        """Fork a worker, or a command with `arguments` in a folder, which gets the settings as its environment."""
        async with self._asking:
            self._number += 1
            log = self._folder / f"worker-{self._number}.log"
            job = {
                "work": work,
                "settings": msgspec.to_builtins(settings),
                "log": str(log),
                "rules": rules,
                "crash": crash,
                "record": None if record is None else str(record),
                "arguments": arguments,
                "folder": str(folder or self._folder),
                "environment": environment_of(settings) if work == "command" else {},
            }
            self._one_is_born = anyio.Event()
            self._next_log = log
            assert self._process.stdin is not None
            await self._process.stdin.send(msgspec.json.encode(job) + b"\n")
            with anyio.fail_after(PATIENCE):
                await self._one_is_born.wait()
            assert self._born, f"the process that forks workers has ended: {self._process.returncode}"
            return self._born.pop()

    async def listen(self) -> None:
        """Take what the zygote and its workers say."""
        assert self._process.stdout is not None
        rest = b""
        async for said in self._process.stdout:
            *lines, rest = (rest + said).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        # A test that waits for a birth has nothing more to wait for.
        self._one_is_born.set()

    def _hear(self, line: dict[str, Any]) -> None:
        pid = line.get("child", line["pid"])
        # A worker may speak, and even die, before the zygote has reported its birth.
        child = self._children.get(pid)
        if child is None:
            child = self._children[pid] = Child(pid, self._next_log)
        if line["said"] == "born":
            self._born.append(child)
            self._one_is_born.set()
            if child.code is not None:
                del self._children[pid]
        else:
            child.hear(line["said"], line.get("code"))
            if line["said"] == "dead" and child not in self._born:
                # Pids come again.
                self._children.pop(pid, None)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that ask for some settings, without an identity at the broker."""
    said = {**msgspec.to_builtins(settings)}
    del said["identity"]
    urls = {name.upper(): str(said.pop(name)) for name in ("nats_url", "database_url")}
    return urls | {f"ACH_{name.upper()}": str(value) for name, value in said.items() if value is not None}


@asynccontextmanager
async def workers(folder: Path) -> AsyncGenerator[Workers]:
    """Give a starter of workers for the length of a block; none of them outlives it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.faults.zygote"]
    async with await anyio.open_process(command, cwd=ROOT, stderr=None) as process:
        made = Workers(process, folder)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.listen)
            try:
                yield made
            finally:
                with anyio.CancelScope(shield=True):
                    assert process.stdin is not None
                    await process.stdin.aclose()
                    await process.wait()
                tasks.cancel_scope.cancel()

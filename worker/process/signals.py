"""SIGTERM and Ctrl-C as an event: the first signal asks the process to finish, the second one ends it at once."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class ImpatientError(Exception):
    """There was a second signal to stop."""


@asynccontextmanager
async def stop_on_signals() -> AsyncGenerator[anyio.Event]:
    """Yield an event that the first signal sets; the second cancels the block.

    Raises:
        ImpatientError: there was a second signal.
    """
    stop = anyio.Event()
    impatient = False
    async with anyio.create_task_group() as tasks:

        async def listen(*, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
            nonlocal impatient
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                task_status.started()
                async for _ in signals:
                    if stop.is_set():
                        impatient = True
                        tasks.cancel_scope.cancel()
                        return
                    stop.set()

        await tasks.start(listen)
        yield stop
        tasks.cancel_scope.cancel()
    if impatient:
        raise ImpatientError

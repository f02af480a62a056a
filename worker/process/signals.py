"""Signals of a process.

SIGTERM and Ctrl-C are an event: the first one asks the process to finish, the second one ends it at once. SIGUSR1 makes
its log say more, SIGUSR2 less. A signal comes from the user of the process or from root; the port of probes and metrics
knows no one, so nothing can be changed there.
"""

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
        await tasks.start(_change_log_level)
        yield stop
        tasks.cancel_scope.cancel()
    if impatient:
        raise ImpatientError


async def _change_log_level(*, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    from worker.process.logs import change_level  # noqa: PLC0415 - what only stops on signals need not log

    with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
        task_status.started()
        async for one in signals:
            change_level(-1 if one == signal.SIGUSR1 else 1)


def ignore_log_signals() -> None:
    """Let signals for the log do nothing before somewhere listens to them, where they would end the process."""
    for one in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(one, signal.SIG_IGN)

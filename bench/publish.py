"""Publishing: all in advance as fast as the broker takes it, at a pace that waits for nobody, or as it is taken."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.broker.publish import Outgoing, Publisher
from worker.broker.window import Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.events import Message
    from bench.rig import Arena

TICK_SECONDS: Final = 0.002
"""Between two looks at what is due."""
AT_ONCE: Final = 512
"""Messages that are published between two looks at how many were taken."""


class Taken(NamedTuple):
    """How many messages were done at a time, of `perf_counter`."""

    time: float
    done: int


async def publish_all(arena: Arena, messages: Sequence[Message]) -> float:
    """Publish messages, wait until the broker has stored all of them, and return the seconds it took.

    Without message ids: the broker would drop duplicates, and it is the consumer's way with them that is measured.
    """
    began = perf_counter()
    publisher = Publisher(Window(arena.client))
    await publisher.publish((Outgoing(one.subject, one.body) for one in messages), lambda _: None)
    return perf_counter() - began


async def publish_paced(arena: Arena, messages: Sequence[Message], rate: float) -> list[float]:
    """Publish messages at `rate` events per second, whatever becomes of them; return when each was sent.

    Open loop: what is due is sent, and a consumer that lags behind changes nothing. Times are of `perf_counter`.
    """
    sent: list[float] = []
    due = 0.0
    began = perf_counter()
    for one in messages:
        while (now := perf_counter()) - began < due:  # noqa: ASYNC110 - time alone is waited for
            await asyncio.sleep(TICK_SECONDS)
        await arena.client.publish(one.subject, one.body)
        sent.append(now)
        due += len(one.events) / rate
    await arena.client.flush()
    return sent


async def publish_as_taken(
    arena: Arena, messages: Sequence[Message], window: int, taken: Callable[[int], Awaitable[int]]
) -> list[Taken]:
    """Publish messages so that `window` of them wait, and return how many were done when.

    Closed loop: what is taken is replaced. `taken` tells how many of so many are done.
    """
    marks: list[Taken] = []
    sent = 0
    while sent < len(messages):
        done = await taken(sent)
        marks.append(Taken(perf_counter(), done))
        due = messages[sent : sent + max(0, min(window - (sent - done), AT_ONCE))]
        for one in due:
            await arena.client.publish(one.subject, one.body)
        sent += len(due)
        if due:
            await arena.client.flush()
        else:
            await asyncio.sleep(TICK_SECONDS)
    return marks

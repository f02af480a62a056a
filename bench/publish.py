"""Publishing: everything in advance as fast as the broker takes it, or at a pace that waits for nobody."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final

from worker.publishing import Outgoing, Publisher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.events import Message
    from bench.rig import Arena

TICK_SECONDS: Final = 0.002
"""Between two looks at what is due."""


async def publish_all(arena: Arena, messages: Sequence[Message]) -> float:
    """Publish messages, wait until the broker has stored all of them, and return the seconds it took.

    Without message ids: the broker would drop duplicates, and it is the consumer's way with them that is measured.
    """
    began = perf_counter()
    publisher = Publisher(arena.client)
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

"""Workers that share the partitions of a stream: `ach run --group`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import nats
import pytest

from tests.integration.engine import PATIENCE, Engine, event
from worker.broker.client import BrokerClient
from worker.broker.group_store import GroupStore
from worker.broker.once import connected_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.anyio

GROUP = "g"


async def until_dealt(engine: Engine, good: Callable[[Mapping[str, tuple[int, ...]]], bool]) -> dict[str, tuple[int, ...]]:
    """Wait until the sheet of the group is good; return the shares."""
    store = GroupStore(engine.settings, GROUP)
    async with connected_once(engine.settings, seconds=5) as client:
        with anyio.fail_after(PATIENCE):
            while not good(shares := (await store.read(client)).sheet.shares):
                await anyio.sleep(0.02)
    return shares


async def test_two_share(own_engine: Engine) -> None:
    engine = own_engine.with_settings(group=GROUP)
    await engine.apply()
    async with engine.worker() as first, engine.worker() as second:
        await until_dealt(engine, lambda shares: len(shares) == 2)
        await engine.publish([event(number, user=f"u{user}") for user in range(40) for number in range(3)])
        with anyio.fail_after(PATIENCE):
            while first.messages + second.messages < 120:
                await anyio.sleep(0.02)
        assert first.messages > 30
        assert second.messages > 30
    assert len(await engine.unlocks()) == 80

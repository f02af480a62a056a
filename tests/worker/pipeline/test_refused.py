"""Which rows of an outbox wait by themselves, and when the whole broker is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from worker.broker.announce import Announced, Announcement
from worker.broker.errors import BrokerAwayError
from worker.engine.announcement import Claimed
from worker.engine.refusals import MOST_AWAY
from worker.engine.stats import Stats
from worker.pipeline.refused import Gate

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

REFUSED = "10054 message size exceeds maximum"


def row(number: int) -> Claimed:
    return Claimed(UUID(int=number), "t1", "user", "u1", "first", "", "", 1, 0, f"e{number}", 0, "{}")


ONE, TWO = row(1), row(2)


class Broker:
    """Keeps all announcements but those that it refuses, while it is not away."""

    def __init__(self) -> None:
        self.connected = True
        self.away = False
        self.refuses: set[UUID] = set()

    async def announce(self, announcements: Sequence[Announcement]) -> Announced:
        if self.away:
            raise BrokerAwayError("no answer")
        refused = {one.id: REFUSED for one in announcements if UUID(one.id) in self.refuses}
        return Announced({one.id: True for one in announcements if one.id not in refused}, refused)


class Relay:
    """A gate, and what it is given."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.stats = Stats()
        self.gate = Gate[Claimed](self.broker, self.stats, "waits", "tier")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    async def announce(self, *rows: Claimed, patiently: bool = True) -> list[Claimed]:
        kept, new = await self.gate.announce(rows, announcement, patiently=patiently)
        assert [*new] == [str(one.unlock_id) for one in kept]
        return [*kept]

    async def fail(self, *rows: Claimed, patiently: bool = True) -> None:
        with pytest.raises(BrokerAwayError, match="no answer"):
            await self.announce(*rows, patiently=patiently)


def announcement(one: Claimed) -> Announcement:
    return Announcement(f"u.{one.unlock_id}", b"", str(one.unlock_id))


async def test_what_is_refused_waits_and_the_rest_is_kept() -> None:
    relay = Relay()
    relay.broker.refuses = {ONE.unlock_id}
    assert await relay.announce(ONE, TWO) == [TWO]
    assert (relay.gate.refusals.all(), relay.stats.refused) == ([ONE.unlock_id], 1)
    assert await relay.announce(ONE) == []
    assert relay.stats.refused == 2


async def test_unlocks_are_put_off_after_many_failed_rounds() -> None:
    relay = Relay()
    relay.broker.away = True
    for _ in range(MOST_AWAY - 1):
        await relay.fail(ONE)
    assert await relay.announce(ONE) == []
    assert (relay.gate.refusals.all(), relay.stats.refused) == ([ONE.unlock_id], 1)
    # What waits already is put off again at once, and a new one with it is not.
    relay.broker.away = False
    assert await relay.announce(TWO) == [TWO]
    relay.broker.away = True
    assert await relay.announce(ONE) == []
    await relay.fail(ONE, TWO)


async def test_only_failures_in_a_row_count() -> None:
    relay = Relay()
    for _ in range(3):
        relay.broker.away = True
        for _ in range(MOST_AWAY - 1):
            await relay.fail(ONE)
        relay.broker.away = False
        assert await relay.announce(TWO) == [TWO]


async def test_a_lost_connection_is_no_fault_of_unlocks() -> None:
    relay = Relay()
    relay.broker.away, relay.broker.connected = True, False
    for _ in range(2 * MOST_AWAY):
        await relay.fail(ONE)
    assert not relay.gate.refusals


async def test_fresh_grants_are_never_put_off_for_a_failed_round() -> None:
    """They are left in the outbox, and the claim that follows decides."""
    relay = Relay()
    relay.broker.away = True
    for _ in range(2 * MOST_AWAY):
        await relay.fail(ONE, patiently=False)
    assert not relay.gate.refusals
    # Nor does their success say that what the claims announce comes through.
    for _ in range(MOST_AWAY - 1):
        relay.broker.away = True
        await relay.fail(ONE)
        relay.broker.away = False
        await relay.announce(TWO, patiently=False)
    relay.broker.away = True
    assert await relay.announce(ONE) == []

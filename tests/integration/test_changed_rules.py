"""Rules that change over a ledger: what is supported is what a fold of all of it says.

Chains of rule files are drawn, with events between them. `ACH_CHANGES` multiplies the number of the quick run.
"""

from __future__ import annotations

import json
import os
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from dsl.calendar import format_instant
from dsl.event import Event
from dsl.outcome import Subject, Unlock, by_subject, digest, run
from dsl.types import SECOND
from tests.databases import FORGET
from tests.integration.pipelines import pipeline_on, send
from tests.reference.bodies import with_payload
from tests.reference.rule_changes import Chain, chains
from worker.admin.backfill import backfill
from worker.admin.results import read_results
from worker.admin.rollout import apply_rules
from worker.engine.rule_set import RuleFile
from worker.pipeline.ledger import event_of
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dsl.outcome import Outcome
    from tests.integration.engine import Engine
    from worker.engine.rule_set import Deployed
    from worker.pipeline.pipeline import Pipeline

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

TIMES: Final = int(os.environ.get("ACH_CHANGES", "1"))
DRAWN: Final = 5 * TIMES
LONGEST: Final = 5
"""Rule files of one chain."""
AFTER: Final = 1_900_000_000_000_000
"""Microseconds: behind all that is drawn."""


class Held(NamedTuple):
    """What has to be the same, however it was come by."""

    unlocks: list[Unlock]
    digest: str


def some_chains(number: int, seeded: int) -> list[Chain]:
    found: list[Chain] = []

    @seed(seeded)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(chains(LONGEST))
    def draw(chain: Chain) -> None:
        found.append(chain)

    draw()
    return found


def divided(dice: Random, chain: Chain) -> list[list[bytes]]:
    """Return the events in any order, some for each rule file, some twice."""
    bodies = [with_payload(event, json.loads(chain.payloads[event.id])) for event in chain.events]
    parts: list[list[bytes]] = [[] for _ in chain.texts]
    for body in bodies:
        for part in dice.choices(parts, weights=range(len(parts) + 1, 1, -1), k=dice.choice((1, 1, 1, 2))):
            part.append(body)
    for part in parts:
        dice.shuffle(part)
    return parts


# -- what should be, and what is ------------------------------------------------------------------------------


async def ledger(store: Store, rules: Deployed) -> list[Event]:
    """Return all events as the rules see them, and the clock as another one."""
    events: list[Event] = []
    async with store.transaction() as session:
        clock = await session.value(int, "latest_instant") or 0
        async for page in session.pages(partial(event_of, rules), "events_of_types", types=sorted(rules.rules.events)):
            events.extend(page)
    return [*events, Event(tenant="", id="", type="", user="", at=clock, offset=0, fields={})]


async def wanted(store: Store, rules: Deployed) -> Outcome:
    return run(rules.program, await ledger(store, rules))


async def expect(store: Store, engine: Engine, chain: Chain) -> None:
    """Fail unless the tables hold what a fold of the whole ledger makes of the rules in force."""
    rules = await load_deployed(store, engine.settings)
    outcome, stored = await wanted(store, rules), await read_results(store, rules)
    expected = Held(outcome.unlocks, digest(rules.program, outcome.unlocks, outcome.states))
    assert Held(stored.unlocks, stored.digest) == expected, "\n---\n".join(chain.texts)


async def expect_of(store: Store, engine: Engine, subjects: Iterable[Subject], chain: Chain) -> None:
    """Do the same for some subjects alone, whatever is with others."""
    rules = await load_deployed(store, engine.settings)
    outcome, those = await wanted(store, rules), set(subjects)
    async with store.transaction() as session:
        clock = await session.value(int, "latest_instant") or 0
        rows = await session.rows(Row, "all_unlocks", clock=clock)
    have = [row.shown() for row in rows if not row.contested and rules.rules_on(row.scope, row.achievement, row.tier)]
    assert sorted(of(have, those)) == sorted(of(outcome.unlocks, those)), "\n---\n".join(chain.texts)


class Row(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str
    version: int
    earned_at: int
    contested: bool

    def shown(self) -> Unlock:
        tier, occurrence = self.tier or None, self.occurrence or None
        return Unlock(*self[:4], tier, occurrence, self.version, format_instant(self.earned_at))


def of(unlocks: Iterable[Unlock], subjects: set[Subject]) -> Iterator[tuple[object, ...]]:
    return (one.order for one in unlocks if (one.tenant_id, one.scope, one.subject) in subjects)


# -- chains ---------------------------------------------------------------------------------------------------


def touches(number: int) -> list[dict[str, Any]]:
    """Return events that touch every subject that there can be, where its plan hears anything."""
    found: list[dict[str, Any]] = []
    for tenant, user in (("t", "u"), ("t", "v"), ("other", "u"), ("other", "v")):
        for team, s in (("red", "x"), ("blue", "y"), ("red", "z")):
            shared = {"s": s, "team": team, "n": 3, "m": 1, "x": "1", "f": True}
            traits = {"plan": "pro", "timezone": "UTC", "level": 1}
            for kind in ("a", "b", "c.d", "e", "user.updated"):
                found.append(
                    {
                        "event_id": f"touch{number}-{len(found)}",
                        "event_type": kind,
                        "user_id": user,
                        "tenant_id": tenant,
                        "occurred_at": format_instant(AFTER + number * SECOND),
                        "payload": traits if kind == "user.updated" else shared,
                    }
                )
    return found


async def touch(pipeline: Pipeline, store: Store, engine: Engine, chain: Chain, number: int) -> None:
    events = touches(number)
    assert await send(pipeline, *events) == []
    rules = await load_deployed(store, engine.settings)
    ids = {one["event_id"] for one in events}
    touching = [event for event in await ledger(store, rules) if event.id in ids]
    await expect_of(store, engine, by_subject(rules.program, touching), chain)


async def caught_up(store: Store, engine: Engine) -> int:
    return (await backfill(store, engine.settings, now=lambda: AFTER, pause=0)).subjects


async def strangers(store: Store, engine: Engine) -> int:
    """Return how many users are named in the ledger and hear nothing of it; a backfill finds them each time."""
    rules = await load_deployed(store, engine.settings)
    heard = by_subject(rules.program, await ledger(store, rules))
    named = await engine.rows("SELECT DISTINCT tenant_id, subject FROM event_subject WHERE scope = 'user'")
    return sum(Subject(row["tenant_id"], "user", row["subject"]) not in heard for row in named)


async def rebuild(store: Store, engine: Engine, chain: Chain) -> None:
    """Throw away all that can be made again, and make it."""
    async with store.transaction() as session:
        await session.script("DELETE FROM progress; DELETE FROM checkpoint")
    await caught_up(store, engine)
    await expect(store, engine, chain)


async def change(store: Store, engine: Engine, chain: Chain, dice: Random) -> None:
    async with store.transaction(patient=True) as session:
        await session.script(FORGET)
    async with pipeline_on(engine) as pipeline:
        for number, (text, bodies) in enumerate(zip(chain.texts, divided(dice, chain), strict=True)):
            files = [RuleFile("rules.ach", text)]
            await apply_rules(store, files, engine.settings, by="test", now=AFTER, accept_contracts=True)
            if dice.random() < 0.5:
                await caught_up(store, engine)
                await expect(store, engine, chain)
            for at in range(0, len(bodies), 20):
                await send(pipeline, *bodies[at : at + 20])
            if dice.random() < 0.3:
                await touch(pipeline, store, engine, chain, number)
            if dice.random() < 0.7 or number == len(chain.texts) - 1:
                await caught_up(store, engine)
                await expect(store, engine, chain)
                assert await caught_up(store, engine) <= await strangers(store, engine)
                await rebuild(store, engine, chain)


@pytest.mark.parametrize("part", range(2))
async def test_drawn_changes(engine: Engine, part: int) -> None:
    """At any moment, what is remembered can be thrown away and made again, and is what a fold of the ledger says."""
    streamed = engine.with_settings(clock=Clock.STREAM, skew=10**9)
    found: Sequence[Chain] = some_chains(DRAWN, part)
    async with open_store(engine.settings.database_url) as store:
        for number, chain in enumerate(found):
            await change(store, streamed, chain, Random(f"{part} {number}"))  # noqa: S311 - no secret
    assert sum(len(chain.texts) for chain in found) > 2 * len(found)

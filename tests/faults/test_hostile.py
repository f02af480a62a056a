"""Input that means harm: a dead letter or the right result, and never a crash, a stuck consumer or a poisoned batch.

What the right result is, a replay in this process says: the same messages through the contract and the fold.
`ACH_HOSTILE` multiplies the sizes, by one in the quick form and by fifty in the long: a million copies of one event,
a user with a million events, 10,000 tenants.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from dsl.outcome import Subject, run
from dsl.ruleset import RuleSet, build
from tests.faults.nasty import INSTANTS, NAMES, RULES, TYPES, good_event, spoilt
from tests.faults.tally import is_long, tell
from tests.integration.engine import Engine, event
from worker import app
from worker.broker.publish import Outgoing
from worker.contract.reasons import Reason
from worker.contract.sameness import Written, same_body, stored_body, written_of
from worker.contract.strict_reader import Accepted, Contract, Rejected, element_of
from worker.engine.replay import Result, replay
from worker.local.replay_worker import replay_on
from worker.local.sandbox import publish
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dsl.compile import Program

pytestmark = pytest.mark.anyio

SIZE = int(os.environ.get("ACH_HOSTILE", "50" if is_long() else "1"))
NOW = 1_798_761_600_000_000
"""2027 in UTC, microseconds."""
END = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""
SKEW = 300_000_000
PATIENCE = 110.0 * max(1, SIZE // 2)
FUZZED = 50_000 * min(SIZE, 20)
"""A million of them take minutes, and teach nothing that is new."""
long = pytest.mark.timeout(120 * max(1, SIZE))


def ruleset(text: str = RULES) -> RuleSet:
    made = build([("rules.ach", text.encode())])
    assert made.program is not None, made.problems
    return made


def program_of(rules: RuleSet) -> Program:
    assert rules.program is not None
    return rules.program


def contract(rules: RuleSet) -> Contract:
    return Contract(rules.rules.events, prefix="events", skew=SKEW)


async def through_worker(engine: Engine, rules: RuleSet, bodies: Sequence[bytes], *, now: int = NOW) -> Result:
    settings = msgspec.structs.replace(engine.settings, clock=Clock.STREAM, batch_size=200)
    with anyio.fail_after(PATIENCE):
        return await replay_on(settings, rules, bodies, now=now, on_progress=_silent)


def _silent(what: str, done: int) -> None:
    pass


async def expect_the_same(engine: Engine, rules: RuleSet, bodies: Sequence[bytes], *, now: int = NOW) -> Result:
    """Compare the worker with a replay in this process."""
    expected, dead = replay(rules.rules, program_of(rules), bodies, now=now, skew=SKEW)
    result = await through_worker(engine, rules, bodies, now=now)
    # A subject of a plan has to be a key; the contract alone does not know it.
    assert result.unlocks == expected.unlocks
    assert result.counts == expected.counts
    assert result.digest == expected.digest
    rows = await engine.rows("SELECT reason, count(*) AS n FROM dead_letter GROUP BY 1")
    assert {row["reason"]: row["n"] for row in rows} == Counter(letter.reason.value for letter in dead)
    return result


# -- the contract --------------------------------------------------------------------------------------------


@long
def test_spoilt_events() -> None:
    rules = ruleset()
    reader, dice = contract(rules), Random(1)  # noqa: S311 - no secret
    accepted: list[Accepted] = []
    reasons: Counter[Reason] = Counter()
    for number in range(FUZZED):
        body = spoilt(dice, number)
        for element, read in enumerate(reader.read("events.raw", body, now=NOW)):
            if isinstance(read, Rejected):
                assert read.body in body or b"\\u" in body
                reasons[read.reason] += 1
            else:
                check_accepted(reader, read, written_of(element_of(body, element)))
                accepted.append(read)
    assert len(accepted) > FUZZED // 10
    expected = {Reason.MALFORMED_JSON, Reason.TOO_DEEP, Reason.INVALID_TEXT, Reason.INVALID_EVENT, Reason.CONTRACT}
    assert expected | {Reason.FROM_THE_FUTURE} <= set(reasons)
    events = {(one.event.tenant, one.event.id): one.event for one in accepted}
    # Whatever the contract lets in, the fold can judge.
    assert run(program_of(rules), events.values()).unlocks
    tell("spoilt events through the contract", f"{FUZZED:,}; {len(accepted):,} of them events all the same")


def check_accepted(reader: Contract, one: Accepted, written: Written) -> None:
    event = one.event
    for text in (event.tenant, event.id, event.user, event.type, *written):
        if text is None:
            continue
        assert "\0" not in text
        text.encode()
    assert all(1 <= len(name.encode()) <= 512 for name in (event.tenant, event.id, event.user, event.type))
    assert event.at <= NOW + SKEW
    # What is read back from the ledger is what was judged.
    assert reader.fields(event.type, written.payload) == event.fields
    assert same_body(event, written, stored_body(event, written))


@pytest.mark.parametrize("text", INSTANTS)
async def test_instants_at_the_edges(engine: Engine, text: str) -> None:
    """The calendar ends, and zones reach over its ends: a right result all the same, at any clock."""
    rules = ruleset()
    bodies = [
        json.dumps({**good_event(Random(n), n), "event_type": kind, "occurred_at": text, "payload": payload}).encode()  # noqa: S311
        for n, (kind, payload) in enumerate(
            (kind, payload)
            for kind in TYPES
            for payload in ({}, {"score": 2_000_000, "team": "x"}, {"timezone": "Asia/Tokyo", "plan": "pro"})
        )
    ]
    for body in bodies:
        (read,) = contract(rules).read("events.raw", body, now=END)
        assert isinstance(read, Accepted) or read.reason in {Reason.INVALID_EVENT, Reason.CONTRACT}
    if text in THROUGH_THE_WORKER:
        await expect_the_same(engine, rules, bodies, now=END)
    else:
        replay(rules.rules, program_of(rules), bodies, now=END, skew=SKEW)


THROUGH_THE_WORKER = {
    "0001-01-01T00:00:00Z",
    "0001-12-31T23:59:59.999999-23:59",
    "2016-12-31T23:59:60Z",
    "2026-04-13T09:00:00-23:59",
    "9999-12-31T23:59:59.999999Z",
}


def test_the_whole_of_time_in_one_life() -> None:
    rules = ruleset()
    bodies = [
        json.dumps({**good_event(Random(n), n), "user_id": "u", "tenant_id": "t", "occurred_at": text}).encode()  # noqa: S311
        for n, text in enumerate(INSTANTS * 20)
    ]
    result, _ = replay(rules.rules, program_of(rules), bodies, now=END, skew=SKEW)
    back, _ = replay(rules.rules, program_of(rules), bodies[::-1], now=END, skew=SKEW)
    assert result.digest == back.digest


# -- through the worker --------------------------------------------------------------------------------------


@long
async def test_spoilt_events_through_the_worker(engine: Engine) -> None:
    dice = Random(2)  # noqa: S311 - no secret
    bodies = [spoilt(dice, number) for number in range(3000 * SIZE)]
    bodies += [json.dumps(good_event(dice, 10**6 + number)).encode() for number in range(300)]
    dice.shuffle(bodies)
    result = await expect_the_same(engine, ruleset(), bodies)
    assert result.counts.dead > 500
    assert not await engine.rows("SELECT FROM dead_letter WHERE reason IN ('defect', 'refused')")
    tell("spoilt events through a worker", f"{len(bodies):,}; {result.counts.dead:,} dead letters")


async def test_names_with_every_character(engine: Engine) -> None:
    events = [
        {**event(n), "event_id": f"{n} {m} {name}"[:100], "user_id": name, "tenant_id": tenant, "source": name}
        for m, (name, tenant) in enumerate([*((name, "t") for name in NAMES), *(("u", name) for name in NAMES)])
        for n in range(3)
    ]
    text = (
        'event a.done {}\nachievement three { title "3" when count(event=a.done, >= 3) }\n'
        'achievement all { title "a" scope tenant when count(event=a.done, >= 3) }\n'
    )
    result = await expect_the_same(engine, ruleset(text), [json.dumps(one).encode() for one in events])
    assert result.counts.dead == 0
    earned = {Subject(one.tenant_id, one.scope, one.subject) for one in result.unlocks}
    assert {one.subject for one in earned if one.tenant_id == "t" and one.scope == "user"} == set(NAMES)
    assert {one.tenant_id for one in earned if one.scope == "tenant"} == {"t", *NAMES}
    # Each is announced on one subject of its own, and says who it is.
    announced = await engine.announced()
    assert {(one["tenant_id"], one["scope"], one["subject"]) for one in announced} == {tuple(one) for one in earned}
    assert len(announced) == len(earned)


@long
async def test_every_other_message_is_poison(engine: Engine) -> None:
    dice = Random(3)  # noqa: S311 - no secret
    poison = (b"", b"{", b"\xff", b"[" * 100, b'{"event_id": "\\u0000"}', b"null", b"[{}, 1]")
    good = [json.dumps(event(n, user=f"u{n % 40}")).encode() for n in range(2000 * SIZE)]
    bodies = [*good, *(dice.choice(poison) for _ in good)]
    dice.shuffle(bodies)
    result = await expect_the_same(engine, ruleset(SMALL), bodies)
    assert (result.counts.events, len(result.unlocks)) == (2000 * SIZE, 40)
    tell("poison, every other message", f"{len(bodies):,} messages; {result.counts.dead:,} dead letters")


SMALL = 'event a.done { key: string?, team: string? }\nachievement three { title "3" when count(event=a.done, >= 3) }\n'


async def send(engine: Engine, bodies: Iterator[bytes]) -> None:
    await publish(engine.settings, (Outgoing("events.raw", body) for body in bodies), lambda done: None)


async def work_off(engine: Engine, **changes: Any) -> Any:  # noqa: ANN401
    with anyio.fail_after(PATIENCE):
        return await app.run(engine.with_settings(**changes).settings, drain=app.at_once())


@long
async def test_one_event_over_and_over(engine: Engine) -> None:
    await engine.apply(SMALL)
    body = json.dumps(event(1)).encode()
    await send(engine, (body for _ in range(20_000 * SIZE)))
    stats = await work_off(engine, batch_size=500)
    assert (stats.events, stats.duplicates, dict(stats.dead)) == (1, 20_000 * SIZE - 1, {})
    tell("one event over and over", f"{20_000 * SIZE:,} times")


@long
async def test_one_user_with_a_life_of_many_events(engine: Engine) -> None:
    """The time of an event does not grow with what has gone before; nor does that of a late one."""
    await engine.apply(
        SMALL
        + 'achievement runs { title "R" when count(event=a.done, >= 50, unless=a.done where key = "x") repeat each }\n'
        + 'achievement kinds { title "K" when count(event=a.done, distinct=key, >= 30, within=1d) repeat every day }\n'
    )
    half, dice = 10_000 * SIZE, Random(4)  # noqa: S311 - no secret
    seconds: list[float] = []
    for begin in (0, half):
        order = {n: n + (dice.randrange(-50, 50) if n % 100 == 0 else 0) for n in range(begin, begin + half)}
        numbers = sorted(order, key=order.__getitem__)
        await send(engine, (json.dumps(event(n, key=f"k{n % 97}")).encode() for n in numbers))
        began = perf_counter()
        await work_off(engine, batch_size=500, skew=10**9)  # a million minutes reach into the future
        seconds.append(perf_counter() - began)
    first, second = (1e6 * each / half for each in seconds)
    assert len(await engine.rows("SELECT FROM event")) == 2 * half
    assert second < 3 * first + 100, f"{first:.0f} us an event, and then {second:.0f}"
    tell(
        "one user with many events",
        f"{2 * half:,}; {first:.0f} us an event in the first half, {second:.0f} in the second",
    )


@long
async def test_many_tenants(engine: Engine) -> None:
    await engine.apply(SMALL + 'achievement all { title "A" scope tenant when count(event=a.done, >= 4) }\n')
    tenants = 500 * SIZE if SIZE < 20 else 10_000
    events = (event(n, user=f"u{n % 2}", tenant=f"t{tenant}") for n in range(6) for tenant in range(tenants))
    await send(engine, (json.dumps(one).encode() for one in events))
    stats = await work_off(engine, batch_size=500)
    assert (stats.events, stats.unlocks) == (6 * tenants, 3 * tenants)
    tell("many tenants", f"{tenants:,}; {stats.unlocks:,} unlocks")

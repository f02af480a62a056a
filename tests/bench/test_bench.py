from __future__ import annotations

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from bench import page, scale
from bench.drain import Drained
from bench.events import Shape, instant, make, messages
from bench.expected import Unlock, compare, expect
from bench.peers.by_hand import State, fold, read, read_state, write_state
from bench.publish import Taken, publish_as_taken
from bench.results import RATIOS, Measured, Results, Row, of, rate, ratio
from bench.runs import Speed, Verdict
from bench.soon import Latency
from dsl.calendar import format_instant
from dsl.compile import compile_rules
from worker.engine.replay import replay
from worker.rulefiles import load

if TYPE_CHECKING:
    from bench.expected import Expected

RULES = Path(__file__).parents[2] / "bench" / "rules.ach"
SHAPE = Shape(4000, users=150, late=0.1, duplicates=0.05)
NOW = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def expected() -> Expected:
    return expect(make(SHAPE))


def test_the_same_shape_and_seed_are_the_same_bytes() -> None:
    first, second = make(SHAPE), make(SHAPE)

    assert first == second
    assert first != make(SHAPE, seed=2)
    # Figures of today and of next year are of the same events.
    assert sha256(b"".join(one.body for one in first)).hexdigest()[:16] == "65872c9a8e068ce5"


def test_events_are_as_described() -> None:
    events = make(SHAPE)
    sizes = [len(one.body) for one in events]
    said = json.loads(events[0].body)

    assert 225 < sum(sizes) / len(sizes) < 255
    assert (said["event_id"], said["user_id"], said["occurred_at"]) == (
        events[0].id,
        events[0].user,
        instant(events[0].at),
    )
    assert len({one.id for one in events}) == SHAPE.events
    assert len(events) == pytest.approx(SHAPE.events * 1.05, rel=0.02)
    behind = sum(one.at < before.at for before, one in pairwise(events))
    assert 0.05 < behind / len(events) < 0.2


def test_ids_are_ordered_as_the_events_are() -> None:
    events = sorted(make(Shape(500, late=0)), key=lambda one: one.at)

    assert [one.id[:13] for one in events] == sorted(one.id[:13] for one in events)


def test_an_array_holds_the_same_events() -> None:
    events = make(Shape(120))
    arrays = messages(events, 50)

    assert [len(one.events) for one in arrays] == [50, 50, 20]
    assert [each for one in arrays for each in json.loads(one.body)] == [json.loads(one.body) for one in events]


@pytest.mark.parametrize("per", [1, 50])
def test_lanes_share_the_users(per: int) -> None:
    events = make(Shape(1000))
    dealt = messages(events, per, lanes=2)

    users = [
        {event.user for one in dealt if one.subject.startswith(f"lane.{lane}.") for event in one.events}
        for lane in range(2)
    ]
    assert all(users)
    assert not users[0] & users[1]
    assert sorted(event.id for one in dealt for event in one.events) == sorted(event.id for event in events)


def test_what_is_expected_is_what_the_engine_grants(expected: Expected) -> None:
    rules = load([RULES])
    bodies = [one.body for one in make(SHAPE)]
    result, dead = replay(rules.rules, compile_rules(rules.rules), bodies, now=NOW, skew=0)

    assert not dead
    assert result.counts.events == expected.events
    assert result.counts.duplicates > 100
    granted = {(one.subject, one.achievement, one.earned_at) for one in result.unlocks}
    assert granted == {(one.user, one.achievement, format_instant(one.earned_at)) for one in expected.unlocks}
    assert {one.achievement for one in expected.unlocks} == {"hundred", "ten_different", "big", "week", "path"}


def test_each_unlock_is_granted_by_one_of_the_users_events(expected: Expected) -> None:
    owners = {one.id: one.user for one in make(SHAPE)}

    assert {(one.user, one.achievement) for one in expected.unlocks} <= expected.granted_by.keys()
    assert all(owners[event] == user for (user, _), event in expected.granted_by.items())


def test_the_fold_by_hand_is_right_where_events_come_in_order() -> None:
    events = make(Shape(4000, users=150, late=0))
    states: dict[str, bytes] = {}
    found: list[Unlock] = []
    for one in events:
        state = read_state(states[one.user]) if one.user in states else State()
        found += [Unlock(one.user, name, one.at) for name in fold(state, read(one.body)[0])]
        states[one.user] = write_state(state)

    assert not compare(expect(events).unlocks, found)


def test_differences_are_counted() -> None:
    wanted = frozenset({Unlock("a", "x", 1), Unlock("b", "x", 2), Unlock("c", "x", 3)})
    found = [Unlock("a", "x", 1), Unlock("b", "x", 5), Unlock("d", "x", 4), Unlock("d", "x", 4)]

    assert str(compare(wanted, found)) == "1 missing, 2 too many, 1 with another earned_at"
    assert str(compare(wanted, wanted)) == "none"


# -- the page ----------------------------------------------------------------------------------------------------------


def drained(events_per_second: float, cpu: float = 10.0) -> Drained:
    return Drained(
        events_per_second=events_per_second,
        worker_cpu=cpu,
        database_cpu=5.0,
        broker_cpu=2.5,
        wal_bytes=512.0,
        table_bytes=300.0,
        peak_bytes=64_000_000,
        seconds=3.0,
    )


def results() -> Results:
    def speeds(*rates: float) -> list[Speed]:
        return [Speed(drained(each), 100_000.0, "none", 12) for each in rates]

    worker = Row("**ach**", "", announces=True, killed=Verdict(right=True, said=""))
    worker.by_mode["1"] = Measured(
        speeds(60_000, 40_000, 50_000),
        [31_000, 29_000, 30_000],
        [Latency(each, 100, 0.0041, 0.0213 + each / 1e6, 0) for each in (15_500, 14_500, 15_000)],
        Latency(25_000, 100, 0.0081, 0.0413, 0),
    )
    other = Row("by hand", "in order", announces=True, killed=Verdict(right=False, said="3 missing"))
    other.by_mode["1"] = Measured(speeds(25_000))
    gone = Row("Pathway", "", announces=False, skipped="it is not here")
    return Results(
        measured_on="2026-11-23",
        command="just bench",
        machine={"CPU": "a machine"},
        versions={"Python": "3.11"},
        events=1000,
        rounds=3,
        rows={"worker": worker, "batched": other, "pathway": gone},
    )


def test_results_survive_their_file() -> None:
    assert msgspec.json.decode(msgspec.json.encode(results()), type=Results) == results()


def test_medians_spreads_and_ratios() -> None:
    assert of(results(), "worker", 1, rate) == (50_000, 40_000, 60_000)
    assert of(results(), "worker", 50, rate) is None
    assert of(results(), "pathway", 1, rate) is None
    to_batched = next(one for one in RATIOS if one.below == "batched")
    assert ratio(results(), to_batched, 1) == 2.0


def test_the_page_shows_what_was_measured() -> None:
    said = page.section(results(), [("Rates", "rates.svg")])

    assert "| **ach** | 50,000 (40,000–60,000) | 10.0 | 5.0 | 2.5 | 512 | 300 | 64.0 |" in said
    soon = "| **ach** | 30,000 (29,000–31,000) | 15,000 | 4.1 (4.1–4.1) | 36.3 (35.8–36.8) | 25,000 | 8.1 | 41.3 |"
    assert soon in said
    assert "| events/s: one worker to batched by hand | at least 1.3 | 2.00 | – |" in said
    assert "| by hand | right | wrong: 3 missing | – | in order |" in said
    assert "- Pathway: it is not here" in said
    assert "![Rates](rates.svg)" in said


@pytest.mark.anyio
async def test_what_is_taken_is_replaced() -> None:
    """No more than so many wait, and all are published in the end."""
    published: list[str] = []

    class Client:
        async def publish(self, subject: str, _body: bytes) -> None:
            published.append(subject)

        async def flush(self) -> None:
            pass

    class Place:
        client = Client()

    waiting: list[int] = []

    async def taken(sent: int) -> int:
        waiting.append(sent - 3 * len(waiting))
        return 3 * (len(waiting) - 1)

    sent = messages(make(Shape(100)), 1)
    marks = await publish_as_taken(Place(), sent, 10, taken)  # pyright: ignore[reportArgumentType]

    assert published == [one.subject for one in sent]
    assert max(waiting) == 10 - 3
    assert isinstance(marks[0], Taken)
    assert [mark.done for mark in marks] == [3 * n for n in range(len(marks))]


def test_only_what_lies_between_the_markers_is_written() -> None:
    first = page.merged("# Title\n\nBy hand.\n", "old")
    second = page.merged(first + "\nBelow.\n", "new")

    assert second.startswith("# Title\n\nBy hand.\n")
    assert second.endswith("\nBelow.\n")
    assert "old" not in second
    assert second.count(page.BEGIN) == second.count(page.END) == 1


def test_what_scaling_takes_is_reckoned_from_what_was_measured() -> None:
    results = msgspec.json.decode(scale.MEASURED.read_bytes(), type=Results)
    said = scale.PAGE.read_text("utf-8")

    assert scale.filled(said, scale.written(results)) == said

"""Labels that come back: the fold drops calendar units only when it is safe.

A subject earns an occurrence once, and a unit of a streak counts once, with any clocks of the events. The test
compares the fold with the slow reference, which drops nothing, in order and late; then it measures the fold's memory.
`ACH_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.calendar import MAX_OFFSET, format_instant
from dsl.fold import fold, start, step
from dsl.outcome import canonical_order, run
from dsl.payload import instant
from dsl.progress import Run, decode, encode
from dsl.story import Arrival
from dsl.types import HOUR, SECOND, Unit
from tests.property.test_late import arrive, program_of, shuffled
from tests.reference import evaluator, time_zones
from tests.reference.draw_settings import thorough
from tests.reference.rule_text import read

if TYPE_CHECKING:
    from dsl.compile import Program
    from dsl.event import Event
    from dsl.progress import State

MOST: Final = 2 * MAX_OFFSET // HOUR + 1
"""Labels of an hour that events at one instant can have: those of two days, and one that both ends cut."""


def granted(program: Program, events: list[Event]) -> list[tuple[object, ...]]:
    unlocks = run(program, events).unlocks
    return sorted((u.subject, u.achievement, u.occurrence or "", u.earned_at) for u in unlocks)


def expected(text: str, events: list[Event]) -> list[tuple[object, ...]]:
    unlocks = evaluator.supported_unlocks(read(text), events)
    return sorted((u.subject.name, u.achievement, u.occurrence or "", format_instant(u.earned_at)) for u in unlocks)


@thorough(300)
@given(st.integers(0, 2**32))
def test_the_fold_grants_what_the_reference_grants(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    text, events = time_zones.rules(dice), time_zones.journey(dice)
    assert granted(program_of(text), events) == expected(text, events)


@thorough(100)
@given(st.integers(0, 2**32))
def test_so_it_does_in_any_order_of_arrival(seed: int) -> None:
    dice = Random(seed)  # noqa: S311 - no secret
    program, events = program_of(time_zones.rules(dice)), time_zones.journey(dice)
    arriving = shuffled(dice, events)
    arrive(program, arriving)
    arrival, size = Arrival(program), dice.randint(1, 4)
    for at in range(0, len(arriving), size):
        arrival.take(arriving[at : at + size])
        for subject, state in arrival.states.items():  # nothing is kept but what is written down
            restored = decode(encode(state))
            assert restored is not None
            arrival.states[subject] = restored
    assert arrival.unlocks(2**62) == run(program, events).unlocks


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_of_labels_lies_between(unit: Unit, seed: int) -> None:
    text = (
        f"{time_zones.CONTRACT}"
        f' achievement x {{ title "X" when count(event=a, >= 1) repeat every {unit.value} tz=event }}'
        f'achievement y {{ title "Y" when streak(event=a, per={unit.value}, >= 3, min=2, tz=event) repeat each }}'
    )
    dice = Random(seed)  # noqa: S311 - no secret
    events = time_zones.crowd(dice)
    ours = granted(program_of(text), events)
    assert ours == expected(text, events)
    assert max(Counter(entry[:3] for entry in ours).values()) == 1
    arrive(program_of(text), shuffled(dice, events))


REPEATED: Final = time_zones.CONTRACT + 'achievement x { title "X" when count(event=a, >= 1) repeat every %s tz=%s }'
RUNS: Final = time_zones.CONTRACT + 'achievement x { title "X" when streak(event=a, per=%s, >= 99, min=%d, tz=%s) }'


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("seed", range(3))
def test_what_is_remembered_of_labels_is_bounded(unit: Unit, seed: int) -> None:
    most = {Unit.MINUTE: 60 * MOST, Unit.HOUR: MOST, Unit.DAY: 3}.get(unit, 2)
    events = sorted(time_zones.crowd(Random(seed), number=600), key=canonical_order)  # noqa: S311 - no secret
    for text, of in ((REPEATED % (unit.value, "event"), _earned), (RUNS % (unit.value, 3, "event"), _recent)):
        plan = program_of(text).scopes["user"]
        state, sizes = start(plan), [0]
        for event in events:
            step(plan, state, event)
            units = of(state)
            assert len(units) == len(set(units))
            sizes.append(len(units))
        assert max(sizes) <= most


def _earned(state: State) -> list[int]:
    return state.earned[0].units


def _recent(state: State) -> list[int]:
    node = state.nodes[0]
    assert isinstance(node, Run)
    return [unit for unit, _ in node.recent]


@pytest.mark.parametrize(("unit", "most"), [(Unit.HOUR, 25), (Unit.DAY, 2), (Unit.WEEK, 2), (Unit.YEAR, 2)])
def test_of_labels_in_order_little_is_remembered(unit: Unit, most: int) -> None:
    plan = program_of(REPEATED % (unit.value, '"UTC"')).scopes["user"]
    events = [time_zones.Event("t", f"e{i:04}", "a", "u", i * HOUR, 0, {"n": 1}) for i in range(200)]
    state, _ = fold(plan, events)
    assert 1 <= len(state.earned[0].units) <= most


@pytest.mark.parametrize(
    ("unit", "zone", "anew"),
    [("hour", "event", True), ("day", "event", False), ("hour", "user", False), ("hour", '"UTC"', False)],
)
def test_states_that_may_have_forgotten_an_hour_are_folded_anew(unit: str, zone: str, *, anew: bool) -> None:
    """They had 75 hours: enough for all zones there are, and not for what an event may say of its own."""
    plan = program_of(REPEATED % (unit, zone)).scopes["user"]
    [judge] = plan.rulings[0].judges
    assert ("repeat once in every hour for" in judge.described) == anew
    assert ("repeat once for" in judge.described) != anew


@pytest.mark.parametrize("sign", "+-")
def test_no_offset_is_farther_than_the_farthest(sign: str) -> None:
    text = f"2026-04-13T12:00:00{sign}23:59"
    read_ = instant(text)
    assert read_ is not None
    assert abs(read_[1]) == time_zones.FARTHEST < MAX_OFFSET // SECOND
    assert instant(f"2026-04-13T12:00:00{sign}24:00") is None
    assert instant(f"2026-04-13T12:00:00{sign}23:60") is None


def test_no_zone_is_farther_nor_sets_its_clock_back_by_more_than_a_day() -> None:
    """So long is a calendar unit at most: as long as its label says, and a day (`_LONGEST` of dsl/conditions.py)."""
    months = [datetime(1840, 1, 1) + timedelta(days=30 * i) for i in range(2_500)]  # noqa: DTZ001 - a wall clock
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = [offset for month in months if (offset := zone.utcoffset(month)) is not None]
        assert max(map(abs, offsets)) < timedelta(microseconds=MAX_OFFSET)
        back = max(max(offsets[max(0, i - 12) : i + 1]) - offsets[i] for i in range(len(offsets)))
        assert back <= timedelta(days=1), name

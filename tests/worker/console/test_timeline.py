from __future__ import annotations

from dsl.event import Event
from dsl.ruleset import build
from tests.integration.engine import RULES
from worker.console.timeline import LEFT, MOST_POINTS, MOST_TYPES, RIGHT, SLOTS, picture, progress_series

MINUTE = 60_000_000
START = 1_776_000_000_000_000


def event(number: int, kind: str = "a.done") -> Event:
    return Event("t1", f"e{number}", kind, "u1", START + number * MINUTE, 0, {})


def series(events: list[Event]) -> dict[str, list[tuple[int, int]]]:
    program = build([("r.ach", RULES.encode())]).program
    assert program is not None
    return dict(progress_series(program.scopes["user"], events))


def test_progress_moves_with_events() -> None:
    found = series([event(0), event(1), event(2, "b.done"), event(3)])
    assert found["three"] == [(START, 33), (START + MINUTE, 66), (START + 3 * MINUTE, 100)]
    # It was earned, and a version that is earned stays full.
    assert [percent for _, percent in found["clean"]] == [50, 100]


def test_a_long_history_is_measured_now_and_then() -> None:
    found = series([event(n, "a.done" if n == 4000 else "b.done") for n in range(5000)])
    assert found["three"][-1][1] == 33
    assert len(found["three"]) <= MOST_POINTS


def test_a_picture_has_everything_within_its_borders() -> None:
    events = [event(n, f"k{n % 9}.x") for n in range(2000)]
    made = picture(events, [("a", [(START, 50), (START + 9 * MINUTE, 100)])], [], START)
    assert made is not None
    assert len(made.events) == MOST_TYPES
    assert made.events[-1].label == "4 other types"
    assert sum(lane.number for lane in made.events) == 2000
    for lane in made.events:
        assert 0 < len(lane.marks) <= SLOTS
        assert all(LEFT <= mark.x <= RIGHT for mark in lane.marks)
    (track,) = made.tracks
    assert (track.label, track.percent) == ("a", 100)
    assert track.line.startswith(f"M{LEFT} ")
    assert [tick.x for tick in made.ticks] == [LEFT, (LEFT + RIGHT) // 2, RIGHT]


def test_one_moment_is_a_picture_and_nothing_is_none() -> None:
    assert picture([], [], [], START) is None
    made = picture([event(0)], [], [], START)
    assert made is not None
    assert made.events[0].marks[0].said == "2026-04-12 13:20:00 UTC"


def test_what_is_long_ago_is_not_pressed_together() -> None:
    made = picture([event(0), event(60)], [], [], START + 10**16)
    assert made is not None
    first, last = (mark.x for mark in made.events[0].marks)
    assert last - first > (RIGHT - LEFT) // 3

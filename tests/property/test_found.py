"""Minimal cases of bugs that the comparison with the reference has found."""

from __future__ import annotations

from dsl.event import Event
from dsl.outcome import run
from dsl.ruleset import build

SECOND = 1_000_000
START = 1_776_038_400 * SECOND


def _earned(rules: str, *events: tuple[int, str]) -> list[tuple[str, str | None, int]]:
    """Return (achievement, occurrence, second) of everything earned; events are (second, type)."""
    program = build([("rules.ach", rules.encode())]).program
    assert program is not None
    made = [
        Event(tenant="t", id=f"e{number}", type=kind, user="u", at=START + second * SECOND, offset=0, fields={})
        for number, (second, kind) in enumerate(events)
    ]
    unlocks = run(program, made).unlocks
    at = {event.id: event for event in made}
    assert len(at) == len(made)
    return [(u.achievement, u.occurrence, _second(u.earned_at)) for u in unlocks]


def _second(shown: str) -> int:
    hours, minutes, seconds = shown[11:19].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def test_a_version_hears_the_types_of_all_its_tiers() -> None:
    rules = """
        event a {} event b {} event c {}
        achievement x version 1 { when count(event=c, >= 9) }
        achievement x version 2 from 2026-04-13T00:00:02Z {
          tier one { when count(event=a, >= 1) }
          tier two { when count(event=b, >= 1) }
        }"""
    # At second 1 the first version rules; the second one finds at its begin that tier one holds already.
    assert _earned(rules, (1, "a"), (3, "b"))[0] == ("x", None, 2)


def test_repeat_each_starts_all_versions_afresh_behind_the_unlock() -> None:
    rules = """
        event a {}
        achievement x version 1 { repeat each when count(event=a, >= 2) }
        achievement x version 2 from 2026-04-13T00:00:03Z { repeat each when count(event=[a, a], >= 2) }"""
    earned = _earned(rules, *((second, "a") for second in range(1, 6)))
    assert earned == [("x", "1", 2), ("x", "2", 4)]


def test_what_was_unlocked_is_taken_up_at_the_next_moment_after_an_unlock() -> None:
    rules = """
        event a {} event b {}
        achievement x { when count(event=a, >= 1) }
        achievement y { repeat each when unlocked(x, within=10s) }"""
    # b is no event that y hears, but it is a moment within ten seconds of x.
    assert _earned(rules, (1, "a"), (2, "b"), (60, "a"))[1:] == [("y", "1", 1), ("y", "2", 60)]


def test_what_was_unlocked_before_a_fresh_version_counts_from_its_first_moment() -> None:
    rules = """
        event a {} event b {} event c {}
        achievement x { when count(event=a, >= 1) }
        achievement y version 1 { when count(event=c, >= 9) }
        achievement y version 2 from 2026-04-13T00:00:03Z fresh {
          when any(unlocked(x, unless=c), count(event=b, >= 2))
        }"""
    assert _earned(rules, (1, "a"), (4, "c"), (5, "b"))[1:] == []
    assert _earned(rules, (1, "a"), (4, "b"), (5, "c"))[1:] == [("y", None, 4)]


def test_what_came_before_a_label_that_comes_back_counts_with_it() -> None:
    # On the Chatham Islands, 03:45 becomes 02:45 at 14:00 UTC: the hours run 02, 03, 02, 03.
    zone = 'tz="Pacific/Chatham"'
    rules = f"""
        event a {{}}
        achievement x {{ when count(event=a, >= 3, per=hour, {zone}) }}
        achievement y {{ repeat every hour {zone} when count(event=a, >= 3) }}"""
    start = 1_775_311_200 * SECOND - START  # 2026-04-04T14:00:00Z
    minutes = (-50, -30, 3)
    earned = _earned(rules, *((start // SECOND + minute * 60, "a") for minute in minutes))
    assert [(name, occurrence) for name, occurrence, _ in earned] == [("x", None), ("y", "2026-04-05T02")]

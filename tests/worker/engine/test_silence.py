from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.silence import HOUR, HOURS, LEAST_HOURS, Silence


def seen(hours: list[int]) -> Silence:
    silence = Silence()
    for hour in hours:
        silence.see("a", (1000 + hour) * HOUR + 7)
    return silence


@given(st.lists(st.integers(0, HOURS - 1), min_size=1).flatmap(lambda hours: st.permutations([*hours, *hours[:3]])))
def test_the_usual_gap_is_the_longest_between_two_grants(hours: list[int]) -> None:
    known = sorted(set(hours))
    gaps = [after - before for before, after in pairwise(known)]
    (grants,) = seen(hours).grants.values()
    assert grants.latest == (1000 + known[-1]) * HOUR + 7
    assert grants.quiet_hours == (max(gaps) if len(known) >= LEAST_HOURS else None)


def test_the_past_ends_with_the_latest_grant_and_is_bounded() -> None:
    hours = [0, 400, 500, 510, 520, 530, 540, HOURS + 300]
    assert seen(hours).grants["a"].quiet_hours == HOURS + 300 - 540
    assert seen([*hours, HOURS + 301]).grants["a"].hours.bit_length() <= HOURS
    assert seen([0, 1, 2, 3, 4, 10**9]).grants["a"].hours == 1


def test_achievements_that_no_rule_has_are_forgotten() -> None:
    silence = seen([1])
    silence.see("b", HOUR)
    silence.keep({"b"})
    assert silence.grants.keys() == {"b"}

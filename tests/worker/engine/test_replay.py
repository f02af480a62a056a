"""A replay reads many messages at a time, and finds what reading them one by one finds."""

from __future__ import annotations

import json
from random import Random
from typing import Final

import pytest

from dsl.ruleset import build
from tests.faults.nasty import RULES, good_event, spoilt
from worker.engine.replay import READ_TOGETHER, replay

NOW: Final = 1_798_761_600_000_000
SKEW: Final = 300_000_000
MESSAGES: Final = READ_TOGETHER * 3 + 7
MARK: Final = 4_242_424_242


def mixed(dice: Random, spoilt_share: float) -> list[bytes]:
    """Return messages: events and arrays, some spoilt, some that come again, with the same or another body."""
    made: list[bytes] = []
    for number in range(MESSAGES):
        kind = dice.random()
        if kind < spoilt_share:
            made.append(spoilt(dice, number))
        elif kind < 0.9 or not made:
            made.append(json.dumps(good_event(dice, number)).encode())
        elif kind < 0.93:
            made.append(dice.choice(made))
        elif kind < 0.95:
            made.append(dice.choice(made).replace(b'": ', b'":', 1).replace(b"1", b"2", 1))
        elif kind < 0.96:
            made.append(dice.choice((b"[]", b"{}", b"%d" % MARK, b"[%d]" % MARK, b'"x"', b"[[]]")))
        else:
            made.append(b"[%b]" % b",".join(dice.sample(made, min(len(made), 5))))
    return made


@pytest.mark.parametrize("spoilt_share", [0.0, 0.002, 0.3])
def test_bulk_reading_changes_nothing(spoilt_share: float) -> None:
    rules = build([("rules.ach", RULES.encode())])
    assert rules.program is not None, rules.problems
    messages = mixed(Random(int(spoilt_share * 1000)), spoilt_share)  # noqa: S311 - no secret
    one_by_one = replay(rules.rules, rules.program, messages, now=NOW, skew=SKEW)
    in_bulk = replay(rules.rules, rules.program, messages, now=NOW, skew=SKEW, mark=MARK)
    assert in_bulk == one_by_one
    counts = in_bulk[0].counts
    assert counts.events > MESSAGES // 3
    assert counts.duplicates
    assert counts.late
    assert counts.dead

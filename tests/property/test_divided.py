"""A recording that is divided among shards says what it says in one piece, whatever the rules: drawn cases.

The clock of versions that begin, and of `settle`, is the latest event of all shards, which none of them knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsl.event import Event
from dsl.ruleset import build
from tests.reference import strategies
from tests.reference.bodies import body_of
from tests.reference.draw_settings import thorough
from tests.reference.strategies import HOUR
from worker.commands.replay.large import large_replay
from worker.engine.replay import Result, replay
from worker.engine.shards import Ground

if TYPE_CHECKING:
    from random import Random

    from dsl.ruleset import RuleSet
    from tests.reference.strategies import Scenario

SHARDS: Final = 5
MARK: Final = 4_242_424_242
NEVER: Final = 2**62
"""A clock that finds no event in the future."""
ENDS: Final = (None, None, -HOUR, 0, HOUR)
"""Where a replay ends, measured by the latest event; None: there."""


def divided(rules: RuleSet, messages: list[bytes], until: int | None) -> tuple[Result, list[Any]]:
    assert rules.program is not None
    ground = Ground(rules.rules, rules.program, SHARDS, now=NEVER, skew=0, mark=MARK, until=until)
    with large_replay(ground, 1) as work:
        work.take(messages)
        return work.result(lambda _: None)


def whole(rules: RuleSet, messages: list[bytes], until: int | None) -> tuple[Result, list[Any]]:
    assert rules.program is not None
    return replay(rules.rules, rules.program, messages, now=NEVER, skew=0, mark=MARK, until=until)


def lesson(number: int, user: str, at: int) -> Event:
    return Event("t", f"e{number}", "lesson", user, at, 0, {})


LESSONS: Final = [lesson(n, f"u{n % 7}", n * HOUR) for n in range(40)]
BEGINS: Final = (
    "event lesson {}\n"
    'achievement two { title "T" when count(event=lesson, >= 99) }\n'
    'achievement two version 2 from 1970-01-02T14:30:00Z { title "T" when count(event=lesson, >= 2) }\n'
)
"""Between the last events of two users: no shard but one sees an event behind it."""


@pytest.mark.parametrize("end", [None, -HOUR, -HOUR // 4, HOUR])
def test_a_version_begins_in_all_shards_or_in_none(end: int | None) -> None:
    rules = build([("rules.ach", BEGINS.encode())])
    messages = [*map(body_of, LESSONS)]
    until = None if end is None else LESSONS[-1].at + end
    found = divided(rules, messages, until)
    assert found == whole(rules, messages, until)
    assert len(found[0].unlocks) == (0 if end == -HOUR else 7)


@thorough(60)
@given(
    st.one_of(strategies.moments(), strategies.scenarios()),
    st.sampled_from(ENDS),
    st.randoms(use_true_random=False),
)
def test_shards_earn_what_one_piece_earns(scenario: Scenario, end: int | None, dice: Random) -> None:
    rules = build([("drawn.ach", scenario.text.encode())])
    messages = [body_of(event) for event in scenario.events]
    again = [event for event in scenario.events if dice.random() < 0.1]
    messages += [*map(body_of, again)]
    # The same id for another user, which may lie in another shard, and be the latest event there.
    messages += [body_of(_of_another(event, dice)) for event in again]
    dice.shuffle(messages)
    latest = max((event.at for event in scenario.events), default=0)
    until = None if end is None else latest + end
    assert divided(rules, messages, until) == whole(rules, messages, until)


def _of_another(event: Event, dice: Random) -> Event:
    later = event.at + dice.choice((0, 0, HOUR))
    return Event(event.tenant, event.id, event.type, f"{event.user}{dice.randrange(9)}", later, 0, event.fields)

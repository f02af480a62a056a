"""A state that stands at the begin of a version, under rules that judge otherwise there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.carry import carry
from dsl.compile import USER
from dsl.event import Event, Position
from dsl.fold import fold
from dsl.outcome import Subject
from worker.engine.folding import PartFold, Refold
from worker.engine.rule_set import Deployed, RuleFile, read_rules

if TYPE_CHECKING:
    from dsl.compile import Plan

BEGIN = 1_000_000
RULES = """
event a {}
achievement x { title "X" when count(event=a, >= 9) }
achievement x version 2 from 1970-01-01T00:00:01Z { title "X" when count(event=a, >= 2) }
"""
MORE = 'achievement z { title "Z" when count(event=a, >= 7) }'
EVENTS = [Event("t", f"a{at}", "a", "u", at, 0, {}) for at in (10, 20)]


def deployed(text: str) -> Deployed:
    return Deployed(2, read_rules([RuleFile("r.ach", text)]), since={}, prefix="e", skew=0)


def plan(text: str) -> Plan:
    return deployed(text).program.scopes[USER]


def test_where_nothing_is_earned_any_more_the_mark_is_the_last_event() -> None:
    text = RULES.replace(">= 2", ">= 3")
    old, new = plan(RULES), deployed(text)
    state, [grant] = fold(old, EVENTS, BEGIN)
    assert (state.mark, grant.earned_at) == (Position(BEGIN, ""), BEGIN)
    carriage = carry([old, new.program.scopes[USER]])
    carried = carriage.of(state)
    part = carriage.part(carried)
    assert part is not None
    folding = PartFold(carriage, carried, part, certain=lambda: False)
    folding.feed(EVENTS)
    merged, anew = folding.merged()
    assert anew.grants == []
    refold = Refold(new, Subject("t", USER, "u"), merged, Position(BEGIN, ""), anew=anew)
    assert refold.mark_is_doubtful
    refold.mark(Position(20, "a20"))
    refold.reach(BEGIN)
    assert refold.state == fold(new.program.scopes[USER], EVENTS, BEGIN)[0]


def test_where_all_is_judged_the_same_the_state_stays() -> None:
    old, new = plan(RULES), plan(RULES + MORE)
    state, _ = fold(old, EVENTS, BEGIN)
    carriage = carry([old, new])
    carried = carriage.of(state)
    assert carried.certain
    assert not carriage.undone(state.mark)
    assert carried.state == fold(new, EVENTS, BEGIN)[0]

"""A plan folded strand by strand is the plan folded event by event: the same states, and the same grants."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsl.fold
from dsl.event import Event
from dsl.fold import reach, start, step, walk
from dsl.outcome import canonical_order
from dsl.progress import encode
from dsl.ruleset import build
from tests.reference import strategies
from tests.reference.draw_settings import thorough
from tests.reference.strategies import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.compile import Plan
    from dsl.progress import Grant, State

HALF = Decimal("0.5")
RULES = """
event a { n: int?, x: decimal?, s: string? }
event b { n: int >= 0, s: string }
event c {}
achievement once { title "Once" when count(event=a, >= 1) }
achievement ladder {
  title "Ladder"
  tier low { when count(event=[a, b], >= 2) } tier middle { when count(event=[a, b], >= 5) }
  tier high { when count(event=[a, b], >= 9) }
}
achievement some { title "Some" when count(event=a where n >= 3, >= 3) }
achievement amount {
  title "Amount"
  tier few { when sum(event=b, of=n, >= 4) } tier many { when sum(event=b, of=n, >= 20) }
}
achievement exact { title "Exact" when sum(event=a, of=x, >= 2.5) }
achievement signed { title "Signed" when sum(event=a, of=n, >= 6) }
achievement kinds {
  title "Kinds"
  tier two { when count(event=b, distinct=s, >= 2) } tier four { when count(event=b, distinct=s, >= 4) }
}
achievement days {
  title "Days"
  tier two { when streak(event=a, per=day, >= 2) } tier four { when streak(event=a, per=day, >= 4) }
}
achievement hours { title "Hours" when streak(event=[a, b], per=hour, >= 3, grace=1) }
achievement weeks { title "Weeks" when streak(event=a, per=week, >= 2) }
achievement busy { title "Busy" when streak(event=b, per=day, min=2, >= 2) }
achievement abroad { title "Abroad" when streak(event=a, per=day, >= 3, tz="Europe/Berlin") }
achievement order { title "Order" when sequence([c, a, b], within=2d) }
achievement often { title "Often" repeat each when count(event=b, >= 3) }
achievement both { title "Both" when all(count(event=a, >= 4), count(event=c, >= 2)) }
"""
ALONE = """
event a { n: int? }
achievement one { title "One" when count(event=a, >= 2) }
achievement two { title "Two" when sum(event=a, of=n, >= 5) }
achievement three { title "Three" when streak(event=a, per=day, >= 2) }
"""


def _plan(text: str) -> Plan:
    program = build([("drawn.ach", text.encode())]).program
    assert program is not None
    return program.scopes["user"]


def _one_by_one(plan: Plan, events: Sequence[Event]) -> tuple[State, list[Grant]]:
    state = start(plan)
    grants: list[Grant] = []
    for event in events:
        grants += step(plan, state, event)
    return state, grants


def _in_runs(plan: Plan, runs: Sequence[Sequence[Event]], *, kept: bool) -> tuple[State, list[Grant]]:
    state = start(plan)
    grants: list[Grant] = []
    for run in runs:
        grants += walk(plan, state, run, kept=kept)
    return state, grants


def _sorted(grants: Sequence[Grant]) -> list[tuple[object, ...]]:
    return sorted(
        (one.earned_at, one.event_id, one.achievement, one.tier or "", one.occurrence or "", one.version)
        for one in grants
    )


def _cut(events: Sequence[Event], random: Random) -> list[list[Event]]:
    at, runs = 0, list[list[Event]]()
    while at < len(events):
        size = random.choice((1, 2, 5, 13, 40))
        runs.append([*events[at : at + size]])
        at += size
    return runs


def _agree(plan: Plan, events: Sequence[Event], random: Random) -> int:
    """Compare the ways to fold events; return how many grants there are."""
    state, grants = _one_by_one(plan, events)
    for kept in (True, False):
        found, earned = _in_runs(plan, _cut(events, random), kept=kept)
        assert _sorted(earned) == _sorted(grants)
        assert [(one.earned_at, one.event_id) for one in earned] == [(one.earned_at, one.event_id) for one in grants]
        assert found.mark == state.mark
        if kept:
            assert found == state
            assert len(encode(found)) == len(encode(state))
    return len(grants)


def _drawn(random: Random) -> list[Event]:
    at, events = random.randrange(10**6) * HOUR, list[Event]()
    gap = random.choice((MINUTE, HOUR, 6 * HOUR, DAY))
    for number in range(random.randrange(1, 60)):
        at += random.choice((0, 1, gap, gap // 2, random.randrange(2 * gap)))
        kind = random.choice(("a", "a", "a", "b", "b", "c", "unheard"))
        fields: dict[str, int | str | Decimal | bool | tuple[object, ...]] = {}
        if random.random() < 0.8 or kind == "b":
            fields["n"] = random.randrange(0 if kind == "b" else -3, 6)
        if random.random() < 0.7 or kind == "b":
            fields["s"] = random.choice("uvwxyz")
        if kind == "a" and random.random() < 0.5:
            fields["x"] = random.choice((1, 2)) if random.random() < 0.5 else HALF
        events.append(Event("t", f"e{number:03}", kind, "u", at, 0, fields))  # pyright: ignore[reportArgumentType]
    return sorted(events, key=canonical_order)


@pytest.fixture(autouse=True)
def in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every run of two events in bulk."""
    monkeypatch.setattr(dsl.fold, "_BULK", 2)


@pytest.mark.parametrize("text", [RULES, ALONE])
def test_strands_agree_with_the_fold_event_by_event(text: str) -> None:
    plan, random, grants = _plan(text), Random(1), 0  # noqa: S311 - no secret
    assert plan.strands is not None
    for _ in range(400):
        grants += _agree(plan, _drawn(random), random)
    assert grants > 400


@thorough(60)
@given(strategies.scenarios(), st.integers(0, 10**6))
def test_drawn_rules_agree(scenario: strategies.Scenario, seed: int) -> None:
    program, random = build([("drawn.ach", scenario.text.encode())]).program, Random(seed)  # noqa: S311 - no secret
    assert program is not None
    plan = program.scopes["user"]
    events = sorted({(one.tenant, one.id): one for one in scenario.events}.values(), key=canonical_order)
    for user in {event.user for event in events}:
        own = [event for event in events if event.user == user]
        clock = max(event.at for event in own)
        state, grants = _one_by_one(plan, own)
        grants += reach(plan, state, clock)
        found, earned = _in_runs(plan, _cut(own, random), kept=True)
        earned += reach(plan, found, clock)
        assert found == state
        assert _sorted(earned) == _sorted(grants)


def test_what_has_earned_all_is_folded_no_further() -> None:
    plan = _plan(ALONE)
    events = [Event("t", f"{n:03}", "a", "u", n * 6 * HOUR, 0, {"n": 1}) for n in range(100)]
    state, grants = start(plan), walk(plan, start(plan), events, kept=False)
    assert len(grants) == 3
    walk(plan, state, events[:40], kept=False)
    before = encode(state)
    assert walk(plan, state, events[40:], kept=False) == []
    assert encode(state)[encode(state).index(b"{") :] == before[before.index(b"{") :]


def test_an_event_that_cannot_be_folded_is_the_mark() -> None:
    plan = _plan(RULES)
    events = [Event("t", f"{n}", "a", "u", n, 0, {}) for n in range(5)]
    broken = Event("t", "x", "b", "u", 5, 0, {"n": "text", "s": "s"})
    state = start(plan)
    with pytest.raises(TypeError):
        walk(plan, state, [*events, broken])
    assert state.mark is not None
    assert state.mark.id == "x"

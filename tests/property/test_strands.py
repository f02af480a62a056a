"""A plan folded strand by strand is the plan folded event by event: the same states, and the same grants."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

import pytest

import dsl.fold
import dsl.strands
from dsl.event import Event
from dsl.fold import reach, start, step, walk
from dsl.outcome import canonical_order
from dsl.progress import encode
from dsl.ruleset import build
from tests.reference.strategies import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.compile import Plan
    from dsl.progress import Grant, State

HALF = Decimal("0.5")
LATER = 2**62
RULES = """
event a { n: int?, x: decimal?, s: string? }
event b { n: int >= 0, s: string }
event c {}
event d { n: int once per n }
event e { x: decimal? >= 0 }
traits from settings { plan: string, timezone: string }
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
achievement points {
  title "Points"
  tier some { when sum(event=e, of=x, >= 2.5) } tier more { when sum(event=e, of=x, >= 7) }
}
achievement minutes { title "Minutes" when streak(event=a, per=minute, >= 2) }
achievement offset { title "Offset" when streak(event=a, per=day, >= 3, tz=event) }
achievement home { title "Home" when streak(event=a, per=day, >= 3, tz=user) }
achievement noon { title "Noon" when count(event=a where at.hour >= 12, >= 3, tz=user) }
achievement copies { title "Copies" when count(event=d, >= 3) }
achievement paid { title "Paid" for plan = "pro" when count(event=b, >= 2) }
achievement later { title "Later" after ladder.low when count(event=c, >= 2) }
achievement begun version 1 from 2030-01-01T00:00:00Z { title "Begun" when count(event=a, >= 3) }
achievement early version 1 from 1975-01-01T00:00:00Z { title "Early" when streak(event=b, per=day, >= 2) }
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
        kind = random.choice(("a", "a", "a", "b", "b", "c", "d", "e", "e", "settings", "unheard"))
        fields: dict[str, int | str | Decimal | bool | tuple[object, ...]] = {}
        if random.random() < 0.8 or kind in {"b", "d"}:
            fields["n"] = random.randrange(0 if kind == "b" else -3, 6)
        if random.random() < 0.7 or kind == "b":
            fields["s"] = random.choice("uvwxyz")
        if kind == "settings":
            fields = {"plan": random.choice(("pro", "free")), "timezone": random.choice(("UTC", "Asia/Tokyo"))}
        if kind in {"a", "e"} and random.random() < 0.7:
            fields["x"] = random.choice((1, 2)) if random.random() < 0.5 else HALF
        events.append(Event("t", f"e{number:03}", kind, "u", at, random.choice((0, 7200, -36000)), fields))  # pyright: ignore[reportArgumentType]
    return sorted(events, key=canonical_order)


@pytest.fixture(autouse=True)
def in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every run of two events in bulk."""
    monkeypatch.setattr(dsl.fold, "_BULK", 2)
    monkeypatch.setattr(dsl.strands, "EACH", 0)
    monkeypatch.setattr(dsl.strands, "CHOICES", 1000)


@pytest.mark.parametrize("text", [RULES, ALONE])
def test_strands_agree_with_the_fold_event_by_event(text: str) -> None:
    plan, random, grants = _plan(text), Random(1), 0  # noqa: S311 - no secret
    assert plan.strands is not None
    for _ in range(400):
        grants += _agree(plan, _drawn(random), random)
    assert grants > 400


def test_any_of_the_rules_agree() -> None:
    """Which rules there are beside them says which aggregates are strands."""
    declared, *achievements = RULES.split("achievement ")
    random, strands = Random(2), 0  # noqa: S311 - no secret
    for _ in range(150):
        some = random.sample(achievements, random.randrange(1, 6))
        some += [one for one in achievements if one.startswith("ladder ") and one not in some]
        plan = _plan(declared + "".join(f"achievement {one}" for one in some))
        strands += plan.strands is not None
        for _ in range(4):
            events = _drawn(random)
            _agree(plan, events, random)
            state, grants = _one_by_one(plan, events)
            late, earned = _in_runs(plan, _cut(events, random), kept=True)
            assert _sorted(grants + reach(plan, state, LATER)) == _sorted(earned + reach(plan, late, LATER))
    assert strands > 75


def test_what_has_earned_all_is_folded_no_further() -> None:
    plan = _plan(ALONE)
    events = [Event("t", f"{n:03}", "a", "u", n * 6 * HOUR, 0, {"n": 1}) for n in range(100)]
    state, grants = start(plan), walk(plan, start(plan), events, kept=False)
    assert len(grants) == 3
    walk(plan, state, events[:40], kept=False)
    before = encode(state)
    assert walk(plan, state, events[40:], kept=False) == []
    assert encode(state)[encode(state).index(b"{") :] == before[before.index(b"{") :]


@pytest.mark.parametrize("broken", [{"n": "text", "s": "s"}, {"n": 1, "s": [1]}])
def test_an_event_that_cannot_be_folded_is_the_mark(broken: dict[str, object]) -> None:
    plan = _plan(RULES)
    events = [Event("t", f"{n}", "a", "u", n, 0, {"n": 1}) for n in range(5)]
    odd = [Event("t", f"x{n}", "b", "u", 5 + n, 0, broken) for n in range(2)]  # pyright: ignore[reportArgumentType]
    state = start(plan)
    walk(plan, state, events[:2])
    with pytest.raises(Exception, match=r".+"):
        walk(plan, state, [*events[2:], *odd])
    assert state.mark is not None
    assert state.mark.id == "x0"


def test_strands_of_other_event_types_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run asks for the strands of its own types, and goes event by event where these are many."""
    types = range(100)
    declared = "".join(
        f'event e{n} {{}}\nachievement a{n} {{ title "A" when count(event=e{n}, >= 2) }}\n' for n in types
    )
    strands = _plan(declared).strands
    assert strands is not None

    def run(kinds: int) -> list[Event]:
        return [Event("t", f"{n:03}", f"e{n % kinds}", "u", n, 0, {}) for n in range(50)]

    assert len(strands.of(run(3)) or ()) == 3
    monkeypatch.setattr(dsl.strands, "CHOICES", 4)
    assert strands.of(run(30)) is None

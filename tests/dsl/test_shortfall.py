"""As long as fewer events come than a condition is short of, it does not hold."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from dsl.event import Event
from dsl.fold import start, step
from dsl.ruleset import build
from dsl.shortfall import needed, shortfall

if TYPE_CHECKING:
    from dsl.types import Value

DECLARED = "event a.done { n: int?, key: string? }\nevent b.done {}\n"
COUNTS = (
    "count(event=a.done, >= 7)",
    "count(event=a.done, distinct=key, >= 4)",
    "all(count(event=a.done, >= 3), count(event=b.done, >= 5))",
    "any(count(event=a.done, >= 3), count(event=b.done, >= 5))",
    "at_least(2, count(event=a.done, >= 9), count(event=a.done, distinct=key, >= 3), count(event=b.done, >= 6))",
    "count(event=a.done where n > 40, >= 3)",
)
UNKNOWN = (
    "sum(event=a.done, of=n, >= 300)",
    "count(event=a.done, >= 3, within=7d)",
    "streak(event=a.done, per=day, >= 3)",
    "sequence([a.done, b.done])",
    "any(count(event=a.done, >= 30), sum(event=a.done, of=n, >= 300))",
)


@pytest.mark.parametrize("when", [*COUNTS, *UNKNOWN])
def test_it_does_not_hold_before(when: str) -> None:
    made = build([("rules.ach", f'{DECLARED}achievement x {{ title "X" when {when} }}'.encode())])
    assert made.program is not None, made.problems
    plan = made.program.scopes["user"]
    (ruling,) = plan.rulings
    node = ruling.judges[0].built.node
    short = shortfall(node)
    positive = 0
    for seed in range(20):
        dice = Random(seed)  # noqa: S311 - reproducible on purpose
        state, earliest = start(plan), 0
        for n in range(40):
            earliest = max(earliest, n + int(short(state)))
            fields: dict[str, Value] = {}
            if dice.random() < 0.6:
                fields = {"n": dice.randrange(100), "key": f"k{dice.randrange(6)}"}
            kind = "a.done" if fields else "b.done"
            step(plan, state, Event("t", f"e{n:03}", kind, "u", n * 10_000_000_000, 0, fields))
            if node.holds(state):
                assert n + 1 >= earliest
                break
            positive += short(state) > 0
    assert bool(positive) is (when in COUNTS)


@pytest.mark.parametrize(
    ("when", "bounds"),
    [
        ("count(event=a.done, >= 7)", [7]),
        ("all(count(event=a.done, >= 3), count(event=b.done, >= 5))", [3]),
        ("any(count(event=a.done, >= 3), count(event=b.done, >= 5))", [3, 5]),
        ("at_least(2, count(event=a.done, >= 9), sum(event=a.done, of=n, >= 9), count(event=b.done, >= 6))", [9, 6]),
        ("all(sum(event=a.done, of=n, >= 9), count(event=b.done, >= 5))", [5]),
        ("any(sum(event=a.done, of=n, >= 9), count(event=b.done, >= 5))", None),
        ("count(event=a.done, distinct=key, >= 4)", None),
        ("count(event=a.done, >= 3, within=7d)", None),
    ],
)
def test_one_of_the_counts_that_are_needed_reaches_its_bound_first(when: str, bounds: list[int] | None) -> None:
    made = build([("rules.ach", f'{DECLARED}achievement x {{ title "X" when {when} }}'.encode())])
    assert made.program is not None, made.problems
    plan = made.program.scopes["user"]
    (ruling,) = plan.rulings
    node = ruling.judges[0].built.node
    found = needed(node)
    assert (None if found is None else [one.least for one in found]) == bounds
    for seed in range(20 if found else 0):
        dice = Random(seed)  # noqa: S311 - reproducible on purpose
        state = start(plan)
        for n in range(40):
            fields: dict[str, Value] = {"n": dice.randrange(5)} if dice.random() < 0.5 else {}
            step(plan, state, Event("t", f"e{n:03}", "a.done" if fields else "b.done", "u", n, 0, fields))
            totals = [getattr(state.nodes.get(one.slot), "total", 0) >= one.least for one in found or ()]
            assert any(totals) or not node.holds(state)


def test_of_unlocks_nothing_is_known() -> None:
    """One event may bring several of them."""
    text = """
      achievement one { title "1" when count(event=a.done, >= 1) }
      achievement two { title "2" when count(event=a.done, >= 1) }
      achievement both { title "3" when count(event=unlocks, >= 2) }
    """
    made = build([("rules.ach", (DECLARED + text).encode())])
    assert made.program is not None, made.problems
    plan = made.program.scopes["user"]
    (node,) = [ruling.judges[0].built.node for ruling in plan.rulings if ruling.achievement == "both"]
    state = start(plan)
    assert shortfall(node)(state) <= 0
    earned = step(plan, state, Event("t", "e", "a.done", "u", 0, 0, {}))
    assert [grant.achievement for grant in earned] == ["one", "two", "both"]

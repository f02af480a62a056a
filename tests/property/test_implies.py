"""Proven implications hold on all events and under all spans.

The test draws a condition and changes its bounds, spans, filters and parts at random to get another one. If the
checker proves that one implies the other, the test folds both over the same events, bare and under spans, and
compares them at every event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dsl.check import check
from dsl.compile import compile_rules
from dsl.outcome import run
from dsl.parse import parse
from dsl.prove import Conditions, Patterns
from dsl.source import Source
from dsl.syntax import Achievement, Combine, Count, Duration, Extreme, Modifiers, Name, Sequence, Streak, Sum, Zone
from dsl.types import DAY, HOUR
from tests.reference import strategies
from tests.reference.draw_settings import thorough

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from dsl.event import Event
    from dsl.schema import Rules
    from dsl.syntax import Cmp, Condition, Pattern

SPANS: Final = (
    Modifiers(within=Duration(us=HOUR, text="1h")),
    Modifiers(within=Duration(us=2 * DAY, text="2d")),
    Modifiers(per=Name(text="day")),
    Modifiers(per=Name(text="week"), tz=Zone(kind="event")),
)


@st.composite
def pairs(draw: DrawFn) -> tuple[Rules, Condition, Condition, list[Event]]:
    anchor = draw(st.sampled_from(strategies.ANCHORS))
    where = strategies.Where(anchor, strategies.ALL_KINDS, spanned=True, targets=())
    text = draw(strategies.conditions(where))
    file, _ = parse(Source("drawn.ach", f"{strategies.CONTRACT}achievement x {{ when {text} }}"))
    rules, _ = check([file])
    one = rules.achievements["x"][0].when
    assert one is not None
    return rules, one, draw(changed(one)), draw(strategies.streams(anchor))


@st.composite
def changed(draw: DrawFn, node: Condition) -> Condition:
    """Draw a condition that is much like another."""
    mods = draw(_mods(node.mods))
    match node:
        case Combine(parts=parts):
            parts = tuple(draw(changed(part)) for part in parts)
            if len(parts) > 1 and draw(st.integers(0, 3)) == 0:
                parts = parts[:-1]
            k = {"all": len(parts), "any": 1}.get(node.kind, min(node.k, len(parts)))
            return replace(node, parts=parts, k=k, mods=mods)
        case Count() | Sum() | Streak() | Extreme():
            return replace(node, event=draw(_pattern(node.event)), cmp=draw(_cmp(node.cmp)), mods=mods)
        case Sequence(steps=steps):
            kept = steps[1:] if len(steps) > 1 and draw(st.integers(0, 2)) == 0 else steps
            return replace(node, steps=tuple(draw(_pattern(step)) for step in kept), mods=mods)
        case _:
            return node


@st.composite
def _cmp(draw: DrawFn, cmp: Cmp) -> Cmp:
    return replace(cmp, bound=max(1, cmp.bound + draw(st.sampled_from((0, 0, -1, 1)))))


@st.composite
def _pattern(draw: DrawFn, pattern: Pattern) -> Pattern:
    if draw(st.integers(0, 2)):
        return pattern
    bare = tuple(replace(one, where=None) for one in pattern.alternatives)
    return replace(pattern, alternatives=bare, where=None)


@st.composite
def _mods(draw: DrawFn, mods: Modifiers) -> Modifiers:
    within = mods.within
    if within is not None:
        longer = replace(within, us=within.us * 2)
        within = draw(st.sampled_from((within, longer, None)))
    return replace(
        mods,
        within=within,
        per=draw(st.sampled_from((mods.per, None))),
        unless=draw(st.sampled_from((mods.unless, None))),
    )


proven: list[bool] = []


@thorough(60)
@given(pairs())
def _whatever_happens(drawn: tuple[Rules, Condition, Condition, list[Event]]) -> None:
    rules, one, two, events = drawn
    conditions = Conditions(Patterns(rules.events, rules.traits))
    proven.append(conditions.implies(one, two, strong=False))
    if proven[-1]:
        _holds(rules, one, two, events)
    if conditions.implies(one, two, strong=True):
        for span in SPANS:
            _holds(rules, _under(one, span), _under(two, span), events)


def _under(node: Condition, span: Modifiers) -> Condition:
    return Combine(kind="all", k=1, parts=(node,), mods=span)


def _holds(rules: Rules, one: Condition, two: Condition, events: list[Event]) -> None:
    """Compare when both were earned; the same events are heard for both."""
    both = (Combine(kind="any", k=1, parts=(one, two)), Combine(kind="all", k=2, parts=(one, two)))
    versions = {
        name: (Achievement(name=Name(text=name), when=when),)
        for name, when in (("one", one), ("two", two), ("any", both[0]), ("all", both[1]))
    }
    unlocks = run(compile_rules(replace(rules, achievements=versions)), events).unlocks
    earned = {(unlock.tenant_id, unlock.subject, unlock.achievement): unlock.earned_at for unlock in unlocks}
    for (tenant, subject, name), at in earned.items():
        if name == "one":
            assert earned.get((tenant, subject, "two"), "never") <= at
            assert earned.get((tenant, subject, "all"), "never") <= at


def test_a_proven_implication_holds() -> None:
    proven.clear()
    _whatever_happens()
    assert sum(proven) > len(proven) / 4

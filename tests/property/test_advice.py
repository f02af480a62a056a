"""Advice is true: a part that is reported as idle can be left out, and nothing changes.

The test removes parts and filters as the advice says; the unlocks must stay the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dsl.advice import examine
from dsl.check import check
from dsl.compile import compile_rules
from dsl.conditions import named_types
from dsl.outcome import run
from dsl.parse import parse
from dsl.source import Source
from dsl.syntax import Achievement, Alternative, And, Combine, Or, Pattern
from tests.reference import strategies
from tests.reference.draw_settings import thorough

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from dsl.schema import Rules
    from dsl.source import Span
    from dsl.syntax import Condition, Node, Predicate

IDLE = ("ACH504", "ACH507")


@st.composite
def scenarios(draw: DrawFn) -> strategies.Scenario:
    """Draw a scenario with conditions that are much alike, so that there is something to advise on."""
    anchor = draw(st.sampled_from(strategies.ANCHORS))
    where = strategies.Where(anchor, ("a", "a", "a", "b", "c.d"), spanned=True, targets=())
    texts: list[str] = []
    for number in range(draw(st.integers(1, 3))):
        parts = ", ".join(draw(strategies.conditions(where, 0)) for _ in range(3))
        filters = " and ".join(draw(strategies.predicates({"n": "int"}, anchor)) for _ in range(2))
        kind = draw(st.sampled_from(("all", "any")))
        texts.append(f"achievement x{number} {{ when {kind}({parts}, count(event=a where {filters}, >= 1)) }}")
    return strategies.Scenario(strategies.CONTRACT + "\n".join(texts), draw(strategies.streams(anchor)))


reported: list[str] = []


@thorough(60)
@given(scenarios().filter(lambda scenario: not strategies.impossible(scenario.text)))
def _whatever_happens(scenario: strategies.Scenario) -> None:
    file, syntax = parse(Source("drawn.ach", scenario.text))
    rules, found = check([file])
    idle = [each for each in examine([file], rules, [*syntax, *found]) if each.code in IDLE]
    reported.extend(each.code for each in idle)
    expected = run(compile_rules(rules), scenario.events).unlocks
    for each in idle:
        assert run(compile_rules(_without(rules, each.span)), scenario.events).unlocks == expected


def test_an_idle_part_can_be_left_out() -> None:
    reported.clear()
    _whatever_happens()
    assert set(reported) == set(IDLE)


def _without(rules: Rules, span: Span) -> Rules:
    """Return rules without the part or filter that stands at a place; what they hear stays."""
    achievements: dict[str, tuple[Achievement, ...]] = {}
    for name, (version,) in rules.achievements.items():
        assert version.when is not None
        when = cast("Condition", _left(version.when, span))
        heard = named_types(version.when) == named_types(when)
        achievements[name] = (replace(version, when=when if heard else version.when),)
    return replace(rules, achievements=achievements)


def _left(node: object, span: Span) -> object:
    """Return a tree without what stands at a place."""
    match node:
        case Combine(parts=parts):
            kept = tuple(cast("Condition", _left(part, span)) for part in parts if part.span != span)
            return replace(node, parts=kept, k=len(kept) if node.kind == "all" else 1)
        case Pattern() | Alternative() if node.where is not None and node.where.span == span:
            return replace(node, where=None)
        case And(parts=parts) | Or(parts=parts):
            rest = tuple(cast("Predicate", _left(part, span)) for part in parts if part.span != span)
            return rest[0] if len(rest) == 1 else replace(node, parts=rest)
        case msgspec.Struct():
            return _inside(cast("Node", node), span)
        case _:
            return node


def _inside(node: Node, span: Span) -> Node:
    changed: dict[str, object] = {}
    for name in node.__struct_fields__:
        value: object = getattr(node, name)
        if isinstance(value, tuple) and name != "span":
            items = cast("tuple[object, ...]", value)
            changed[name] = tuple(_left(item, span) for item in items)
        elif isinstance(value, msgspec.Struct):
            changed[name] = _left(value, span)
    return replace(node, **changed)

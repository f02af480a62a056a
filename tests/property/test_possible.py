"""Conditions that the checker calls impossible never hold, on any events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given

from dsl.analyze import patterns
from dsl.check import check
from dsl.compile import compile_rules
from dsl.outcome import run
from dsl.parse import parse
from dsl.source import Source
from dsl.syntax import Achievement, Combine
from tests.reference import strategies
from tests.reference.draw_settings import thorough

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsl.source import Span
    from dsl.syntax import Condition


@thorough(60)
@given(strategies.scenarios(possible=False))
def test_the_impossible_is_never_earned(scenario: strategies.Scenario) -> None:
    file, _ = parse(Source("drawn.ach", scenario.text))
    found = strategies.impossible(scenario.text)
    if not found:
        return
    doomed = {
        (node.name.text, node.version, tier)
        for node in file.declarations
        if isinstance(node, Achievement)
        for tier in _doomed(node, [(problem.code, problem.span) for problem in found])
    }
    rules, _ = check([file])
    unlocks = run(compile_rules(rules), scenario.events).unlocks
    assert [each for each in unlocks if (each.achievement, each.version, each.tier) in doomed] == []


def _doomed(node: Achievement, found: list[tuple[str, Span]]) -> Iterator[str | None]:
    """Yield the tiers (None: the one condition) that cannot hold, since a part that they need cannot."""
    whens: list[tuple[str | None, Condition]] = [(tier.name.text, tier.when) for tier in node.tiers]
    whens += [] if node.when is None else [(None, node.when)]
    own = [each for each in found if _inside(each[1], node.span)]
    outside = [span for _, span in own if not any(_inside(span, when.span) for _, when in whens)]
    for tier, when in whens:
        if outside or _never(when, own):
            yield tier


def _never(node: Condition, found: list[tuple[str, Span]]) -> bool:
    """Return whether a condition needs a part that is reported as impossible."""
    parts = node.parts if isinstance(node, Combine) else ()
    # Of alternatives, others may match; and what never interrupts, `unless` can do without.
    idle = [each.span for each in patterns(node) if each.listed or each is node.mods.unless]
    own = [
        span
        for code, span in found
        if _inside(span, node.span)
        and not any(_inside(span, part.span) for part in parts)
        and not (code == "ACH418" and any(_inside(span, each) for each in idle))
    ]
    if own or not isinstance(node, Combine):
        return bool(own)
    return sum(_never(part, found) for part in parts) > len(parts) - node.k


def _inside(one: Span, two: Span) -> bool:
    return two.start <= one.start and one.end <= two.end

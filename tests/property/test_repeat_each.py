"""`repeat each` alone takes nothing back: if its condition is final, so are all its occurrences.

The list of language.md names `repeat each` as contestable, its definition of *final* does not make it so, and
docs/decisions/0002-meaning.md has the proof. Here is the search for what would prove it wrong: small streams in which
most things happen close together, evaluated by the slow reference, with every event of them as the one that comes late.
`ACH_EXAMPLES` asks for more streams a shape than the quick run draws.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from dsl.analyze import Kind, verdicts
from dsl.event import Event
from dsl.ruleset import build
from tests.reference.evaluator import supported_unlocks
from tests.reference.rule_text import read
from tests.reference.wall_clock import instant

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from dsl.types import Value

EXAMPLES: Final = max(2, int(os.environ.get("ACH_EXAMPLES", "150")) // 15)

CONTRACT: Final = """
event a { n: int >= 0, s: string? }
event b { n: int >= 0, s: string? }
event c { n: int >= 0, s: string? once per s within 1h }
traits from u { timezone: string }
achievement y { title "Y" when count(event=b, >= 2) }
achievement z { title "Z" when count(event=b, >= 1) repeat each }
"""

FINAL: Final = {
    "count": "when count(event=a, >= 2)",
    "filtered": "when count(event=a where n > 0, > 1)",
    "distinct": "when count(event=[a, b], distinct=s, >= 2)",
    "sum": "when sum(event=a, of=n, >= 4)",
    "max": "when max(event=a, of=n, >= 2)",
    "min": "when min(event=a, of=n, < 1)",
    "sequence": "when sequence([a, b, a])",
    "sequence by": "when sequence([a, [a, b]], by=s)",
    "streak": "when streak(event=a, per=hour, >= 2)",
    "streak with grace": "when streak(event=[a, b], per=hour, >= 2, min=2, grace=1)",
    "streak by days": "when streak(event=a, per=day, >= 2, grace=1)",
    "streak of a condition": "when streak(per=hour, count(event=a, >= 2), >= 2)",
    "units": "when count(per=hour, count(event=[a, b], >= 2), >= 2)",
    "by": "when count(event=a, >= 2, by=s)",
    "values": "when count(by=s, count(event=[a, b], >= 1), >= 2)",
    "streak within": "when streak(event=a, per=hour, >= 2, grace=1, within=4h)",
    "count within": "when count(event=a, >= 3, within=1h)",
    "sum within": "when sum(event=[a, b], of=n, >= 3, within=2h)",
    "distinct within": "when count(event=a, distinct=s, >= 2, within=1h)",
    "sequence within": "when sequence([a, b], within=1h)",
    "count per hour": "when count(event=a, >= 2, per=hour)",
    "count per day": 'when count(event=a, >= 3, per=day, tz="Pacific/Chatham")',
    "count per day of the event": "when count(event=[a, b], >= 2, within=12h)",
    "max within": "when all(max(event=a, of=n, >= 2), count(event=b, >= 1), within=1h)",
    "all": "when all(count(event=a, >= 2), sequence([b, a]))",
    "all within": "when all(count(event=a, >= 2, within=1h), count(event=b, >= 1), within=2h)",
    "any": "when any(count(event=a, >= 3), sum(event=b, of=n, >= 4))",
    "at least": "when at_least(2, count(event=a, >= 2), count(event=b, >= 1), streak(event=a, per=hour, >= 2))",
    "nested spans": "when any(all(count(event=a, >= 1, per=hour), count(event=b, >= 1), within=1h), sequence([b, b]))",
    "tiers": "tier low { when count(event=a, >= 1, within=1h) } tier high { when sequence([a, b, a]) }",
    "active": "when count(event=a, >= 2) active 2026-04-13T00:00:00Z ..",
    "active until": "when count(event=a, >= 2) active .. 2026-04-13T01:00:00Z",
    "after": "when count(event=a, >= 2) after y",
    "after one that repeats": "when count(event=a, >= 1) after z",
    "unlocked": "when all(unlocked(y), count(event=a, >= 1))",
    "unlocked or counted": "when any(unlocked(z), count(event=a, >= 2))",
}
"""Conditions that are final without `repeat each`."""

VERSIONS: Final = {
    "a higher bound later": ("when count(event=a, >= 2)", " from 2026-04-13T00:00:00Z", "when count(event=a, >= 3)"),
    "a lower bound later": ("when count(event=a, >= 3)", " from 2026-04-13T00:00:00Z", "when count(event=a, >= 1)"),
    "fresh": ("when count(event=a, >= 2)", " from 2026-04-13T00:00:00Z fresh", "when sum(event=a, of=n, >= 3)"),
    "another kind": ("when sequence([a, b])", " from 2026-04-13T00:30:00Z", "when streak(event=a, per=hour, >= 2)"),
}

CONTESTABLE: Final = {
    "unless": ("when count(event=a, >= 2, unless=b)", Kind.UNLESS),
    "unless within": ("when sequence([a, a], within=1h, unless=b)", Kind.UNLESS),
    "streak unless": ("when streak(event=a, per=hour, >= 2, unless=b)", Kind.UNLESS),
    "once per": ("when all(count(event=c, >= 1), count(event=b, >= 1))", Kind.ONCE_PER),
    "once per in a tier": ("tier low { when sequence([c, b]) }", Kind.ONCE_PER),
}
"""What makes it contestable beside `repeat each`, which adds nothing to that."""

ANCHOR: Final = instant("2026-04-13T00:00:00Z")
MINUTE: Final = 60_000_000


def _rules(*versions: str) -> str:
    return CONTRACT + "\n".join(versions)


def _once(when: str) -> str:
    return _rules(f'achievement x {{ title "X" repeat each {when} }}')


RULES: Final = {name: _once(when) for name, when in FINAL.items()} | {
    name: _rules(
        f'achievement x {{ title "X" repeat each {first} }}',
        f'achievement x version 2{since} {{ title "X" repeat each {then} }}',
    )
    for name, (first, since, then) in VERSIONS.items()
}


@st.composite
def _streams(draw: DrawFn, kinds: str = "aaaabbc") -> list[Event]:
    """Draw up to a dozen events within some hours of midnight, or days, many of them on one another's edges."""
    step = draw(st.sampled_from((15, 30, 30, 60, 12 * 60)))
    events: list[Event] = []
    for at in draw(st.lists(st.integers(-6, 8), min_size=3, max_size=12)):
        kind = draw(st.sampled_from(kinds))
        fields: dict[str, Value] = {"n": draw(st.integers(0, 3)), "s": draw(st.sampled_from("xy"))}
        identity = f"{draw(st.sampled_from('mza'))}{len(events)}"
        offset = draw(st.sampled_from((0, 0, 7200, -43200)))
        late = draw(st.sampled_from((0, 0, 0, -1, 1)))
        events.append(Event("t", identity, kind, "v", ANCHOR + at * step * MINUTE + late, offset, fields))
    return events


def _granted(text: str, events: list[Event]) -> dict[tuple[str, str | None, str | None], int]:
    unlocks = supported_unlocks(read(text), events)
    return {(each.achievement, each.tier, each.occurrence): each.earned_at for each in unlocks}


def _taken_back(text: str, events: list[Event]) -> list[Event]:
    """Return those of the events that, coming last, take back a grant or move it to a later instant."""
    after = _granted(text, events)
    found: list[Event] = []
    for late in events:
        before = _granted(text, [each for each in events if each is not late])
        if any(key not in after or after[key] > at for key, at in before.items()):
            found.append(late)
    return found


_thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_control = settings(_thorough, max_examples=2_000, phases=[Phase.generate])


@pytest.mark.parametrize("name", sorted(RULES))
@_thorough
@given(events=_streams())
def test_no_late_event_takes_an_occurrence_back(name: str, events: list[Event]) -> None:
    assert _taken_back(RULES[name], events) == []


@pytest.mark.parametrize("name", sorted(RULES))
def test_it_is_called_final(name: str) -> None:
    rules = build([("rules.ach", RULES[name].encode())])
    assert rules.program is not None
    assert all(verdict.final for verdict in verdicts(rules.rules).values())


@pytest.mark.parametrize("name", sorted(CONTESTABLE))
def test_a_contestable_achievement_stays_contestable(name: str) -> None:
    when, kind = CONTESTABLE[name]
    rules = build([("rules.ach", _once(when).encode())])
    assert {reason.kind for reason in verdicts(rules.rules)["x", 1].reasons} == {kind}


@pytest.mark.parametrize("name", sorted(CONTESTABLE))
def test_the_search_finds_what_there_is_to_find(name: str) -> None:
    when, kind = CONTESTABLE[name]
    streams = _streams("bccc" if kind is Kind.ONCE_PER else "aab")
    assert find(streams, lambda events: bool(_taken_back(_once(when), events)), settings=_control)

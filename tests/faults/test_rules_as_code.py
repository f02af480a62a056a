"""Rules are code too: they reach no SQL and no file, and take bounded memory and time, or are refused with a code."""

from __future__ import annotations

import json
from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from dsl.diagnostics import Severity
from dsl.event import Event
from dsl.outcome import run
from dsl.progress import encode
from dsl.ruleset import RuleSet, build
from tests.integration.engine import Engine, event
from worker.commands.test import run_examples

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

EVENTS = "event a { s: string?, n: int? >= 0, x: decimal? }\nevent b { s: string? }\n"
BILLION = 1_000_000_000
SECOND = 1_000_000
PATIENCE = 60.0
"""Seconds for what takes one on an idle machine: a bound on what must not take for ever."""


def achievement(when: str, name: str = "x", more: str = "") -> str:
    return f'{EVENTS}achievement {name} {{ title "X" {more} when {when} }}\n'


def ruleset(text: str) -> RuleSet:
    return build([("rules.ach", text.encode())])


def errors(text: str) -> list[str]:
    return [one.code for one in ruleset(text).problems if one.severity is Severity.ERROR]


def stream(length: int, step: int = SECOND) -> Iterator[Event]:
    for n in range(length):
        fields = {"s": f"s{n}", "n": n}
        yield Event("t", f"e{n:09d}", "a", "u", 1_776_000_000 * SECOND + n * step, 0, {**fields})


def state_after(text: str, length: int, step: int = SECOND) -> int:
    """Return the bytes of the state after so many events of one user."""
    rules = ruleset(text)
    assert rules.program is not None, rules.problems
    began = perf_counter()
    outcome = run(rules.program, stream(length, step))
    assert perf_counter() - began < PATIENCE
    return sum(len(encode(state)) for state in outcome.states.values())


# -- size ----------------------------------------------------------------------------------------------------

MANY = 10_000


@pytest.mark.parametrize(
    "when",
    [
        f"any({', '.join(f'count(event=a where n = {n}, >= {n + 1})' for n in range(MANY))})",
        f"count(event=[{', '.join(f'a where n = {n}' for n in range(MANY))}], >= 2)",
        f"count(event=a where n in [{', '.join(map(str, range(MANY)))}], >= 2)",
        f"count(event=a where {' and '.join(f'n != {n + 5}' for n in range(MANY))}, >= 2)",
        f"count(event=a where {' or '.join(f'n = {n}' for n in range(MANY))}, >= 2)",
        f"sequence([{', '.join(['a'] * 1000)}])",
    ],
    ids=["any", "alternatives", "in", "and", "or", "steps"],
)
def test_ten_thousand_parts(when: str) -> None:
    assert state_after(achievement(when), 20) < 100_000


def test_nesting_as_deep_as_it_goes() -> None:
    deep = achievement("all(" * 61 + "count(event=a, >= 1)" + ")" * 61)
    assert state_after(deep, 10) < 1000
    filters = achievement(f"count(event=a where {'(' * 60}n = 1{')' * 60}, >= 1)")
    assert state_after(filters, 10) < 1000
    nots = achievement(f"count(event=a where {'not ' * 60}n = 1, >= 1)")
    assert state_after(nots, 10) < 1000
    for depth in (100, 100_000):
        assert errors(achievement("all(" * depth + "count(event=a, >= 1)" + ")" * depth)) == ["ACH108"]
        assert "ACH108" in errors(achievement(f"count(event=a where {'not ' * depth}n = 1, >= 1)"))
        assert "ACH108" in errors(
            f"{achievement('count(event=a, >= 1)', more='reward { a: ' + '[' * depth + ']' * depth + '}')}"
        )


@pytest.mark.parametrize("bound", [10**38 - 1, BILLION])
def test_bounds_beyond_all_reach(bound: int) -> None:
    """A number costs a number; what would have to be remembered one by one is refused."""
    assert state_after(achievement(f"count(event=a, >= {bound})"), 2000) < 200
    assert state_after(achievement(f"sum(event=a, of=n, >= {bound})"), 2000) < 200
    assert state_after(achievement(f"streak(event=a, per=hour, >= {bound})"), 2000) < 300
    assert state_after(achievement(f"count(event=a, >= {bound}, per=day)"), 2000) < 200
    assert state_after(achievement(f"count(event=a, >= {bound})", more="repeat every day"), 2000) < 200
    assert errors(achievement(f"count(event=a, distinct=s, >= {bound})")) == ["ACH414"]
    assert errors(achievement(f"count(event=a, >= {bound}, within=1d)")) == ["ACH414"]
    assert errors(achievement(f"all(count(event=a, >= {bound}), count(event=b, >= 1), within=1d)")) == ["ACH414"]
    assert errors(achievement(f"at_least({bound}, count(event=a, >= 1))")) == ["ACH412"]


def test_what_a_bound_remembers_does_not_grow_beyond_it() -> None:
    within = achievement("count(event=a, >= 50, within=10000d)")
    assert state_after(within, 5000) < 60 * 40
    distinct = achievement("count(event=a, distinct=s, >= 50)")
    assert state_after(distinct, 5000) < 60 * 40
    units = achievement(f"streak(event=a, per=hour, >= {BILLION}, grace={BILLION}, unless=b)")
    # Of a streak that is asked for its start, a number an hour.
    assert state_after(units, 2000, 3600 * SECOND) < 2000 * 20


def test_numbers_are_bounded() -> None:
    assert errors(achievement(f"count(event=a, >= {10**38})")) == ["ACH105"]
    assert errors(achievement("count(event=a, >= 1e999999999)")) == ["ACH105"]
    assert errors(achievement(f"count(event=a, >= 1, within={BILLION}w)")) == ["ACH107"]
    assert errors(achievement(f"count(event=a, >= {'9' * 100_000})")) == ["ACH105"]


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 129])
def test_names_fit_into_keys(name: str) -> None:
    assert errors(achievement("count(event=a, >= 1)", name)) == ["ACH118"]
    tiers = f'{EVENTS}achievement x {{ title "X" tier {name} {{ when count(event=a, >= 1) }} }}\n'
    assert errors(tiers) == ["ACH118"]
    scoped = achievement("count(event=a, >= 1)", more=f"scope {name}").replace(
        "s: string?", f"s: string?, {name}: string?"
    )
    assert errors(scoped) == ["ACH118"]


# -- examples ------------------------------------------------------------------------------------------------


def example(times: int) -> str:
    given = f'at 2026-04-13T09:00:00Z u a {{ s: "{{n}}" }} times {times} every 1s\n  expect u x'
    return achievement("count(event=a, >= 3, within=1d, unless=b)") + f'example "e" {{\n  {given}\n}}\n'


@pytest.mark.parametrize("times", [10_001, BILLION, 10**37])
def test_an_example_of_too_many_events(times: int) -> None:
    assert errors(example(times)) == ["ACH414"]


def test_the_longest_example() -> None:
    rules = ruleset(example(10_000))
    began = perf_counter()
    (verdict,) = run_examples(rules)
    assert verdict.failures == ()
    assert perf_counter() - began < PATIENCE


# -- the whole way -------------------------------------------------------------------------------------------

WORDS = (
    "'; DROP TABLE unlock; --",
    '\\"; SELECT pg_sleep(100); --',
    "$1 $$ %s %(x)s {0} ${HOME}",
    "(a+)+$",
    "../../../etc/passwd",
    "{% import os %}",
    "\\u202e\\ud83e\\udd80",
    "",
)
"""As JSON strings have them."""


async def test_words_stay_words_the_whole_way(engine: Engine) -> None:
    """Through apply, the fold, the books and the announcement."""
    texts = [
        f'achievement w{n} {{ title "{word}" about "{word}" reward {{ "k{n}{word}": "{word}", more: ["{word}"] }}'
        f' when any(count(event=a.word where key = "{word}", >= 1), '
        f'count(event=a.word where key in ["{word}"], >= 9)) }}\n'
        for n, word in enumerate(WORDS)
    ]
    await engine.apply("event a.word { key: string?, team: string? }\n" + "".join(texts))
    words = [_json(word) for word in WORDS]
    await engine.publish(event(n, "a.word", user="u", key=word) for n, word in enumerate(words))
    await engine.drain()
    said = {one["achievement"]: one for one in await engine.announced()}
    for n, word in enumerate(words):
        assert said[f"w{n}"]["reward"] == {f"k{n}{word}": word, "more": [word]}
        assert said[f"w{n}"]["event_id"] == f"a.word-{n}-u"
    assert len(said) == len(WORDS) == len(await engine.rows("SELECT FROM unlock"))


def _json(text: str) -> str:
    return json.loads(f'"{text}"')


@pytest.mark.parametrize(
    "text",
    [
        'achievement x; DROP TABLE event { title "X" when count(event=a, >= 1) }',
        'achievement "x" { title "X" when count(event=a, >= 1) }',
        'achievement x { title "X" when count(event=__import__("os").system, >= 1) }',
        'achievement x { title "X" when count(event=a where s ~ "(a+)+$", >= 1) }',
        'achievement x { title "X" when count(event=a where s = "\\u0000", >= 1) }',
        'achievement x { title "X" when streak(event=a, per=day, >= 2, tz="../../etc/passwd") }',
        'achievement x { title "X" when streak(event=a, per=day, >= 2, tz="/etc/passwd") }',
        'achievement x { title "X" reward { a: "\\u0000" } when count(event=a, >= 1) }',
        'include "/etc/passwd"',
        "achievement x\0 { }",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    assert errors(EVENTS + text)


async def test_a_zone_that_is_a_path_is_no_zone(engine: Engine) -> None:
    """Of a user's trait, which any user may send."""
    rules = (
        "event a.done {}\ntraits from user.updated { timezone: string }\n"
        'achievement x { title "X" when streak(event=a.done, per=day, >= 1, tz=user) }\n'
    )
    await engine.apply(rules)
    zones = ("../../../../etc/passwd", "/etc/passwd", ".", "", "x" * 100_000, "Europe/Berlin\\u0000", "\U0001f980")
    await engine.publish(
        one
        for n, name in enumerate(zones)
        for one in (event(0, "user.updated", user=f"u{n}", timezone=name), event(1, user=f"u{n}"))
    )
    stats = await engine.drain()
    assert (stats.events, stats.unlocks, dict(stats.dead)) == (2 * len(zones), len(zones), {})

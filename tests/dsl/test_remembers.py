"""The state of a subject: which conditions share it, its limits, and that the estimates are realistic."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, Phase, given, settings

from dsl.graph import dot, mermaid, picture
from dsl.outcome import run
from dsl.progress import encode
from dsl.remembers import Inventory, inventory, size_of
from dsl.ruleset import RuleSet, build
from tests.reference import strategies
from worker.report.facts import rule_facts

EVENTS: Final = "event a { n: int >= 0, x: decimal >= 0, s: string }\nevent b { s: string }\n"


def rules_of(text: str) -> RuleSet:
    rules = build([("x.ach", text.encode())])
    assert rules.program is not None
    return rules


def known(text: str) -> Inventory:
    return inventory(rules_of(EVENTS + text).rules)


def test_equal_things_are_shared_by_all_who_ask() -> None:
    found = known(
        "achievement one { when count(event=a, >= 1) }\n"
        "achievement many { tier low { when count(event=a, > 9) } tier high { when count(event=a, >= 99) } }\n"
        "achievement more { when all(count(event=a, >= 5), count(event=b, >= 1)) }"
    )
    shared = {each.label: [(*user,) for user in each.users] for each in found.aggregates}
    assert shared == {
        "count(a)": [("one", 1, None), ("many", 1, "low"), ("many", 1, "high"), ("more", 1, None)],
        "count(b)": [("more", 1, None)],
    }


def test_what_bounds_it() -> None:
    found = known(
        "achievement a1 { when count(event=a, >= 5) }\n"
        "achievement a2 { when count(event=a, >= 5, within=7d) }\n"
        "achievement a3 { when count(event=a, distinct=s, >= 5) }\n"
        "achievement a4 { when sequence([a, b], by=s) }\n"
        "achievement a5 { when sequence([a, b], by=s, within=7d) }\n"
        "achievement a6 { when sum(event=a, of=x, >= 5, within=7d) }\n"
        "achievement a7 { when sum(event=a, of=n, >= 5, within=7d) }\n"
    )
    bounds = {user.achievement: each.size for each in found.aggregates for user in each.users if each.kind != "span"}
    assert {name: size.bounded for name, size in bounds.items()} == {f"a{n}": n != 4 for n in range(1, 8)}
    assert bounds["a1"].bytes == 48
    assert bounds["a2"].by == "the bound: 5 events"
    assert bounds["a3"].by == "the bound: 5 values"
    assert bounds["a4"].by == "every value of `s` that has ever occurred"
    assert bounds["a5"].by == "the values of `s` within 7d"
    assert (bounds["a6"].bytes, bounds["a6"].by) == (None, "the events within 7d")
    assert bounds["a7"].by == "the bound: 5, by steps of 1 or more"


def test_fingerprints_are_remembered_too() -> None:
    text = "event c { s: string once per s within 1d } achievement one { when count(event=c, >= 1) }"
    (_, once) = known(text).aggregates
    assert (once.what, once.size.by) == ("fingerprints", "the copies within 1d")


def test_equal_meanings_are_equal_texts() -> None:
    found = known("achievement one { when count(event=a, > 4) }\nachievement two { when count(event=a, >= 5) }")
    assert len(set(found.meanings.values())) == 1


def test_sizes_are_read_at_a_glance() -> None:
    assert [size_of(n) for n in (48, 9_999, 12_345, 5_600_000)] == ["48 bytes", "9999 bytes", "12.3 kB", "5.6 MB"]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
@given(strategies.scenarios())
def test_a_state_is_no_larger_than_estimated(scenario: strategies.Scenario) -> None:
    rules = rules_of(scenario.text)
    assert rules.program is not None
    aggregates = inventory(rules.rules).aggregates
    for subject, state in run(rules.program, scenario.events).states.items():
        own = [each for each in aggregates if each.scope == subject.scope and each.kind != "once"]
        assert len(state.nodes) <= len(own)
        if all(each.size.bytes is not None for each in own):
            state.earned.clear()
            state.counted.clear()
            state.traits.clear()
            # Values and identifiers of the estimate are longer than those of the streams.
            assert len(encode(state)) <= 200 + sum(each.size.bytes or 0 for each in own)
    facts = rule_facts(rules)
    assert {each.key for each in aggregates} == {each.key for each in facts.aggregates}
    assert {key for each in facts.achievements for key in each.remembers} == {each.key for each in facts.aggregates}


def test_a_picture_in_both_languages() -> None:
    rules = rules_of(
        EVENTS + 'achievement one { when count(event=a where s = "x\\\\", >= 1) }\n'
        "achievement two { when all(unlocked(one), count(event=b, >= 1)) after one }"
    )
    drawn = picture(rules.rules)
    assert mermaid(drawn) == (
        "flowchart LR\n"
        '  e0(["a"])\n'
        '  e1(["b"])\n'
        '  a0["count((a where s=#quot;x#92;#92;#quot;))"]\n'
        '  a1["count(b)"]\n'
        '  r0{{"one"}}\n'
        '  r1{{"two"}}\n'
        "  e0 --> a0\n"
        "  a0 --> r0\n"
        "  e1 --> a1\n"
        "  a1 --> r1\n"
        "  r0 -. after .-> r1\n"
        "  r0 -. unlocked .-> r1\n"
    )
    assert '  a0 [shape=box, label="count((a where s=\\"x\\\\\\\\\\"))"];\n' in dot(drawn)
    assert dot(drawn).startswith("digraph rules {\n") and dot(drawn).endswith("}\n")  # noqa: PT018

"""A rule set with other names, and clauses for those of before, has the same unlocks under the names of before."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from dsl.lookup.index import Index, Kind, occurrences
from dsl.lookup.renaming import Refused, rename
from dsl.outcome import run
from dsl.renames import under_first_names
from dsl.ruleset import RuleSet, build
from dsl.syntax import Achievement
from tests.property.test_fold import unlocks, unlocks_by_definition
from tests.reference import evaluator, rule_text, strategies
from tests.reference.draw_settings import thorough
from worker.engine.meaning import meanings_of
from worker.engine.renames import NO_RENAMES

if TYPE_CHECKING:
    from tests.reference.strategies import Scenario


def read(text: str) -> RuleSet:
    found = build([("rules.ach", text.encode())])
    assert found.program is not None, found.problems
    return found


def with_other_names(text: str, dice: Random) -> str:
    """Return rules in which some achievements have other names, as an author would write them."""
    for name in [name for name in dict.fromkeys(_declared(text)) if dice.random() < 0.7]:
        between = f"was_{name}, " if dice.random() < 0.3 else ""
        text = _renamed(text, name, f"now_{name}", between)
    return text


def _declared(text: str) -> list[str]:
    nodes = read(text).files[0].declarations
    return [node.name.text for node in nodes if isinstance(node, Achievement)]


def _renamed(text: str, name: str, new: str, between: str) -> str:
    (file,) = read(text).files
    index = Index([(file.source, occurrences(file))])
    (place, *_) = index.declarations(symbol for symbol in index.symbols() if _is(symbol.kind, symbol.name, name))
    edits = rename(index, place, new)
    assert not isinstance(edits, Refused)
    pieces = [(edit.span.start, edit.span.end, edit.text) for edit in edits]
    pieces += [(end - 1, end - 1, f" renamed from {between}{name} ") for end in _ends(file.declarations, name)]
    for start, end, piece in sorted(pieces, reverse=True):
        text = text[:start] + piece + text[end:]
    return text


def _is(kind: Kind, found: str, name: str) -> bool:
    return kind is Kind.ACHIEVEMENT and found == name


def _ends(declarations: tuple[object, ...], name: str) -> list[int]:
    return [one.span.end for one in declarations if isinstance(one, Achievement) and one.name.text == name]


@thorough(20)
@given(strategies.scenarios(), st.integers(0, 2**32))
def test_renamed_rules_have_the_same_unlocks(scenario: Scenario, seed: int) -> None:
    before, written = read(scenario.text), read(with_other_names(scenario.text, Random(seed)))  # noqa: S311
    after = under_first_names(written)
    assert before.program is not None
    assert after.program is not None
    assert after.program.fingerprint == before.program.fingerprint
    assert meanings_of(after.rules) == meanings_of(before.rules)
    assert run(after.program, scenario.events).unlocks == run(before.program, scenario.events).unlocks
    # The definition judges rules as they are written: names are the only difference.
    first = NO_RENAMES.with_rules(after).first
    found = evaluator.outcome(rule_text.read(written.sources[0].text), scenario.events)
    moved = [one._replace(achievement=first(one.achievement)) for one in found.unlocks]
    assert unlocks(run(after.program, scenario.events)) == unlocks_by_definition(replace(found, unlocks=moved))

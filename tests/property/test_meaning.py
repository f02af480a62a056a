"""Versions with the same meaning grant the same: rules that differ only in unrelated parts, over one ledger.

`ACH_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from hypothesis import given

from dsl.fold import standings
from dsl.outcome import run
from dsl.progress import encode
from tests.reference.draw_settings import thorough
from tests.reference.rule_changes import Chain, achievements_with_versions, alternatives, compiled, seen_by
from worker.engine.meaning import change_of, meanings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.outcome import Outcome, Subject, Unlock
    from dsl.ruleset import RuleSet

_thorough = thorough(30)

NOW: Final = 1_900_000_000_000_000
"""Microseconds, behind all that is drawn."""


def outcomes(chain: Chain) -> list[tuple[RuleSet, Outcome]]:
    found: list[tuple[RuleSet, Outcome]] = []
    for text in chain.texts:
        rules = compiled(text)
        assert rules is not None
        assert rules.program is not None
        found.append((rules, run(rules.program, seen_by(rules.rules, chain))))
    return found


def outcome_of(rules: RuleSet, outcome: Outcome, name: str) -> tuple[list[Unlock], Sequence[object]]:
    """Return what has come out of one achievement: unlocks, and the progress of all at one moment."""
    assert rules.program is not None
    progress = [
        (*subject, standing)
        for subject, state in sorted(outcome.states.items())
        for standing in standings(rules.program.scopes[subject.scope], state, NOW)
        if standing.achievement == name and standing.measure.fraction
    ]
    return [unlock for unlock in outcome.unlocks if unlock.achievement == name], progress


def folded(outcome: Outcome, scope: str) -> tuple[dict[Subject, bytes], list[Unlock]]:
    states = {subject: encode(state) for subject, state in outcome.states.items() if subject.scope == scope}
    return states, [unlock for unlock in outcome.unlocks if unlock.scope == scope]


def test_the_same_meaning_grants_the_same() -> None:
    tried = Counter[str]()

    @_thorough
    @given(alternatives(6))
    def check(chain: Chain) -> None:
        (first, wanted), *others = outcomes(chain)
        before, known = meanings_of(first.rules), achievements_with_versions(first.rules)
        for rules, outcome in others:
            now = meanings_of(rules.rules)
            for name, versions in achievements_with_versions(rules.rules).items():
                if known.get(name) != versions:
                    continue
                keys = [(name, version) for version in versions]
                changed = [change_of(*key, before[key], now[key]) for key in keys]
                same = outcome_of(rules, outcome, name) == outcome_of(first, wanted, name)
                assert same or any(changed), (name, chain.texts[0])
                assert all(one is None or (one.reasons and not one.own) for one in changed)
                tried["other" if any(changed) else "equal"] += 1
                tried["moved"] += not same

    check()
    # Both must be drawn, or nothing is shown.
    assert min(tried["other"], tried["equal"]) > 20, tried
    assert tried["moved"] > 0, tried


def test_what_has_one_fingerprint_folds_alike() -> None:
    tried = Counter[str]()

    @_thorough
    @given(alternatives(6))
    def check(chain: Chain) -> None:
        (first, wanted), *others = outcomes(chain)
        assert first.program is not None
        for rules, outcome in others:
            assert rules.program is not None
            for scope, plan in rules.program.scopes.items():
                other = first.program.scopes.get(scope)
                if other is None or other.fingerprint != plan.fingerprint:
                    tried["other"] += 1
                    continue
                tried["equal"] += 1
                assert folded(outcome, scope) == folded(wanted, scope), chain.texts[0]

    check()
    assert min(tried.values()) > 20, tried

"""The names of achievements in a plan. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from worker.engine.preview import Renaming
from worker.engine.renames import NO_RENAMES

if TYPE_CHECKING:
    from dsl.ruleset import RuleSet
    from worker.engine.preview import Preview, SameRule
    from worker.engine.renames import Renames
    from worker.engine.rule_set import Deployed


def renamings(before: RuleSet, rules: Deployed) -> list[tuple[str, Renaming]]:
    """Return the achievements of a rule set (under first names) that new rules call otherwise, by first name."""
    called, stay = NO_RENAMES.with_rules(before), before.rules.achievements.keys() & rules.rules.achievements.keys()
    pairs = [(first, called.now(first), rules.renames.now(first)) for first in sorted(stay)]
    return [(first, Renaming(was, now)) for first, was, now in pairs if was != now]


def shown_preview(preview: Preview, before: Renames, renames: Renames) -> Preview:
    """Return a plan with the names that achievements have by the new rules; `before` are those in force."""
    shown = renames.shown_in(preview)
    contracts = [replace(one, achievements=[renames.now(name) for name in one.achievements]) for one in shown.contracts]

    def pair(one: SameRule) -> SameRule:
        new, retired = renames.now(one.new), before.now(one.retired)
        return replace(one, new=new, retired=one.retired if retired == new else retired)

    in_words = [renames.now(name) for name in shown.in_words]
    return replace(shown, contracts=contracts, in_words=in_words, same=[pair(one) for one in shown.same])

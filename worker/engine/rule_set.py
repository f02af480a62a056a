"""The rules in force, ready for use: program, contracts, rewards and what is final. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dsl.analyze import verdicts
from dsl.diagnostics import Diagnostic, Severity, render
from dsl.renames import under_first_names
from dsl.roles import bases
from dsl.ruleset import RuleSet, build
from worker.contract.strict_reader import Contract
from worker.contract.transport import NO_REGION
from worker.engine.announcement import Words, unknown, words_of
from worker.engine.former import Former
from worker.engine.renames import Renames

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dsl.progress import Grant
    from dsl.schema import Rules
    from dsl.syntax import Achievement, Reward, Tier
    from worker.engine.change import Cause


class RuleFile(msgspec.Struct, frozen=True):
    """One rule file as it is recorded with what is deployed."""

    name: str
    text: str


class RulesRefusedError(ValueError):
    """The files have errors; `problems` are all of them, the message shows them as the command line would."""

    def __init__(self, problems: list[Diagnostic]) -> None:
        super().__init__("\n".join(render(problem) for problem in problems))
        self.problems = problems


def read_rules(files: Sequence[RuleFile]) -> RuleSet:
    """Parse, check and compile rule files as one set, with achievements under their first names.

    Raises:
        RulesRefusedError: they have errors.
    """
    return under_first_names(read_written(files))


def read_written(files: Sequence[RuleFile]) -> RuleSet:
    """Parse, check and compile rule files as one set, with achievements under the names that they have there.

    Raises:
        RulesRefusedError: they have errors.
    """
    rules = build([(file.name, file.text.encode()) for file in files])
    if rules.program is None:
        raise RulesRefusedError([problem for problem in rules.problems if problem.severity is Severity.ERROR])
    return rules


def rule_files(rules: RuleSet) -> list[RuleFile]:
    """Return rule files as they are recorded when deployed."""
    return [RuleFile(source.name, source.text) for source in rules.sources]


def sources_of(files: Iterable[RuleFile]) -> str:
    """Return rule files as the table `rule_set` keeps them: a JSON array, sorted by name."""
    return msgspec.json.encode(sorted(files, key=lambda file: file.name)).decode()


def rules_hash(sources: str) -> bytes:
    """Return the SHA-256 of rule files as `sources_of` returns them."""
    return sha256(sources.encode()).digest()


class Terms(NamedTuple):
    """What a grant of one achievement, version and tier comes with."""

    reward: str
    """JSON object, as text."""
    final: bool
    words: Words
    """What announcements say beside."""


class Deployed:
    """One epoch of rules. Epoch 0 has none: events are recorded and nothing is judged.

    `since` is the epoch from which each scope's plan has been in force, `skew` is in microseconds.
    `mark` is what `Contract` takes, `region` that of messages that name none; `cause` is the change that applied them.
    `streamed` means that the clock is that of the stream. `renamed` is what was renamed before, as in `Renames`.
    """

    def __init__(  # noqa: PLR0913 - how it is used, each by name
        self,
        epoch: int,
        ruleset: RuleSet,
        *,
        since: Mapping[str, int],
        prefix: str,
        skew: int,
        mark: int | None = None,
        region: str = NO_REGION,
        cause: Cause | None = None,
        streamed: bool = False,
        renamed: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        ruleset = under_first_names(ruleset)
        if ruleset.program is None:
            raise ValueError("rules with errors cannot be deployed")
        rules = ruleset.rules
        self.renames = Renames(renamed or {}).with_rules(ruleset)
        """What achievements are called: everything else here has them under their first names."""
        self.epoch = epoch
        self.rules = rules
        self.written = ruleset.written or rules
        """The rules under the names that achievements have now, for people to read."""
        self.program = ruleset.program
        self.contract = Contract(rules.events, prefix=prefix, skew=skew, mark=mark)
        self.region = region
        self.cause = cause
        self.follows_stream = streamed and any(plan.moments for plan in self.program.scopes.values())
        """Whether versions begin by the latest event, whatever subject that is of, and not by the wall clock."""
        self.stamps = {
            scope: f"{plan.fingerprint}@{since.get(scope, epoch)}" for scope, plan in self.program.scopes.items()
        }
        """What a stored state must carry to be valid: its plan, and since when that has been in force without a break.
        A plan that comes back has missed the events that the one between did not hear."""
        self.former = Former(epoch, ruleset.program)
        """What is known of the rules before."""
        self.heard = bases(frozenset[str]().union(*[plan.types for plan in self.program.scopes.values()]))
        """Event types that any plan hears."""
        self._terms = _terms(rules, self.renames)
        self._ruled = {
            scope: frozenset((ruling.achievement, ruling.tier or "") for ruling in plan.rulings)
            for scope, plan in self.program.scopes.items()
        }

    def terms(self, grant: Grant) -> Terms:
        """Return what a grant of this rule set comes with."""
        return self._terms[grant.achievement, grant.version, grant.tier]

    def terms_of(self, achievement: str, version: int, tier: str | None) -> Terms | None:
        """Return what a grant of a version comes with; None where that is not deployed."""
        return self._terms.get((achievement, version, tier))

    def words(self, achievement: str, version: int, tier: str | None) -> Words:
        """Return what announcements say of a version; nothing of one that is no longer deployed."""
        terms = self._terms.get((achievement, version, tier))
        return unknown(self.renames.now(achievement)) if terms is None else terms.words

    def is_final(self, grant: Grant) -> bool:
        """Tell whether late evidence can never take a grant back; False for versions that are no longer deployed."""
        terms = self._terms.get((grant.achievement, grant.version, grant.tier))
        return terms is not None and terms.final

    def open_at(self, now: int) -> frozenset[str]:
        """Return the achievements that can be earned from an instant on, in microseconds: those that have not ended."""
        return frozenset(
            name
            for name, versions in self.rules.achievements.items()
            if any(one.active is None or one.active.end is None or one.active.end.us > now for one in versions)
        )

    def ruled(self, scope: str) -> list[tuple[str, str]]:
        """Return what is judged in a scope: (achievement, tier), "" for none, in order."""
        return sorted(self._ruled.get(scope, ()))

    def rules_on(self, scope: str, achievement: str, tier: str) -> bool:
        """Tell whether an achievement and tier ("" for none) are still judged in a scope."""
        return (achievement, tier) in self._ruled.get(scope, frozenset())


def _terms(rules: Rules, renames: Renames) -> dict[tuple[str, int, str | None], Terms]:
    finality = verdicts(rules)
    terms: dict[tuple[str, int, str | None], Terms] = {}
    for name, versions in rules.achievements.items():
        for version in versions:
            final = finality[name, version.version].final
            for tier, reward in rewards(version):
                words = words_of(version, _tier(version, tier), final=final, name=renames.now(name))
                terms[name, version.version, tier] = Terms(_reward_text(reward), final, words)
    return terms


def rewards(version: Achievement) -> list[tuple[str | None, Reward | None]]:
    """Return what is given for each tier of a version, one of None where it has no tiers."""
    if version.tiers:
        return [(tier.name.text, tier.reward or version.reward) for tier in version.tiers]
    return [(None, version.reward)]


def _tier(version: Achievement, name: str | None) -> Tier | None:
    return next((tier for tier in version.tiers if tier.name.text == name), None)


def _reward_text(reward: Reward | None) -> str:
    if reward is None:
        return "{}"
    return msgspec.json.Encoder(decimal_format="number").encode(reward.values).decode()

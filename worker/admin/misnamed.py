"""Names that new rules may not give: of what is stored, each achievement must be known by a name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.admin.changes import name_and_number
from worker.engine.renames import Renames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dsl.ruleset import RuleSet
    from worker.admin.versions import RuleVersion
    from worker.store import Session


class MisnamedError(ValueError):
    """Names that the rules give cannot be given; `problems` says which, and why."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


async def misnamed(
    session: Session, ruleset: RuleSet, known: Sequence[RuleVersion], renamed: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return in words what is wrong with the clauses `renamed from` of a rule set, which is under first names.

    `known` are all versions ever deployed, `renamed` what was renamed before, as in `Renames`.
    """
    if not ruleset.renamed:
        return []
    deployed = {row.achievement for row in known}
    others = sorted(set(_others(ruleset, deployed)))
    standing = dict(await session.rows(name_and_number, "kept_unlocks", achievements=others)) if others else {}
    return [*_broken_chains(ruleset, deployed, Renames(renamed)), *_taken(ruleset, deployed, standing)]


def _others(ruleset: RuleSet, deployed: set[str]) -> Iterator[str]:
    """Yield names, now or before, under which another achievement was deployed."""
    for first, names in ruleset.renamed.items():
        yield from (name for name in names if name != first and name in deployed)


def _broken_chains(ruleset: RuleSet, deployed: set[str], before: Renames) -> Iterator[str]:
    """Yield clauses that end with a name that an achievement has got later: they leave out its first one."""
    for first, (name, *between) in sorted(ruleset.renamed.items()):
        origin = before.first(first)
        if origin != first and first not in deployed:
            chain = ", ".join(dict.fromkeys([*between, first, *before.known[origin][1:], origin]))
            yield f"{name}: {first} was renamed from {origin} itself; write `renamed from {chain}`"


def _taken(ruleset: RuleSet, deployed: set[str], standing: Mapping[str, int]) -> Iterator[str]:
    for first, names in sorted(ruleset.renamed.items()):
        for name in names:
            if name != first and name in deployed and standing.get(name):
                yield (
                    f"{names[0]}: another achievement was in force as {name}, and unlocks of it stand "
                    f"({standing[name]:,}); take a new name, or revoke those first: ach revoke --achievement {name}"
                )

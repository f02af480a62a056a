"""The rules in force: read from the database, ready for use."""

from __future__ import annotations

from secrets import randbits
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from anyio import to_thread

from worker.contract.transport import NO_REGION
from worker.engine.change import Announced, Cause, Policy
from worker.engine.renames import Renames
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.rulefiles import without_collector
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.ruleset import RuleSet
    from worker.settings import Settings
    from worker.store import Session, Store

RULE_SETS_KEPT: Final = 2
"""Those in force, and those that are about to come into force."""


class RuleSetRow(NamedTuple):
    """A row of the table `rule_set`; `sources` is a JSON array of rule files."""

    epoch: int
    sources: str
    hash: bytes
    applied_at: int
    applied_by: str
    change_id: int | None = None
    announce: str | None = None
    announce_since: int | None = None

    @property
    def cause(self) -> Cause | None:
        """The change that applied it; None where an earlier release did."""
        if self.change_id is None:
            return None
        return Cause(self.change_id, Policy(Announced(self.announce or Announced.ALL), self.announce_since))

    def files(self) -> tuple[RuleFile, ...]:
        """Return the rule files."""
        return files_of(self.sources)


def files_of(sources: str) -> tuple[RuleFile, ...]:
    """Return rule files that are kept as a JSON array."""
    return tuple(msgspec.json.decode(sources, type=list[RuleFile]))


class RuleSets:
    """The rule sets that were read last, by their files: a worker reads new ones before they come into force."""

    def __init__(self) -> None:
        self._read: dict[tuple[RuleFile, ...], RuleSet] = {}

    async def read(self, files: tuple[RuleFile, ...]) -> RuleSet:
        """Return rule files as a set, read aside where they are not known.

        Raises:
            RulesRefusedError: see `read_rules`.
        """
        found = self._read.pop(files, None)
        if found is None:
            found = await read_aside(files)
        self._read[files] = found
        while len(self._read) > RULE_SETS_KEPT:
            del self._read[next(iter(self._read))]
        return found


async def load_deployed(store: Store, settings: Settings, sets: RuleSets | None = None) -> Deployed:
    """Return the rules in force, ready for use; `sets` has some that were read before.

    Raises:
        UnavailableError: the database is away.
        RulesRefusedError: this version of the engine finds errors in what an earlier one has deployed.
    """
    async with store.transaction() as session:
        row = await session.row(RuleSetRow, "rules_in_force")
        since = await since_of(session)
        renamed = await renamed_before(session)
    files = () if row is None else row.files()
    ruleset = await read_aside(files) if sets is None else await sets.read(files)
    epoch, cause = (0, None) if row is None else (row.epoch, row.cause)
    return prepare(epoch, ruleset, since, settings, cause, renamed)


async def read_aside(files: Sequence[RuleFile]) -> RuleSet:
    """Read rules in a thread: thousands of rules take seconds, and the broker waits for answers to its pings.

    Raises:
        RulesRefusedError: see `read_rules`.
    """
    return await to_thread.run_sync(_read, files)


def _read(files: Sequence[RuleFile]) -> RuleSet:
    with without_collector():
        return read_rules(files)


def prepare(
    epoch: int,
    ruleset: RuleSet,
    since: Mapping[str, int],
    settings: Settings,
    cause: Cause | None = None,
    renamed: Mapping[str, tuple[str, ...]] | None = None,
) -> Deployed:
    """Return rules as they are used.

    `since` has the epoch in which each scope's plan came into force, `cause` is the change that applied them, `renamed`
    what was renamed before, as in `Renames`.
    """
    return Deployed(
        epoch,
        ruleset,
        since=since,
        prefix=settings.input_prefix,
        skew=settings.skew * 1_000_000,
        mark=randbits(62),
        region=settings.region or NO_REGION,
        cause=cause,
        streamed=settings.clock is Clock.STREAM,
        renamed=renamed,
    )


class _Renamed(NamedTuple):
    achievement: str
    names: str
    """A JSON array."""


async def renamed_before(session: Session) -> dict[str, tuple[str, ...]]:
    """Return what achievements are called that were renamed, and what those in no rules any more were called last."""
    rows = await session.rows(_Renamed, "renamed_achievements")
    return {row.achievement: msgspec.json.decode(row.names, type=tuple[str, ...]) for row in rows}


async def read_renames(store: Store) -> Renames:
    """Return what achievements are called now.

    Raises:
        UnavailableError: the database is away.
    """
    async with store.alone() as session:
        return Renames(await renamed_before(session))


class Aggregate(NamedTuple):
    """A row of the table `aggregate`: what was folded for a scope, `building`, `live` or `retired`."""

    scope: str
    fingerprint: str
    types: list[str]
    epoch: int
    status: str
    changed_at: int


async def since_of(session: Session) -> dict[str, int]:
    """Return per scope the epoch in which the plan that judges it came into force."""
    rows = await session.rows(Aggregate, "aggregates")
    return {row.scope: row.epoch for row in rows if row.status != "retired"}

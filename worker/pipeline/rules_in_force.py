"""The rules in force: read from the database, ready for use."""

from __future__ import annotations

from secrets import randbits
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from anyio import to_thread

from worker.contract.transport import NO_REGION
from worker.engine.rule_set import Deployed, RuleFile, read_rules
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsl.ruleset import RuleSet
    from worker.settings import Settings
    from worker.store import Session, Store


class RuleSetRow(NamedTuple):
    """A row of the table `rule_set`; `sources` is a JSON array of rule files."""

    epoch: int
    sources: str
    hash: bytes
    applied_at: int
    applied_by: str

    def files(self) -> tuple[RuleFile, ...]:
        """Return the rule files."""
        return tuple(msgspec.json.decode(self.sources, type=list[RuleFile]))


async def load_deployed(store: Store, settings: Settings) -> Deployed:
    """Return the rules in force, ready for use.

    Raises:
        UnavailableError: the database is away.
        RulesRefusedError: this version of the engine finds errors in what an earlier one has deployed.
    """
    async with store.transaction() as session:
        row = await session.row(RuleSetRow, "rules_in_force")
        since = await since_of(session)
    files = () if row is None else row.files()
    return prepare(0 if row is None else row.epoch, await read_aside(files), since, settings)


async def read_aside(files: Sequence[RuleFile]) -> RuleSet:
    """Read rules in a thread: thousands of rules take seconds, and the broker waits for answers to its pings.

    Raises:
        RulesRefusedError: see `read_rules`.
    """
    return await to_thread.run_sync(_read, files)


def _read(files: Sequence[RuleFile]) -> RuleSet:
    with without_collector():
        return read_rules(files)


def prepare(epoch: int, ruleset: RuleSet, since: Mapping[str, int], settings: Settings) -> Deployed:
    """Return rules as they are used; `since` has the epoch in which each scope's plan came into force."""
    return Deployed(
        epoch,
        ruleset,
        since=since,
        prefix=settings.input_prefix,
        skew=settings.skew * 1_000_000,
        mark=randbits(62),
        region=settings.region or NO_REGION,
    )


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

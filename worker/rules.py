"""Deployment of rules: what is in force, and how new rules come into force.

`apply` is one transaction that takes every partition's fence: it waits for the batches under way, and every later batch
finds the new epoch there and loads the new rules before it commits. Nothing is judged by rules that are no longer in
force, and no worker needs a restart.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
from anyio import to_thread

from dsl.syntax import Achievement, Node
from worker.batch import MAX_SUBJECT_BYTES
from worker.deployed import Deployed, RuleFile, read_rules
from worker.ledger import FIELDLESS, event_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dsl.event import Event
    from worker.rulefiles import RuleSet
    from worker.settings import Settings
    from worker.store import Session, Store

MEMBERS_AT_ONCE = 5000
"""Rows of `event_subject` that are written with one statement."""


class MeaningChangedError(ValueError):
    """A version says something else than it did when it was deployed; the message lists all of them."""

    def __init__(self, changed: Sequence[tuple[str, int]]) -> None:
        names = ", ".join(f"{name} version {version}" for name, version in changed)
        super().__init__(f"changed meaning under an unchanged version: {names}; deploy it as a new version")
        self.changed = tuple(changed)


class Applied(NamedTuple):
    """What an `apply` has done: the epoch now in force, and whether it is a new one."""

    epoch: int
    changed: bool
    new: tuple[tuple[str, int], ...]
    """(achievement, version) that were deployed for the first time."""
    retired: tuple[tuple[str, int], ...]
    """(achievement, version) that are in no file any more; what they granted stays."""


class RuleVersion(NamedTuple):
    """A row of the table `rule_version`; instants in microseconds."""

    achievement: str
    version: int
    source: str
    meaning: bytes
    starts_at: int | None
    ends_at: int | None
    epoch: int
    applied_at: int
    applied_by: str
    retired_at: int | None


class InForce(NamedTuple):
    """A row of the table `rule_set`; `sources` is a JSON array of rule files."""

    epoch: int
    sources: str
    hash: bytes
    applied_at: int
    applied_by: str

    def files(self) -> tuple[RuleFile, ...]:
        """Return the rule files."""
        return tuple(msgspec.json.decode(self.sources, type=list[RuleFile]))


# -- what is in force --------------------------------------------------------------------------------------------------


async def in_force(store: Store) -> InForce | None:
    """Return the rule set in force, or None before the first."""
    async with store.transaction() as session:
        return await session.row(InForce, "rules_in_force")


async def deployed_versions(store: Store) -> list[RuleVersion]:
    """Return every version ever deployed."""
    async with store.transaction() as session:
        return await session.rows(RuleVersion, "rule_versions")


async def load_deployed(store: Store, settings: Settings) -> Deployed:
    """Return the rules in force, ready for use.

    Raises:
        UnavailableError: the database is away.
        RulesRefusedError: this version of the engine finds errors in what an earlier one has deployed.
    """
    async with store.transaction() as session:
        row = await session.row(InForce, "rules_in_force")
        since = await _since(session)
    files = () if row is None else row.files()
    # Thousands of rules take seconds to read, and the broker wants its pings answered.
    ruleset = await to_thread.run_sync(read_rules, files)
    return _prepare(0 if row is None else row.epoch, ruleset, since, settings)


def _prepare(epoch: int, ruleset: RuleSet, since: Mapping[str, int], settings: Settings) -> Deployed:
    return Deployed(epoch, ruleset, since=since, prefix=settings.input_prefix, skew=settings.skew * 1_000_000)


class Aggregate(NamedTuple):
    """A row of the table `aggregate`: what was folded for a scope, `building`, `live` or `retired`."""

    scope: str
    fingerprint: str
    types: list[str]
    epoch: int
    status: str
    changed_at: int


async def _since(session: Session) -> dict[str, int]:
    rows = await session.rows(Aggregate, "aggregates")
    return {row.scope: row.epoch for row in rows if row.status != "retired"}


# -- how new rules come into force -------------------------------------------------------------------------------------


async def apply_rules(store: Store, files: Sequence[RuleFile], settings: Settings, *, by: str, now: int) -> Applied:
    """Put rule files into force in place of those before; the same files again change nothing.

    The backfill that must follow is `worker.backfill`; until it is done, subjects are brought up to date when touched.

    Raises:
        RulesRefusedError: the files have errors.
        MeaningChangedError: a deployed version means something else now.
        UnavailableError: the database is away; nothing is known to have happened.
    """
    files = sorted(files, key=lambda file: file.name)
    ruleset = await to_thread.run_sync(read_rules, files)
    sources = msgspec.json.encode(files).decode()
    digest = sha256(sources.encode()).digest()
    async with store.transaction(patient=True) as session:
        # The first thing: from here on nobody commits a batch, and nobody else applies.
        await session.run("hold_all_partitions")
        before = await session.row(InForce, "rules_in_force")
        if before is not None and before.hash == digest:
            return Applied(before.epoch, changed=False, new=(), retired=())
        epoch = 1 if before is None else before.epoch + 1
        known = await session.rows(RuleVersion, "rule_versions")
        versions = list(_versions(ruleset))
        _refuse_changed_meaning(known, versions)
        await session.run("insert_rule_set", epoch, sources, digest, now, by)
        await _write_versions(session, versions, epoch=epoch, by=by, now=now)
        folded = await _since(session)
        await _write_aggregates(session, ruleset, epoch=epoch, now=now)
        since = await _since(session)
        changed = {scope for scope in (folded | since) if folded.get(scope) != since.get(scope)}
        await _write_members(session, _prepare(epoch, ruleset, since, settings), changed - FIELDLESS)
        await session.run("set_rules_epoch", epoch)
    return _compare(known, versions, epoch)


class _Version(NamedTuple):
    achievement: str
    version: int
    source: str
    meaning: bytes
    starts_at: int | None
    ends_at: int | None


def _versions(ruleset: RuleSet) -> list[_Version]:
    texts = {source.name: source.text for source in ruleset.sources}
    where = {
        (declaration.name.text, declaration.version): texts[file.source.name][slice(*declaration.span)]
        for file in ruleset.files
        for declaration in file.declarations
        if isinstance(declaration, Achievement)
    }
    rows: list[_Version] = []
    for name, versions in ruleset.rules.achievements.items():
        for i, version in enumerate(versions):
            later = versions[i + 1].since if i + 1 < len(versions) else None
            rows.append(
                _Version(
                    name,
                    version.version,
                    where[name, version.version],
                    meaning_of(version),
                    None if version.since is None else version.since.us,
                    None if later is None else later.us,
                )
            )
    return rows


def meaning_of(achievement: Achievement) -> bytes:
    """Return a hash (SHA-256) of what an achievement means: all of it, but places in the file and words.

    Words are title, about, reveal, family and reward: they change what is shown or given, never who has earned it.
    """
    bare = msgspec.structs.replace(
        achievement,
        title=None,
        about=None,
        reveal=None,
        family=None,
        reward=None,
        order=(),
        tiers=tuple(msgspec.structs.replace(tier, title=None, reward=None, reveal=None) for tier in achievement.tiers),
    )
    return sha256(_canonical(bare).encode()).digest()


def _canonical(value: object) -> str:
    """Return a tree as text, without spans, and with numbers and instants by value."""
    if isinstance(value, Node | msgspec.Struct):
        fields = (
            f"{name}={_canonical(getattr(value, name))}"
            for name in value.__struct_fields__
            if name not in _PLACES and not (name == "text" and hasattr(value, "us"))
        )
        return f"{type(value).__name__}({','.join(fields)})"
    if isinstance(value, tuple):
        return f"[{','.join(_canonical(part) for part in cast('tuple[object, ...]', value))}]"
    return repr(value)


_PLACES = frozenset({"span", "source"})


def _refuse_changed_meaning(known: Sequence[RuleVersion], versions: Sequence[_Version]) -> None:
    meanings = {(row.achievement, row.version): (row.meaning, row.starts_at) for row in known}
    changed = [
        (row.achievement, row.version)
        for row in versions
        if meanings.get((row.achievement, row.version), (row.meaning, row.starts_at)) != (row.meaning, row.starts_at)
    ]
    if changed:
        raise MeaningChangedError(changed)


async def _write_versions(session: Session, versions: Sequence[_Version], *, epoch: int, by: str, now: int) -> None:
    rows = sorted(versions, key=lambda row: (row.achievement, row.version))
    columns: list[list[object]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(6)]
    await session.run("upsert_rule_versions", *columns, epoch, now, by)
    await session.run("retire_rule_versions", columns[0], columns[1], now)


async def _write_aggregates(session: Session, ruleset: RuleSet, *, epoch: int, now: int) -> None:
    if ruleset.program is None:
        raise ValueError("rules with errors are not deployed")
    plans = ruleset.program.scopes
    scopes = sorted(plans)
    await session.run("retire_aggregates", scopes, [plans[scope].fingerprint for scope in scopes], now)
    for scope in scopes:
        plan = plans[scope]
        await session.run("build_aggregates", scope, plan.fingerprint, sorted(plan.types), epoch, now)


async def _write_members(session: Session, rules: Deployed, changed: AbstractSet[str]) -> None:
    """Tell the field scopes whose plan has changed their events anew: it may hear or read other ones."""
    if not changed:
        return
    await session.run("forget_members", sorted(changed))
    plans = rules.program.scopes
    types = sorted(frozenset[str]().union(*(plans[scope].types for scope in changed if scope in plans)))
    rows: list[tuple[object, ...]] = []
    async for page in session.pages(partial(event_of, rules), "events_of_types", types):
        for event in page:
            rows.extend(_members(rules, event, changed))
        if len(rows) >= MEMBERS_AT_ONCE:
            await _insert_members(session, rows)
            rows.clear()
    if rows:
        await _insert_members(session, rows)


def _members(rules: Deployed, event: Event, scopes: AbstractSet[str]) -> list[tuple[object, ...]]:
    return [
        (event.tenant, scope, subject, event.at, event.id)
        for scope, subject in rules.program.subjects(event)
        if scope in scopes and len(subject.encode()) <= MAX_SUBJECT_BYTES
    ]


async def _insert_members(session: Session, rows: list[tuple[object, ...]]) -> None:
    await session.run("insert_event_subjects", *(list(column) for column in zip(*rows, strict=True)))


def _compare(known: Sequence[RuleVersion], versions: Sequence[_Version], epoch: int) -> Applied:
    before = {(row.achievement, row.version): row.retired_at is None for row in known}
    after = [(row.achievement, row.version) for row in versions]
    return Applied(
        epoch,
        changed=True,
        new=tuple(key for key in after if key not in before),
        retired=tuple(key for key, active in before.items() if active and key not in set(after)),
    )

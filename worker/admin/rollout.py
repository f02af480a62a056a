"""Deployment of rules: what is in force, and how new rules come into force.

`apply` is one transaction that takes every partition's fence: it waits for the batches under way, and every later batch
finds the new epoch there and loads the new rules before it commits. Nothing is judged by rules that are no longer in
force, and no worker needs a restart.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dsl.syntax import Achievement
from worker.engine.batch import MAX_SUBJECT_BYTES
from worker.engine.columns import FIELDLESS, MEMBER, columns
from worker.engine.meaning import Changed, Meaning, change_of, meanings_of, recalled, recorded
from worker.engine.rule_set import Deployed, RuleFile, RulesRefusedError
from worker.pipeline.ledger import event_of
from worker.pipeline.rules_in_force import Aggregate, RuleSetRow, prepare, read_aside, since_of
from worker.settings import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from dsl.event import Event
    from dsl.ruleset import RuleSet
    from worker.settings import Settings
    from worker.store import Session, Store

MEMBERS_AT_ONCE = 5000
"""Rows of `event_subject` that are written with one statement."""


class MeaningChangedError(ValueError):
    """Versions say something else than they did when they were deployed; `changed` has all of them, with reasons."""

    def __init__(self, changed: Sequence[Changed]) -> None:
        what = "deploy it as a new version"
        if not any(one.own for one in changed):
            what += ", or accept the change (`ach apply --accept-contracts`)"
        super().__init__(f"changed meaning under an unchanged version: {', '.join(map(str, changed))}; {what}")
        self.changed = tuple(changed)


class Applied(NamedTuple):
    """What an `apply` has done: the epoch now in force, and whether it is a new one."""

    epoch: int
    changed: bool
    new: tuple[tuple[str, int], ...] = ()
    """(achievement, version) that were deployed for the first time."""
    retired: tuple[tuple[str, int], ...] = ()
    """(achievement, version) that are in no file any more; what they granted stays."""
    changed_meaning: tuple[Changed, ...] = ()
    """Versions that mean something else now, by declarations that they depend on: accepted, and judged anew."""
    withdrawn: int = 0
    """Unlocks that had not settled when their achievement or tier left the rules."""


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
    declarations: str | None
    """JSON, as in `worker.meaning`; None where it was deployed before that was recorded."""


async def in_force(store: Store) -> RuleSetRow | None:
    """Return the rule set in force, or None before the first."""
    async with store.transaction() as session:
        return await session.row(RuleSetRow, "rules_in_force")


async def deployed_versions(store: Store) -> list[RuleVersion]:
    """Return every version ever deployed."""
    async with store.transaction() as session:
        return await session.rows(RuleVersion, "rule_versions")


# -- how new rules come into force -------------------------------------------------------------------------------------


async def apply_rules(
    store: Store, files: Sequence[RuleFile], settings: Settings, *, by: str, now: int, accept_contracts: bool = False
) -> Applied:
    """Put rule files into force in place of those before; the same files again change nothing.

    A version keeps its meaning. With `accept_contracts` that may change all the same as far as its own text has not:
    where a contract, `once per`, traits or an achievement that it names are other ones now.

    The backfill that must follow is `worker.backfill`; until it is done, subjects are brought up to date when touched.

    Raises:
        RulesRefusedError: the files have errors.
        MeaningChangedError: a deployed version means something else now.
        UnavailableError: the database is away; nothing is known to have happened.
    """
    files = sorted(files, key=lambda file: file.name)
    ruleset = await read_aside(files)
    sources = msgspec.json.encode(files).decode()
    versions = _versions(ruleset)
    change = _Change(ruleset, versions, sources, settings, by, now, accept_contracts)
    while True:
        past = await _remember(store, {(row.achievement, row.version) for row in versions})
        async with store.transaction(patient=True) as session:
            # The first thing: from here on no batch is committed, and no other rules are applied.
            await session.run("hold_all_partitions")
            before = await session.row(RuleSetRow, "rules_in_force")
            # Other rules have been applied meanwhile: look again at what was meant.
            if _epoch_of(before) == past.epoch:
                return await _put_into_force(session, change, before, past)


class _Past(NamedTuple):
    """The meanings of versions that are not on record, computed before any lock is taken; valid in one epoch."""

    epoch: int
    meanings: dict[tuple[str, int], Meaning]


async def _remember(store: Store, wanted: AbstractSet[tuple[str, int]]) -> _Past:
    """Work out what versions meant when they were last in force, where an earlier release has not recorded it so."""
    async with store.transaction() as session:
        before = await session.row(RuleSetRow, "rules_in_force")
        rows = [
            row
            for row in await session.rows(RuleVersion, "rule_versions")
            if (row.achievement, row.version) in wanted
            and recalled(row.meaning, row.starts_at, row.declarations) is None
        ]
        sets = {at: before if at is None else await _set_before(session, at) for at in {row.retired_at for row in rows}}
    meanings: dict[tuple[str, int], Meaning] = {}
    for retired_at, rule_set in sets.items():
        files = () if rule_set is None else rule_set.files()
        try:
            meant = meanings_of((await read_aside(files)).rules)
        except RulesRefusedError:  # by what is checked today: its own text has to do
            continue
        keys = {(row.achievement, row.version) for row in rows if row.retired_at == retired_at}
        meanings.update({key: meant[key] for key in keys & meant.keys()})
    return _Past(_epoch_of(before), meanings)


async def _set_before(session: Session, at: int) -> RuleSetRow | None:
    return await session.row(RuleSetRow, "rule_set_before", at=at)


class _Change(NamedTuple):
    """New rules on their way into force."""

    ruleset: RuleSet
    versions: list[_Version]
    sources: str
    settings: Settings
    by: str
    now: int
    accept_contracts: bool


async def _put_into_force(session: Session, change: _Change, before: RuleSetRow | None, past: _Past) -> Applied:
    """Do what `apply_rules` does, in a transaction that holds all partitions."""
    digest = sha256(change.sources.encode()).digest()
    if before is not None and before.hash == digest:
        return Applied(before.epoch, changed=False)
    ruleset, versions, by, now = change.ruleset, change.versions, change.by, change.now
    epoch = _epoch_of(before) + 1
    known = await session.rows(RuleVersion, "rule_versions")
    changed = _changed_meaning(known, versions, past)
    if changed and (any(one.own for one in changed) or not change.accept_contracts):
        raise MeaningChangedError(changed)
    await session.run("insert_rule_set", epoch=epoch, sources=change.sources, digest=digest, now=now, by=by)
    await _write_versions(session, versions, epoch=epoch, by=by, now=now)
    folded = await since_of(session)
    await _write_aggregates(session, ruleset, epoch=epoch, now=now)
    since = await since_of(session)
    moved = {scope for scope in (folded | since) if folded.get(scope) != since.get(scope)}
    rules = prepare(epoch, ruleset, since, change.settings)
    await _write_members(session, rules, moved - FIELDLESS)
    withdrawn = await _withdraw_retired(session, rules, change.settings, now=now)
    await session.run("set_rules_epoch", epoch=epoch)
    return _compare(known, versions, epoch)._replace(changed_meaning=tuple(changed), withdrawn=withdrawn)


def _epoch_of(row: RuleSetRow | None) -> int:
    return 0 if row is None else row.epoch


class _Version(NamedTuple):
    achievement: str
    version: int
    source: str
    meaning: Meaning
    ends_at: int | None


def _versions(ruleset: RuleSet) -> list[_Version]:
    texts = {source.name: source.text for source in ruleset.sources}
    where = {
        (declaration.name.text, declaration.version): texts[file.source.name][slice(*declaration.span)]
        for file in ruleset.files
        for declaration in file.declarations
        if isinstance(declaration, Achievement)
    }
    meanings = meanings_of(ruleset.rules)
    rows: list[_Version] = []
    for name, versions in ruleset.rules.achievements.items():
        for i, version in enumerate(versions):
            later = versions[i + 1].since if i + 1 < len(versions) else None
            key = name, version.version
            rows.append(_Version(*key, where[key], meanings[key], None if later is None else later.us))
    return rows


def _changed_meaning(known: Sequence[RuleVersion], versions: Sequence[_Version], past: _Past) -> list[Changed]:
    before = {(row.achievement, row.version): row for row in known}
    changed: list[Changed] = []
    for version in versions:
        key = version.achievement, version.version
        row = before.get(key)
        meant = None if row is None else _meant(row, past)
        if meant is not None and (one := change_of(*key, meant, version.meaning)) is not None:
            changed.append(one)
    return changed


def _meant(row: RuleVersion, past: _Past) -> Meaning:
    """Return what a version meant when it was last in force, as far as that is known."""
    meant = recalled(row.meaning, row.starts_at, row.declarations)
    return meant or past.meanings.get((row.achievement, row.version)) or Meaning(row.meaning, row.starts_at, None)


_WRITTEN: Final = ("achievement", "version", "source", "meaning", "starts_at", "ends_at", "declarations")


async def _write_versions(session: Session, versions: Sequence[_Version], *, epoch: int, by: str, now: int) -> None:
    ordered = sorted(versions, key=lambda row: (row.achievement, row.version))
    rows = [(*row[:3], row.meaning.own, row.meaning.starts_at, row.ends_at, recorded(row.meaning)) for row in ordered]
    written = columns("versions", _WRITTEN, rows)
    await session.run("upsert_rule_versions", **written, epoch=epoch, now=now, by=by)
    await session.run("retire_rule_versions", **columns("versions", _WRITTEN[:2], [row[:2] for row in rows]), now=now)


async def _withdraw_retired(session: Session, rules: Deployed, settings: Settings, *, now: int) -> int:
    """Withdraw what has not settled of achievements and tiers that no rule judges any more; return how much that is.

    What they granted stays. What has settled counts as granted, whether or not the outbox has come to it.
    """
    clock = now
    if settings.clock is Clock.STREAM:
        clock = await session.value(int, "latest_instant") or 0
    judged = [(scope, *ruling) for scope in sorted(rules.program.scopes) for ruling in rules.ruled(scope)]
    judged_columns = columns("judged", ("scope", "achievement", "tier"), judged)
    return await session.run("withdraw_retired", **judged_columns, clock=clock, now=now)


async def _write_aggregates(session: Session, ruleset: RuleSet, *, epoch: int, now: int) -> None:
    if ruleset.program is None:
        raise ValueError("rules with errors are not deployed")
    plans = ruleset.program.scopes
    scopes = sorted(plans)
    fingerprints = [plans[scope].fingerprint for scope in scopes]
    await session.run("retire_aggregates", scopes=scopes, fingerprints=fingerprints, now=now)
    for scope in scopes:
        plan = plans[scope]
        types = sorted(plan.types)
        await session.run(
            "build_aggregates", scope=scope, fingerprint=plan.fingerprint, types=types, epoch=epoch, now=now
        )


async def adopt_plans(store: Store, rules: Deployed, *, now: int) -> None:
    """Note under which fingerprints this release folds the rules in force, where another one has deployed them.

    Stamps follow from rules and epoch, so they are right without it. But the next `apply` would take plans that have
    not changed for new ones, and have everyone folded again.
    """
    plans = rules.program.scopes
    if not await _foreign_scopes(store, rules):
        return
    async with store.transaction(patient=True) as session:
        await session.run("hold_all_partitions")
        before = await session.row(RuleSetRow, "rules_in_force")
        if _epoch_of(before) != rules.epoch:
            return
        for scope, plan in sorted(plans.items()):
            fingerprint, types = plan.fingerprint, sorted(plan.types)
            await session.run("forget_retired_aggregate", scope=scope, fingerprint=fingerprint)
            await session.run("adopt_aggregate", scope=scope, fingerprint=fingerprint, types=types, now=now)


async def _foreign_scopes(store: Store, rules: Deployed) -> bool:
    async with store.transaction() as session:
        rows = await session.rows(Aggregate, "aggregates")
    plans = rules.program.scopes
    return any(
        row.status != "retired" and row.scope in plans and row.fingerprint != plans[row.scope].fingerprint
        for row in rows
    )


async def _write_members(session: Session, rules: Deployed, changed: AbstractSet[str]) -> None:
    """Tell the field scopes whose plan has changed their events anew: it may hear or read other ones."""
    if not changed:
        return
    await session.run("forget_members", scopes=sorted(changed))
    plans = rules.program.scopes
    types = sorted(frozenset[str]().union(*(plans[scope].types for scope in changed if scope in plans)))
    rows: list[tuple[object, ...]] = []
    async for page in session.pages(partial(event_of, rules), "events_of_types", types=types):
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
    await session.run("insert_event_subjects", **columns("members", MEMBER, rows))


def _compare(known: Sequence[RuleVersion], versions: Sequence[_Version], epoch: int) -> Applied:
    before = {(row.achievement, row.version): row.retired_at is None for row in known}
    after = [(row.achievement, row.version) for row in versions]
    return Applied(
        epoch,
        changed=True,
        new=tuple(key for key in after if key not in before),
        retired=tuple(key for key, active in before.items() if active and key not in set(after)),
    )

"""Deployment of rules: what is in force, and how new rules come into force.

    announce  the change is pending: its rules are in the database, and workers load them beside those in force
    prepare   members of field scopes are written, in small transactions
    switch    one short transaction takes every partition's fence: it waits for the batches under way, and every later
              batch finds the new epoch there, and is decoded again. It reads no history
    build     worker/admin/backfill.py brings all subjects up to date, while live events do the same with theirs

All partitions switch together: a team spans partitions, and so do the batches that touch it, so two epochs at once
would fold one event by two rule sets. Nothing is judged by rules that are no longer in force, and no worker needs a
restart.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import structlog

from dsl.calendar import format_instant
from worker.admin.changes import (
    Change,
    Cursor,
    beating,
    builder_name,
    cursor_text,
    merged,
    read_cursor,
    roll_back_changes,
    taken_over,
)
from worker.admin.journal import journaled
from worker.admin.members import Difference, Mark, difference, write_late_members, write_members
from worker.admin.misnamed import MisnamedError, misnamed
from worker.admin.pending import NO_TERMS, Pending, Terms, announce, await_workers, check_policy
from worker.admin.versions import (
    BeginsEarlierError,
    MeaningChangedError,
    NewVersion,
    RuleVersion,
    changed_meaning,
    compare_versions,
    too_early,
    versions_of,
    write_versions,
)
from worker.engine.columns import columns
from worker.engine.journal import RulesApplied
from worker.engine.meaning import Changed, Meaning, meanings_of, recalled
from worker.engine.renames import Renames
from worker.engine.rule_set import Deployed, RuleFile, RulesRefusedError, rules_hash, sources_of
from worker.pipeline.ledger import clock_of
from worker.pipeline.rules_in_force import Aggregate, RuleSetRow, prepare, read_aside, renamed_before
from worker.rulefiles import without_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsl.ruleset import RuleSet
    from worker.settings import Settings
    from worker.store import Session, Store

__all__ = [
    "Applied",
    "BeginsEarlierError",
    "MeaningChangedError",
    "MisnamedError",
    "RuleVersion",
    "StalePlanError",
    "Terms",
    "adopt_plans",
    "apply_rules",
    "deployed_versions",
    "in_force",
    "in_words",
]

log = structlog.get_logger()


class StalePlanError(ValueError):
    """Other rules are in force than those that the plan was made against, in this database or in another one."""

    def __init__(self, epoch: int, now: RuleSetRow | None, change: Change | None) -> None:
        said = "no rules are in force" if now is None else in_words(now, change)
        if now is not None and now.epoch == epoch:
            said += ", with other rules: it is a plan of another database"
        super().__init__(f"the plan was made against epoch {epoch}, and {said}; make a new one with `ach plan`")


def in_words(row: RuleSetRow, change: Change | None) -> str:
    """Return which rules are in force, since when, by whose hand and why."""
    why = "" if change is None or not change.message else f": {change.message}"
    return f"epoch {row.epoch} is in force, applied {format_instant(row.applied_at)} by {row.applied_by}{why}"


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
    change_id: int | None = None
    """The change; None where an earlier release has applied these rules."""
    meanwhile: tuple[str, ...] = ()
    """What others have put into force since this began, in words."""
    took_over: str = ""
    """Which change was not done, and what becomes of it, in words."""
    silenced: int = 0
    """Unlocks of changes that it has rolled back, which are never announced now."""
    renamed: tuple[tuple[str, str], ...] = ()
    """(name before, name now) of achievements that have another name; their unlocks go on."""
    held_ms: int = 0
    """For how long no batch could be committed, beside the wait for those under way."""


async def in_force(store: Store) -> RuleSetRow | None:
    """Return the rule set in force, or None before the first."""
    async with store.transaction() as session:
        return await session.row(RuleSetRow, "rules_in_force")


async def deployed_versions(store: Store) -> list[RuleVersion]:
    """Return every version ever deployed."""
    async with store.transaction() as session:
        return await session.rows(RuleVersion, "rule_versions")


# -- how new rules come into force -------------------------------------------------------------------------------------


async def apply_rules(  # noqa: PLR0913 - each is a choice of its own
    store: Store,
    files: Sequence[RuleFile],
    settings: Settings,
    *,
    by: str,
    now: int,
    accept_contracts: bool = False,
    terms: Terms = NO_TERMS,
    dry_run: bool = False,
    said: Callable[[str], None] = lambda _: None,
) -> Applied:
    """Put rule files into force in place of those before; the same files again change nothing.

    A version keeps its meaning. With `accept_contracts` that may change all the same as far as its own text has not:
    where a contract, `once per`, traits or an achievement that it names are other ones now. With `dry_run` all is
    checked and nothing is done. `said` is called with what it waits for, in words.

    The backfill that must follow is `worker.backfill`; until it is done, subjects are brought up to date when touched.

    Raises:
        RulesRefusedError: the files have errors.
        MeaningChangedError: a deployed version means something else now.
        BeginsEarlierError, MisnamedError, StalePlanError, PolicyRefusedError, NotPendingError: nothing was done.
        UnavailableError: the database is away; nothing is known to have happened.
    """
    files = sorted(files, key=lambda file: file.name)
    ruleset = await read_aside(files)
    change = _Change(
        ruleset, versions_of(ruleset), sources_of(files), settings, by, now, accept_contracts, terms, builder_name()
    )
    past = first = await _remember(store, change)
    if (known := await _checked(store, change, past)) is not None or dry_run:
        return known or _preview(change, past)
    await check_policy(store, terms, now=now)
    deed = RulesApplied(tuple(files), terms.policy.announced.value, terms.policy.since)
    with journaled(settings, lambda _: deed, by=by, at=now) as noted:
        applied = await _bring_into_force(store, change, past, said)
        noted.not_done = not applied.changed
    if not applied.changed:
        return applied
    log.debug("rules in force", epoch=applied.epoch, held_ms=applied.held_ms)
    return applied._replace(meanwhile=await _meanwhile(store, first.epoch, applied.epoch))


async def _bring_into_force(store: Store, change: _Change, past: _Past, said: Callable[[str], None]) -> Applied:
    """Put rules into force; return what is to be said where others have just done the same."""
    async with announce(store, _pending(change, past.epoch), said) as pending, beating(partial(pending.beat, store)):
        while True:
            ready = await _make_ready(store, change, past)
            await await_workers(store, pending, now=change.now, said=said)
            if (applied := await _switch(store, change, past, ready, pending)) is not None:
                return applied
            past = await _remember(store, change)
            if (known := await _checked(store, change, past)) is not None:
                return known


async def _switch(store: Store, change: _Change, past: _Past, ready: _Ready, pending: Pending) -> Applied | None:
    """Put rules into force; None where others have come into force meanwhile: what was meant has to be seen again."""
    applied = None
    # A full collection would take longer than all of this, and nothing is committed meanwhile.
    with without_collector():
        async with store.transaction(patient=True) as session:
            await session.run("know_arrays", texts=[], numbers=[], digests=[], instants=[])
            # From here on no batch is committed, and no other rules are applied.
            await session.run("hold_all_partitions")
            held = monotonic()
            if await _epoch_in_force(session) == past.epoch:
                applied = await _put_into_force(session, change, past, ready, pending)
        return None if applied is None else applied._replace(held_ms=round((monotonic() - held) * 1000))


async def _checked(store: Store, change: _Change, past: _Past) -> Applied | None:
    """Refuse what cannot be applied; return what is to be said where these rules are in force already."""
    if past.in_force is not None and past.in_force.hash == rules_hash(change.sources):
        return Applied(past.epoch, changed=False, change_id=past.in_force.change_id)
    if _is_stale(change.terms, past):
        async with store.transaction() as session:
            said = await _change_of(session, past.epoch)
        raise StalePlanError(change.terms.epoch or 0, past.in_force, said)
    async with store.transaction() as session:
        if problems := await misnamed(session, change.ruleset, past.known, past.renamed):
            raise MisnamedError(problems)
    _refuse(change, past)
    return None


def _is_stale(terms: Terms, past: _Past) -> bool:
    """Tell whether a plan was made against other rules than those in force."""
    against = "" if past.in_force is None else past.in_force.hash.hex()
    return terms.epoch not in {None, past.epoch} or terms.against not in {None, against}


def _refuse(change: _Change, past: _Past) -> list[Changed]:
    """Return accepted changes of meaning; raise where one is not, or a version begins too early."""
    renames = past.renames(change)
    changed = renames.shown_in(changed_meaning(past.known, change.versions, past.meanings))
    if changed and (any(one.own for one in changed) or not change.accept_contracts):
        raise MeaningChangedError(changed)
    if early := renames.shown_in(too_early(past.known, change.versions)):
        raise BeginsEarlierError(early)
    return changed


def _preview(change: _Change, past: _Past) -> Applied:
    """Return what would be applied; raise as `_refuse` does."""
    changed = _refuse(change, past)
    compared = compare_versions(past.known, change.versions, Renames(past.renamed), past.renames(change))
    return Applied(past.epoch + 1, changed=True, changed_meaning=tuple(changed), **compared._asdict())


async def _meanwhile(store: Store, first: int, last: int) -> tuple[str, ...]:
    """Return in words which rules came into force between two epochs."""
    epochs = list(range(first + 1, last))
    if not epochs:
        return ()
    async with store.transaction() as session:
        between = await session.rows(RuleSetRow, "rule_sets_of_epochs", epochs=epochs)
        return tuple([in_words(row, await _change_of(session, row.epoch)) for row in between])


async def _change_of(session: Session, epoch: int) -> Change | None:
    return await session.row(Change, "change_of_epoch", epoch=epoch)


def _pending(change: _Change, epoch: int) -> Pending:
    return Pending(epoch, change.sources, change.by, change.now, change.terms, change.builder)


class _Past(NamedTuple):
    """What was in force, and what versions meant, read before any lock is taken.

    Both tables are written by an `apply` alone, which puts a new epoch into force: all of it holds in its own epoch.
    """

    in_force: RuleSetRow | None
    known: list[RuleVersion]
    """Every version ever deployed."""
    meanings: dict[tuple[str, int], Meaning]
    """Of versions that are to come into force and whose meanings are not on record."""
    renamed: dict[str, tuple[str, ...]]
    """As in `Renames`, by the rules in force and those before them."""

    def renames(self, change: _Change) -> Renames:
        """Return what achievements are called once a change is in force."""
        return Renames(self.renamed).with_rules(change.ruleset)

    @property
    def epoch(self) -> int:
        """The epoch in which all of it is valid."""
        return 0 if self.in_force is None else self.in_force.epoch


async def _remember(store: Store, change: _Change) -> _Past:
    """Work out what versions meant when they were last in force, where an earlier release has not recorded it so."""
    wanted = {(row.achievement, row.version) for row in change.versions}
    async with store.transaction() as session:
        # The epoch is read first: where others apply rules in between, the switch finds another one and looks again.
        before = await session.row(RuleSetRow, "rules_in_force")
        known = await session.rows(RuleVersion, "rule_versions")
        renamed = await renamed_before(session)
        rows = [
            row
            for row in known
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
    return _Past(before, known, meanings, renamed)


class _Ready(NamedTuple):
    """What is prepared before the switch."""

    rules: Deployed
    """As of this epoch, but for what of it is in force already."""
    members: Difference
    begun: Mark
    """How far the ledger was when its members were begun."""
    mark: Mark
    """How far it was when they were written."""
    leaves: bool
    """Whether an achievement or tier may leave the rules."""
    applied: Applied
    """What becomes of versions."""


async def _make_ready(store: Store, change: _Change, past: _Past) -> _Ready:
    """Write what can be written before the switch."""
    old = await _old_rules(past)
    members = difference(old, change.ruleset)
    rules = prepare(past.epoch + 1, change.ruleset, {}, change.settings, renamed=past.renamed)
    begun, mark = await write_members(store, rules, members.heard)
    leaves = old is None or bool(_rulings(old) - _rulings(change.ruleset))
    return _Ready(rules, members, begun, mark, leaves, _preview(change, past))


async def _old_rules(past: _Past) -> RuleSet | None:
    """Return the rules in force; None where this release cannot read them."""
    try:
        return await read_aside(() if past.in_force is None else past.in_force.files())
    except RulesRefusedError:
        return None


def _rulings(ruleset: RuleSet) -> set[tuple[str, str, str | None]]:
    if ruleset.program is None:
        return set()
    plans = ruleset.program.scopes
    return {(scope, one.achievement, one.tier) for scope, plan in plans.items() for one in plan.rulings}


async def _set_before(session: Session, at: int) -> RuleSetRow | None:
    return await session.row(RuleSetRow, "rule_set_before", at=at)


class _Change(NamedTuple):
    """New rules on their way into force."""

    ruleset: RuleSet
    versions: list[NewVersion]
    sources: str
    settings: Settings
    by: str
    now: int
    accept_contracts: bool
    terms: Terms
    builder: str


async def _put_into_force(session: Session, change: _Change, past: _Past, ready: _Ready, pending: Pending) -> Applied:
    """Do what `apply_rules` does, in a transaction that holds all partitions."""
    ruleset, versions, by, now = change.ruleset, change.versions, change.by, change.now
    epoch, change_id, policy = past.epoch + 1, pending.change_id, change.terms.policy
    await session.run(
        "insert_rule_set",
        epoch=epoch,
        sources=change.sources,
        digest=rules_hash(change.sources),
        now=now,
        by=by,
        change_id=change_id,
        announce=policy.announced.value,
        announce_since=policy.since,
    )
    clock = await clock_of(session, change.settings, now)
    await write_versions(session, versions, epoch=epoch, by=by, now=now, clock=clock)
    await _write_aggregates(session, ruleset, epoch=epoch, now=now)
    await write_late_members(session, ready.rules, ready.members, ready.mark)
    if ready.members.names_more:
        await session.run("letters_are_unread")
    withdrawn = 0
    if ready.leaves:
        withdrawn = await _withdraw_retired(session, ready.rules, change.settings, change_id, now=now)
    took_over = await _take_over(session, change, ready, pending, epoch)
    silenced = 0
    if change.terms.back_to is not None:
        silenced = await roll_back_changes(session, change.terms.back_to, now=now)
    await session.run("set_rules_epoch", epoch=epoch)
    return ready.applied._replace(withdrawn=withdrawn, silenced=silenced, change_id=change_id, took_over=took_over)


async def _take_over(session: Session, change: _Change, ready: _Ready, pending: Pending, epoch: int) -> str:
    """Put the change into force, with what the one before it has left to do; return that in words."""
    heard = {scope: sorted(types) for scope, types in sorted(ready.members.heard.items())}
    cursor = Cursor(heard=heard, xid=ready.begun.xid, unheard=ready.members.unheard)
    left = await _change_of(session, epoch - 1)
    if left is not None and left.state != "done":
        cursor = merged(cursor, read_cursor(left.cursor))
    await session.run("supersede_changes", now=change.now, by=change.by)
    await pending.put_into_force(session, epoch=epoch, cursor=cursor_text(cursor), now=change.now)
    return "" if left is None else taken_over(left, change.terms.policy)


async def _epoch_in_force(session: Session) -> int:
    return await session.value(int, "epoch_in_force") or 0


async def _withdraw_retired(session: Session, rules: Deployed, settings: Settings, change_id: int, *, now: int) -> int:
    """Withdraw what has not settled of achievements and tiers that no rule judges any more; return how much that is.

    What they granted stays. What has settled counts as granted, whether or not the outbox has come to it.
    """
    clock = await clock_of(session, settings, now)
    judged = [(scope, *ruling) for scope in sorted(rules.program.scopes) for ruling in rules.ruled(scope)]
    judged_columns = columns("judged", ("scope", "achievement", "tier"), judged)
    return await session.run("withdraw_retired", **judged_columns, clock=clock, now=now, change_id=change_id)


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
        if await _epoch_in_force(session) != rules.epoch:
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

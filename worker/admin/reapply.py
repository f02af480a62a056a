"""Decisions of operators that a restored backup has forgotten, done again from the journal.

Each is looked for first: a tombstone by its instant, decisions about unlocks by theirs, rules by their hash. So to do
it again is harmless, and what the database knows is passed over. The journal has hashes in place of names, which are
found by the names that the database has, and those that the input stream still has: who came after the backup and was
erased is known from there alone.

What is not found is waited for: workers read the stream again, and the command is run once more when they have caught
up. Then it may also be that nothing is left of it, as of the unlocks of an erased user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import msgspec

from dsl.compile import USER
from dsl.outcome import Subject
from dsl.progress import Grant
from worker.admin.backfill import backfill, bring_up_to_date, change_to_build
from worker.admin.erasure import erase_user
from worker.admin.manual_grant import CannotGrantError, grant_by_hand
from worker.admin.outdated import Stamp
from worker.admin.pending import Terms
from worker.admin.revocation import revoke_all
from worker.admin.rollout import apply_rules, in_force
from worker.admin.tombstone import NotAnnouncedError, NoTombstoneError, lift_tombstone
from worker.contract.partition import name_of
from worker.engine.change import Announced, Policy
from worker.engine.journal import Erasure, Lift, ManualGrant, Revocation, RulesApplied
from worker.engine.reconcile import unlock_id
from worker.engine.rule_set import rules_hash, sources_of
from worker.pipeline.rules_in_force import load_deployed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from dsl.event import Position
    from worker.engine.journal import Entry, Pseudonyms
    from worker.settings import Settings
    from worker.store import Store

PAGE: Final = 5000
REASON: Final = "done again from the journal"


class Reapplied(msgspec.Struct):
    """What was done again, or would be."""

    entries: int = 0
    rules: str = "none in the journal"
    erased: int = 0
    lifted: int = 0
    revoked: int = 0
    """Unlocks."""
    granted: int = 0
    waiting: int = 0
    """Decisions about people and unlocks that are not there, or not yet."""


class Journal(NamedTuple):
    """What was decided, in order, and what its hashes are made with."""

    entries: Sequence[Entry]
    names: Pseudonyms


async def reapply(
    store: Store,
    settings: Settings,
    journal: Journal,
    seen: Iterable[Subject],
    *,
    now: Callable[[], int],
    dry_run: bool = False,
) -> Reapplied:
    """Do again what the database does not know; `seen` are users that the streams name, `now` in microseconds.

    Raises:
        RulesRefusedError, PolicyRefusedError, NotPendingError: the rules cannot be put into force.
        SupersededError, BuildEndedError: as in `backfill`.
        UnavailableError: some is done; doing it again does the rest.
    """
    # What is done again is in the journal already.
    settings = msgspec.structs.replace(settings, journal=None, journal_key_file=None)
    work = _Reapply(store, settings, journal, now, dry_run=dry_run)
    await work.rules()
    await work.people(seen)
    await work.unlocks()
    return work.done


class _Tombstone(NamedTuple):
    erased_at: int
    lifted_at: int | None


class _Decided(NamedTuple):
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str
    occurrence: str

    @property
    def unlock_id(self) -> UUID:
        grant = Grant(self.achievement, self.tier or None, self.occurrence or None, 1, 0, "", 0)
        return unlock_id(Subject(*self[:3]), grant)


class _Reapply:
    """Does it, step by step."""

    def __init__(
        self, store: Store, settings: Settings, journal: Journal, now: Callable[[], int], *, dry_run: bool
    ) -> None:
        self._store, self._settings, self._journal, self._now = store, settings, journal, now
        self._dry_run = dry_run
        self.done = Reapplied(len(journal.entries))

    # -- rules --

    async def rules(self) -> None:
        """Put the last rules of the journal into force, unless the database has later ones."""
        last = next((one for one in reversed(self._journal.entries) if isinstance(one.what, RulesApplied)), None)
        if last is None or not isinstance(last.what, RulesApplied):
            return
        files = sorted(last.what.files, key=lambda file: file.name)
        row = await in_force(self._store)
        if row is not None and row.hash == rules_hash(sources_of(files)):
            self.done.rules = f"in force already, as epoch {row.epoch}"
            if await change_to_build(self._store, row.epoch) is not None and await self._go_on():
                self.done.rules += ", and built to the end"
        elif row is not None and row.applied_at > last.at:
            self.done.rules = f"left alone: epoch {row.epoch} is later than the journal"
        elif self._dry_run:
            self.done.rules = "would be put into force"
        else:
            policy = Policy(Announced(last.what.announce), last.what.since)
            applied = await apply_rules(
                self._store,
                files,
                self._settings,
                by=last.by,
                now=self._now(),
                accept_contracts=True,
                terms=Terms(REASON, policy),
            )
            await backfill(self._store, self._settings, now=self._now)
            self.done.rules = f"put into force, as epoch {applied.epoch}"

    async def _go_on(self) -> bool:
        """Bring all subjects up to date, unless an operator has stopped the change that would."""
        row = await in_force(self._store)
        change = None if row is None else await change_to_build(self._store, row.epoch)
        if self._dry_run or (change is not None and change.state != "building"):
            return False
        await backfill(self._store, self._settings, now=self._now)
        return True

    async def _has_void_states(self) -> bool:
        async with self._store.transaction(patient=True) as session:
            return any(not one.stamp for one in await session.rows(Stamp, "stamps_of_progress"))

    # -- people --

    async def people(self, seen: Iterable[Subject]) -> None:
        """Erase again who was erased, and lift what was lifted, in the order of then."""
        about = [one for one in self._journal.entries if isinstance(one.what, Erasure | Lift)]
        wanted = {one.what.user for one in about if isinstance(one.what, Erasure | Lift)}
        found = await self._found(USER, wanted, seen)
        since: dict[Subject, Position] = {}
        for entry in about:
            if not isinstance(entry.what, Erasure | Lift):
                continue
            user = found.get(entry.what.user)
            if user is None:
                self.done.waiting += 1
            elif isinstance(entry.what, Erasure):
                since |= await self._erase(entry, user)
            else:
                await self._lift(entry, user)
        if since:
            await bring_up_to_date(self._store, self._settings, since, now=self._now)
        elif about and await self._has_void_states():  # an earlier run was interrupted right here
            await self._go_on()

    async def _erase(self, entry: Entry, user: Subject) -> dict[Subject, Position]:
        if any(one.erased_at <= entry.at <= (one.lifted_at or entry.at) for one in await self._tombstones(user)):
            return {}
        self.done.erased += 1
        if self._dry_run:
            return {}
        tenant, _, name = user
        gone = await erase_user(self._store, self._settings, tenant, name, by=entry.by, now=entry.at)
        return dict(gone.since)

    async def _lift(self, entry: Entry, user: Subject) -> None:
        if all(one.lifted_at is not None or one.erased_at > entry.at for one in await self._tombstones(user)):
            return
        if not self._dry_run:
            try:
                await lift_tombstone(
                    self._store, user.tenant_id, user.subject, by=entry.by, reason=REASON, now=entry.at
                )
            except (NoTombstoneError, NotAnnouncedError):
                self.done.waiting += 1
                return
        self.done.lifted += 1

    async def _tombstones(self, user: Subject) -> list[_Tombstone]:
        async with self._store.transaction() as session:
            asked = {"tenant_id": user.tenant_id, "user_id": user.subject}
            return await session.rows(_Tombstone, "tombstones_of_user", **asked)

    # -- unlocks --

    async def unlocks(self) -> None:
        """Revoke and grant again, in the order of then."""
        about = [one for one in self._journal.entries if isinstance(one.what, Revocation | ManualGrant)]
        known = {one.entry: await self._decided(one.at) for one in about}
        names = self._journal.names
        left = {
            one.entry: set(one.what.unlocks) - {names.of_unlock(row.unlock_id) for row in known[one.entry]}
            for one in about
            if isinstance(one.what, Revocation)
        }
        granted = [one.what for one in about if isinstance(one.what, ManualGrant) and not known[one.entry]]
        ids = await self._ids({hashed for some in left.values() for hashed in some})
        subjects: dict[str, Subject] = {}
        for scope in sorted({one.scope for one in granted}):
            subjects |= await self._found(scope, {one.subject for one in granted if one.scope == scope}, ())
        for entry in about:
            if isinstance(entry.what, Revocation):
                await self._revoke(entry, left[entry.entry], ids)
            elif isinstance(entry.what, ManualGrant) and not known[entry.entry]:
                await self._grant(entry, entry.what, subjects)

    async def _revoke(self, entry: Entry, left: set[str], ids: dict[str, UUID]) -> None:
        there = [ids[hashed] for hashed in left if hashed in ids]
        self.done.waiting += len(left) - len(there)
        self.done.revoked += len(there)
        if there and not self._dry_run:
            await revoke_all(self._store, there, now=entry.at, by=entry.by, reason=REASON)

    async def _grant(self, entry: Entry, what: ManualGrant, subjects: dict[str, Subject]) -> None:
        subject = subjects.get(what.subject)
        if subject is None:
            self.done.waiting += 1
            return
        if not self._dry_run:
            rules = await load_deployed(self._store, self._settings)
            key = what.achievement, what.tier, what.occurrence
            try:
                await grant_by_hand(self._store, rules, subject, *key, reason=REASON, by=entry.by, now=entry.at)
            except CannotGrantError:
                self.done.waiting += 1
                return
        self.done.granted += 1

    async def _decided(self, at: int) -> list[_Decided]:
        async with self._store.transaction() as session:
            return await session.rows(_Decided, "decided_by_hand_at", at=at)

    # -- names --

    async def _found(self, scope: str, wanted: set[str], seen: Iterable[Subject]) -> dict[str, Subject]:
        """Return the subjects of a scope that hashes stand for, as far as they are known."""
        if not wanted:
            return {}
        found: dict[str, Subject] = {}
        for subject in seen:
            self._match(found, wanted, subject)
        async for subject in self._known(scope):
            self._match(found, wanted, subject)
        return found

    def _match(self, found: dict[str, Subject], wanted: set[str], subject: Subject) -> None:
        hashed = self._journal.names.of_subject(subject)
        if hashed in wanted:
            found[hashed] = subject

    async def _known(self, scope: str) -> AsyncIterator[Subject]:
        async for tenant, name in self._pages("kept_subjects", scope=scope):
            yield Subject(tenant, scope, name)
        if scope == USER:
            async for tokens in self._pages("letter_tokens"):
                tenant, name = map(name_of, tokens)
                if tenant is not None and name is not None:
                    yield Subject(tenant, scope, name)

    async def _pages(self, query: str, **asked: object) -> AsyncIterator[tuple[str, str]]:
        after = "", ""
        while True:
            async with self._store.transaction() as session:
                place = {"after_tenant": after[0], "after_subject": after[1]}
                page = await session.rows(_Pair, query, **asked, **place, limit=PAGE)
            for row in page:
                yield row
            if len(page) < PAGE:
                return
            after = page[-1]

    async def _ids(self, wanted: set[str]) -> dict[str, UUID]:
        """Return the unlocks that hashes stand for, as far as they are there and not revoked."""
        found: dict[str, UUID] = {}
        after = UUID(int=0)
        while wanted:
            async with self._store.transaction() as session:
                page = await session.rows(_Unlock, "unlocks_not_revoked", after=after, limit=PAGE)
            for one in page:
                hashed = self._journal.names.of_unlock(one.unlock_id)
                if hashed in wanted:
                    found[hashed] = one.unlock_id
            if len(page) < PAGE:
                break
            after = page[-1].unlock_id
        return found


class _Pair(NamedTuple):
    first: str
    second: str


class _Unlock(NamedTuple):
    unlock_id: UUID

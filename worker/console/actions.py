"""What an operator does on the console. Each action is in the table `action` before it is done, with who and why."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.compile import USER, scope_of
from dsl.outcome import Subject, full_name
from worker.admin.journal import JournalError, journaled
from worker.admin.manual_grant import CannotGrantError, grant_by_hand
from worker.admin.revocation import revoke
from worker.broker.streams import BrokerAwayError, BrokerMismatchError, open_broker
from worker.engine.announcement_limits import MAX_REASON
from worker.engine.journal import Revocation, manual_grant
from worker.pipeline.dead_letters import NotSentError, replay_letter
from worker.pipeline.fence import RulesMovedError
from worker.pipeline.rules_in_force import load_deployed
from worker.store import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.console.access import Person
    from worker.console.books import UnlockRow
    from worker.pipeline.dead_letters import StoredDeadLetter
    from worker.settings import Settings
    from worker.store import Store

PATIENCE_SECONDS: Final = 10.0
"""For the broker, while a person waits."""
LONGEST_TARGET: Final = 2000


class Meant(NamedTuple):
    """What is to be granted; None for no tier and no occurrence, and for the scope of the achievement."""

    tenant: str
    scope: str | None
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None

    @property
    def name(self) -> str:
        """The unlock in words."""
        return full_name(self.achievement, self.tier, self.occurrence)


class NotDoneError(Exception):
    """An action was not done; the message says why."""


class Actions:
    """Does what operators ask for; `now` is in microseconds."""

    def __init__(self, store: Store, settings: Settings, now: Callable[[], int]) -> None:
        self._store = store
        self._settings = settings
        self._now = now

    async def replay(
        self, person: Person, tenant: str, letter: StoredDeadLetter, body: bytes | None, reason: str
    ) -> str:
        """Send a dead letter again, with a mended body where one is given; return what was done.

        Raises:
            NotDoneError: it was not sent.
            UnavailableError: nothing is known to have happened.
        """
        what = f"dead letter {letter.dead_letter_id}{'' if body is None else ', mended'}"
        action_id = await self._begin(person, "replay", tenant, what, reason)
        try:
            async with open_broker(self._settings, patience=PATIENCE_SECONDS) as broker:
                await replay_letter(
                    self._store, broker, letter, now=self._now(), body=body, prefix=self._settings.input_prefix
                )
        except (NotSentError, BrokerAwayError, BrokerMismatchError, RefusedError, UnavailableError) as error:
            raise await self._failed(action_id, error) from error
        return await self._done(action_id, f"sent {what}")

    async def revoke(self, person: Person, unlock: UnlockRow, reason: str) -> str:
        """Revoke an unlock; return what was done.

        Raises:
            NotDoneError: it was revoked before.
            UnavailableError: nothing is known to have happened.
        """
        name = full_name(unlock.achievement, unlock.tier, unlock.occurrence)
        target = f"{name} of {unlock.scope} {unlock.subject}, unlock {unlock.unlock_id}"
        action_id = await self._begin(person, "revoke", unlock.tenant_id, target, reason)
        now, unlock_id = self._now(), unlock.unlock_id
        try:
            with journaled(
                self._settings, lambda names: Revocation((names.of_unlock(unlock_id),)), by=person.name, at=now
            ) as noted:
                revoked = await revoke(self._store, unlock_id, now=now, by=person.name, reason=reason)
                noted.not_done = revoked is None
        except (JournalError, RefusedError, UnavailableError) as error:
            raise await self._failed(action_id, error) from error
        if revoked is None:
            raise await self._failed(action_id, NotDoneError("it was revoked before"))
        return await self._done(action_id, f"revoked {name}")

    async def grant(self, person: Person, meant: Meant, reason: str) -> str:
        """Grant an achievement by hand; return what was done.

        Raises:
            NotDoneError: there is no such unlock to grant.
            UnavailableError: nothing is known to have happened.
        """
        target = f"{meant.name} of {meant.scope or 'subject'} {meant.subject}"
        action_id = await self._begin(person, "grant", meant.tenant, target, reason)
        try:
            granted = await self._grant(person, meant, reason)
        except (CannotGrantError, JournalError, RulesMovedError, RefusedError, UnavailableError) as error:
            raise await self._failed(action_id, error) from error
        return await self._done(action_id, granted)

    async def _grant(self, person: Person, meant: Meant, reason: str) -> str:
        rules = await load_deployed(self._store, self._settings)
        first = rules.renames.first(meant.achievement)
        versions = rules.rules.achievements.get(first)
        scope = meant.scope or (USER if versions is None else scope_of(versions[0]))
        subject = Subject(meant.tenant, scope, meant.subject)
        now, key = self._now(), (first, meant.tier, meant.occurrence)
        deed = partial(manual_grant, subject=subject, key=key)
        with journaled(self._settings, deed, by=person.name, at=now):
            granted = await grant_by_hand(self._store, rules, subject, *key, reason=reason, by=person.name, now=now)
        before = "" if granted.before is None else f", which was {granted.before.value.replace('_', ' ')}"
        return f"granted {meant.name}{before}"

    async def _begin(self, person: Person, kind: str, tenant: str, target: str, reason: str) -> int:
        if not person.acts:
            raise NotDoneError("this person may only look")
        if not reason.strip():
            raise NotDoneError("say why: the reason goes into the log")
        if len(reason) > MAX_REASON:
            raise NotDoneError(f"the reason has {len(reason):,} characters: it may have {MAX_REASON:,}")
        async with self._store.transaction() as session:
            action_id = await session.value(
                int,
                "begin_action",
                now=self._now(),
                actor=person.name,
                kind=kind,
                tenant_id=tenant,
                target=target[:LONGEST_TARGET],
                reason=reason,
            )
        if action_id is None:
            raise AssertionError
        return action_id

    async def _end(self, action_id: int, outcome: str, detail: str) -> None:
        async with self._store.transaction() as session:
            await session.run("end_action", action_id=action_id, outcome=outcome, detail=detail, now=self._now())

    async def _done(self, action_id: int, what: str) -> str:
        await self._end(action_id, "done", what[:LONGEST_TARGET])
        return what

    async def _failed(self, action_id: int, error: Exception) -> NotDoneError:
        said = str(error) or type(error).__name__
        if isinstance(error, CannotGrantError) and error.hint:
            said = f"{said} ({error.hint})"
        await self._end(action_id, "failed", said[:LONGEST_TARGET])
        return NotDoneError(said)

"""The relay of corrections: what becomes of a granted unlock goes to JetStream too, once each and in order.

A correction is a row of an outbox of its own, written by the statement that changes the unlock. It is published, and
its row deleted in the transaction that has claimed it; where we die in between, it is published again, and the broker
refuses the copy, as its subject holds a message. Of each unlock only the first that waits is claimed, once what comes
before it is done: what the broker refuses holds back what follows of the same unlock, and nothing else.

An unlock that was revoked or erased before anything was known to be announced of it is not announced as granted any
more. Something else takes the place of that announcement first: a worker that has the grant in its hands yet finds the
subject taken, so that no grant ever comes behind its revocation.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from worker.broker.announce import Announcement
from worker.broker.streams import BrokerAwayError
from worker.engine.announcement import (
    UNKNOWN,
    Correction,
    correction,
    correction_subject,
    unlock_subject,
    withheld,
)
from worker.engine.refusals import FullError, Refusals
from worker.pipeline.rules_in_force import load_deployed
from worker.retry import delays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.broker.streams import Broker
    from worker.engine.announcement import Words
    from worker.engine.rule_set import Deployed
    from worker.engine.stats import Stats
    from worker.settings import Settings
    from worker.store import Session, Store

AT_ONCE: Final = 500
"""Corrections of one claim."""

log = structlog.get_logger()


class Wording:
    """What the rules in force say of achievements, for announcements."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._rules: Deployed | None = None

    def know(self, rules: Deployed) -> None:
        """Take rules that a batch was committed under."""
        if self._rules is None or self._rules.epoch < rules.epoch:
            self._rules = rules

    async def look(self, session: Session) -> None:
        """Make sure that these are the rules in force.

        Raises:
            UnavailableError: the database is away.
        """
        epoch = await session.value(int, "epoch_in_force") or 0
        if self._rules is None or self._rules.epoch != epoch:
            self._rules = await load_deployed(self._store, self._settings)

    def words(self, achievement: str, version: int, tier: str) -> Words:
        """Return what they say of a version and tier ("" for none); nothing of one that is not in force."""
        return UNKNOWN if self._rules is None else self._rules.words(achievement, version, tier or None)


class Corrector:
    """Relays corrections. `grants` are the unlocks that the broker refuses: what follows of those waits for them."""

    def __init__(
        self, store: Store, broker: Broker, settings: Settings, stats: Stats, wording: Wording, *, grants: Refusals
    ) -> None:
        self._store = store
        self._broker = broker
        self._settings = settings
        self._stats = stats
        self._wording = wording
        self._grants = grants
        self.refused = Refusals(delays)
        """Unlocks of which the broker refuses a correction."""
        self.held = False
        """Whether something waited that could not be claimed at the last look."""

    async def nothing_waits(self, session: Session) -> bool:
        """Tell whether no correction waits at this moment, but for those of unlocks of which the broker refuses one."""
        refused = sorted({*self._grants.all(), *self.refused.all()})
        return bool(await session.value(bool, "no_correction_waits", refused=refused))

    async def relay(self, now: Callable[[], int]) -> int:
        """Announce what can be announced; return how many corrections that were.

        Raises:
            UnavailableError, BrokerAwayError: what was announced until then may not be marked, and is tried again.
        """
        made, more = 0, True
        while more:
            claimed, announced = await self._relay_some(now())
            made += announced
            # What follows of the same unlock can be claimed once this has gone.
            more = announced > 0 or claimed == AT_ONCE
        return made

    async def _relay_some(self, now: int) -> tuple[int, int]:
        began = monotonic()
        due = self.refused.due(began)
        async with self._store.transaction() as session:
            refused = self.refused.resting(began)
            claimed = await session.rows(Correction, "claim_corrections", refused=refused, limit=AT_ONCE)
            if len(claimed) < AT_ONCE:
                self.refused.forget(due.difference([one.unlock_id for one in claimed]))
            done: Sequence[Correction] = ()
            if claimed:
                await self._wording.look(session)
                done = await self._announce(await self._withhold(session, claimed, now))
            if done:
                ids, revisions = [one.unlock_id for one in done], [one.revision for one in done]
                await session.run("corrections_announced", unlock_ids=ids, revisions=revisions)
            self.held = len(claimed) < AT_ONCE and not await self.nothing_waits(session)
        self._stats.count_corrected(len(done))
        return len(claimed), len(done)

    async def _withhold(self, session: Session, claimed: Sequence[Correction], now: int) -> Sequence[Correction]:
        """Take the place of grants that are not to be announced any more; return what can be announced then."""
        places = [one for one in claimed if one.withheld]
        if not places:
            return claimed
        taken = await self._publish(places, self._in_place)
        # Whoever holds one of the rows does not wait for us, nor we for them: to take a place again is harmless.
        await session.run("mark_announced", unlock_ids=sorted(one.unlock_id for one in taken), now=now)
        there = {one.unlock_id for one in taken}
        return [one for one in claimed if not one.withheld or one.unlock_id in there]

    async def _announce(self, some: Sequence[Correction]) -> Sequence[Correction]:
        done = await self._publish(some, self._announcement)
        if self.refused:
            self.refused.forget([one.unlock_id for one in done])
        return sorted(done, key=lambda one: (one.unlock_id, one.revision))

    async def _publish(
        self, some: Sequence[Correction], made: Callable[[Correction], Announcement]
    ) -> Sequence[Correction]:
        """Publish one message for each; return those that the broker keeps now.

        Raises:
            BrokerAwayError: some may have arrived; try all of them again.
        """
        asked = {made(one): one for one in some}
        try:
            told = await self._broker.announce([*asked])
        except BrokerAwayError as error:
            if not (self._broker.connected and self.refused.round_failed(one.unlock_id for one in some)):
                raise
            self._put_off(asked, dict.fromkeys((announced.id for announced in asked), str(error)))
            return []
        self.refused.round_came_through()
        self._put_off(asked, told.refused)
        return [one for announced, one in asked.items() if announced.id not in told.refused]

    def _put_off(self, asked: Mapping[Announcement, Correction], said: Mapping[str, str]) -> None:
        """Let corrections wait by themselves, and name them.

        Raises:
            BrokerAwayError: so many are refused that it is the broker's fault.
        """
        for announced, one in asked.items():
            if announced.id not in said:
                continue
            try:
                seconds = self.refused.put_off(one.unlock_id, monotonic())
            except FullError:
                raise BrokerAwayError(f"it refuses everything: {said[announced.id]}") from None
            self._stats.refused += 1
            log.warning(
                "a correction cannot be announced and waits by itself",
                unlock=announced.id,
                kind=one.kind,
                tenant=one.tenant_id,
                subject=one.subject,
                achievement=one.achievement,
                said=said[announced.id],
                retry_in=round(seconds, 1),
            )

    def _announcement(self, one: Correction) -> Announcement:
        words = self._wording.words(one.achievement, one.version, one.tier)
        subject = correction_subject(self._settings.unlock_prefix, one)
        return Announcement(subject, correction(one, words), f"{one.unlock_id}.{one.revision}")

    def _in_place(self, one: Correction) -> Announcement:
        name = str(one.unlock_id)
        return Announcement(unlock_subject(self._settings.unlock_prefix, one, name), withheld(one), f"{name}.withheld")

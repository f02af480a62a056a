"""The relay of corrections: what becomes of a granted unlock goes to JetStream too, each change once and in order.

A correction is a row of an outbox of its own. The statement that changes the unlock writes it. It is announced, and its
row is deleted, in the transaction that claims it. If we die in between, it is announced again, and the broker refuses
the copy, as its subject holds a message. Of each unlock only the first row that waits is claimed, when all before it is
done: a refusal holds back the next changes of the same unlock, and nothing else.

If an unlock was revoked or erased before it was known to be announced, it is not announced as granted any more. Another
message takes the place of that announcement first. A worker that still holds the grant finds the subject taken, so no
grant comes behind its revocation.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from worker.broker.announce import Announcement
from worker.engine.announcement import (
    UNKNOWN,
    Correction,
    correction,
    correction_subject,
    unlock_subject,
    withheld,
)
from worker.pipeline.refused import Gate
from worker.pipeline.rules_in_force import load_deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.engine.announcement import Words
    from worker.engine.refusals import Refusals
    from worker.engine.rule_set import Deployed
    from worker.engine.stats import Stats
    from worker.pipeline.refused import Outlet
    from worker.settings import Settings
    from worker.store import Session, Store

AT_ONCE: Final = 500
"""Corrections of one claim."""


class Wording:
    """What the rules in force say about achievements, for announcements."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._rules: Deployed | None = None

    def know(self, rules: Deployed) -> None:
        """Take the rules of a batch that was committed."""
        if self._rules is None or self._rules.epoch < rules.epoch:
            self._rules = rules

    async def look(self, session: Session) -> None:
        """Load the rules in force if these are older.

        Raises:
            UnavailableError: the database is away.
        """
        epoch = await session.value(int, "epoch_in_force") or 0
        if self._rules is None or self._rules.epoch != epoch:
            self._rules = await load_deployed(self._store, self._settings)

    def words(self, achievement: str, version: int, tier: str) -> Words:
        """Return what the rules say about a version and tier ("" for none), `UNKNOWN` if it is not in force."""
        return UNKNOWN if self._rules is None else self._rules.words(achievement, version, tier or None)


class Corrector:
    """Relays corrections. `grants` are the unlocks that the broker refuses: their corrections wait for them."""

    def __init__(
        self, store: Store, outlet: Outlet, settings: Settings, stats: Stats, wording: Wording, *, grants: Refusals
    ) -> None:
        self._store = store
        self._settings = settings
        self._stats = stats
        self._wording = wording
        self._grants = grants
        self._gate = Gate[Correction](outlet, stats, "a correction cannot be announced and waits by itself", "kind")
        self.refused = self._gate.refusals
        """Unlocks with a correction that the broker refuses."""
        self.held = False
        """Whether something waited that could not be claimed at the last look."""

    async def nothing_waits(self, session: Session) -> bool:
        """Tell whether no correction waits at this moment, except those of unlocks with a refusal."""
        refused = sorted({*self._grants.all(), *self.refused.all()})
        return bool(await session.value(bool, "no_correction_waits", refused=refused))

    async def relay(self, now: Callable[[], int]) -> int:
        """Announce what can be announced; return how many corrections that were.

        Raises:
            UnavailableError, BrokerAwayError: some may be announced and still have their rows; try again.
        """
        made, more = 0, True
        while more:
            claimed, announced = await self._relay_some(now())
            made += announced
            # The next change of the same unlock can be claimed when this one is gone.
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
        """Take the place of grants that are not to be announced any more; return the corrections that may follow."""
        places = [one for one in claimed if one.withheld]
        if not places:
            return claimed
        taken, _ = await self._gate.announce(places, self._in_place)
        # A relay that holds one of the rows does not wait for us, nor we for it: taking a place twice is harmless.
        await session.run("mark_announced", unlock_ids=sorted(one.unlock_id for one in taken), now=now)
        there = {one.unlock_id for one in taken}
        return [one for one in claimed if not one.withheld or one.unlock_id in there]

    async def _announce(self, some: Sequence[Correction]) -> Sequence[Correction]:
        done, _ = await self._gate.announce(some, self._announcement)
        if self.refused:
            self.refused.forget([one.unlock_id for one in done])
        return sorted(done, key=lambda one: (one.unlock_id, one.revision))

    def _announcement(self, one: Correction) -> Announcement:
        words = self._wording.words(one.achievement, one.version, one.tier)
        subject = correction_subject(self._settings.unlock_prefix, one)
        return Announcement(subject, correction(one, words), f"{one.unlock_id}.{one.revision}")

    def _in_place(self, one: Correction) -> Announcement:
        name = str(one.unlock_id)
        words = self._wording.words(one.achievement, one.version, one.tier)
        subject = unlock_subject(self._settings.unlock_prefix, one, name)
        return Announcement(subject, withheld(one, words), f"{name}.withheld")

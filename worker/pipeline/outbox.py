"""The relay of the outbox: what is granted goes to JetStream, once for ever.

The outbox is the rows of `unlock` with `granted_at` and without `published_at`. A batch of this worker hands its grants
over as well, so that they are announced before anything reads the table. Seen from this worker, a granted unlock is in
one of these states; `published_at` is null in all but the last.

    state     known in         the broker      the broker     the broker   marking         we die, or
                               keeps it        refuses it     is away                      forget it
    --------  ---------------  --------------  -------------  -----------  --------------  -----------
    fresh     `_fresh`         unmarked        alone          left         -               left
    unmarked  `_unmarked`      -               -              -            marked, or      left
                                                                           left: row held
    left      the row alone    marked, in the  alone          left         -               left
                               claim's commit
    alone     `_gate.refusals` marked, in the  alone, tried   alone        -               left
                               claim's commit  later
    marked    `published_at`   -               -              -            -               marked

A revoked or erased unlock leaves the outbox in any state; corrections.py then announces what became of it.

What changes together:

- What leaves `_fresh` or `_unmarked` without a mark sets `_missed`, so that the rows are looked at.
- What a change of rules grants is announced from its row alone, under the lock of a claim: a change that is rolled back
  takes its rows out of the outbox, and nothing of them is in our memory then.
- `_fresh` takes grants of certain commits only. After a commit of unknown outcome the rows tell (`_missed`).
- An unlock that settles is granted, and that is committed, before it is announced: from then on late evidence contests
  it, and does not delete it. So each announcement has a row that says when it was granted.
- A claim, its announcement and its mark are one transaction: no other relay has the row meanwhile.
- `claim_unlocks` leaves out refused unlocks that rest, `outbox_is_empty` all refused ones: a drain waits for none.
- An unlock that is refused no more lets its corrections go: `forget` and `_correct_by` stand together.

Why none is lost: a row stays in the outbox until it is marked, and it is marked after the broker's answer. Every
worker looks at the outbox within `LONGEST_NAP`.

Why there is no copy: each unlock has a subject of its own, and the broker keeps a message there only if the subject is
empty (announce.py). So a second announcement is refused: after a worker died before the mark, or where two relays met.
The answer counts as kept, and the unlock is marked.

Measured and tried: docs/decisions/0008-hot-path/announcing.md.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import structlog

from worker.broker.announce import Announcement
from worker.broker.errors import BrokerAwayError
from worker.contract.transport import NO_REGION
from worker.engine.announcement import Claimed, announcement, unlock_subject
from worker.engine.announcement_limits import MOST_BYTES_WITH_TRACE
from worker.engine.reconcile import Kind
from worker.pipeline.corrections import Corrector, Wording
from worker.pipeline.ledger import clock_of
from worker.pipeline.refused import Gate
from worker.retry import delays
from worker.settings import Clock
from worker.store import UnavailableError
from worker.traces.spans import NoSpans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from uuid import UUID

    from worker.engine.reconcile import Decision
    from worker.engine.stats import Stats
    from worker.pipeline.pipeline import Committed
    from worker.pipeline.refused import Outlet
    from worker.settings import Settings
    from worker.store import Session, Store
    from worker.traces.spans import Spans

    _Kept = tuple[Sequence[Claimed], Mapping[str, bool]]
    """Unlocks that the broker has now, and by id whether each was new to it."""

AT_ONCE: Final = 500
"""Unlocks of one claim."""
MOST_FRESH: Final = 10 * AT_ONCE
"""Unlocks of our own that wait to be announced; beyond that the outbox keeps them, and not the heap."""
MARK_SECONDS: Final = 0.1
"""Between two marks, while there is always more to announce: a batch should not need a second transaction."""
LONGEST_NAP: Final = 10.0
"""Seconds between two looks at the outbox without a call: another worker may have died with its unlocks."""
SHORTEST_NAP: Final = 0.05
CORRECT_SECONDS: Final = 0.5
"""Between two looks at what is to be corrected, while batches are under way: corrections are not urgent."""
LONGEST_LOOK: Final = 1.0
"""Seconds between two looks at what is due while another relay or batch holds it."""

CORRECTING: Final = frozenset({Kind.AMENDED, Kind.RESTORED, Kind.CONTESTED})
"""Decisions of a batch after which there may be something to correct."""

_NONE: Final[_Kept] = ((), {})

log = structlog.get_logger()


def _always() -> bool:
    return True


class OutboxRelay:
    """Relays the outbox when it is called, and by itself when something settles.

    `now` is in microseconds; `busy` tells whether batches are under way: their unlocks may be marked together.
    """

    def __init__(  # noqa: PLR0913 - what it works with, each by name
        self,
        store: Store,
        outlet: Outlet,
        settings: Settings,
        stats: Stats,
        *,
        now: Callable[[], int],
        busy: Callable[[], bool] = _always,
        spans: Spans | None = None,
    ) -> None:
        self._store = store
        self._outlet = outlet
        self._settings = settings
        self._stats = stats
        self._now = now
        self._busy = busy
        self._spans: Spans = spans or NoSpans()
        self._called = anyio.Event()
        self._stopping = False
        self._fresh: list[Claimed] = []
        """Granted by this worker, and not announced yet."""
        self._unmarked: list[UUID] = []
        """Announced by this worker, and not marked yet."""
        self._mark_at = 0.0
        """When they are to be marked, of `monotonic`."""
        self._look_at = inf
        """When the outbox is looked at in any case, of `monotonic`, however often we are called until then."""
        self._missed = True
        """Whether rows of the outbox may wait that are in neither list."""
        self._held = False
        """Whether something is due that another held when we looked; no call comes when it is let go."""
        self._looks = _looks()
        self._gate = Gate[Claimed](outlet, stats, "an unlock cannot be announced and waits by itself", "tier")
        self._refused = self._gate.refusals
        self._wording = Wording(store, settings)
        self._corrector = Corrector(store, outlet, settings, stats, self._wording, grants=self._refused)
        self._corrected = -inf
        """When corrections were looked for last, of `monotonic`."""
        self._correct_at = 0.0
        """When they are looked for next; infinity if none is known."""
        self._settles_at: int | None = None
        """When the next unlock settles, as far as is known; None if none does."""
        self._outdated = True
        """Whether that has to be asked again."""

    @property
    def refused(self) -> int:
        """How many unlocks have something that the broker refuses, as far as this worker knows."""
        return len({*self._refused.all(), *self._corrector.refused.all()})

    def wake(self) -> None:
        """Look at the outbox: there may be something to announce."""
        self._missed = True
        self._correct_by(monotonic())
        self._called.set()

    def rest(self) -> None:
        """Mark what was announced: the worker is not busy any more."""
        self._called.set()

    def committed(self, done: Committed) -> None:
        """Take what a batch has decided: its grants are announced, and what it moved may be."""
        fresh = [_granted(one, done) for one in done.decisions if one.kind == Kind.GRANTED and one.change_id is None]
        # What was moved may settle at another time, or be due by now.
        if len(fresh) < len(done.decisions) or not done.certain:
            self._outdated = True
            if any(one.change_id is not None and not one.silent for one in done.decisions):
                self._missed = True
            if not done.certain or any(decision.kind in CORRECTING for decision in done.decisions):
                self._correct_by(monotonic() + CORRECT_SECONDS)
        self._wording.know(done.rules)
        if not done.certain or len(self._fresh) + len(fresh) > MOST_FRESH:
            self._outdated = self._missed = True
        else:
            self._fresh.extend(fresh)
        self._called.set()

    def stop(self) -> None:
        """End `run` when the outbox is empty, or cannot be emptied at the moment."""
        self._stopping = self._missed = True
        self._called.set()

    async def run(self) -> None:
        """Relay until stopped, and wait while a server is away."""
        while True:
            called = self._called = anyio.Event()
            stopping = self._stopping
            await self._announce_fresh()
            if monotonic() >= self._look_at:  # other workers' unlocks settle, too
                self._missed = self._outdated = True
                self._correct_by(monotonic())
            correct = stopping or self._is_time_to_correct()
            if self._unmarked and (self._missed or correct or not self._busy() or monotonic() >= self._mark_at):
                await self._mark()
            if self._missed or correct:
                grants, self._missed = self._missed, False
                if grants:
                    self._look_at = inf
                await self._relay_patiently(grants=grants, corrections=correct)
            if stopping:
                if self.refused:
                    log.warning("unlocks that the broker refuses wait in the outbox", unlocks=self.refused)
                return
            if self._stopping or self._fresh:
                continue
            self._look_at = min(self._look_at, await self._nap() + monotonic(), self._refused.next_at)
            self._correct_by(self._corrector.refused.next_at)
            wake_at = min(self._look_at, self._next_correction(), self._mark_at if self._unmarked else inf)
            with anyio.move_on_after(wake_at - monotonic()):
                await called.wait()

    async def is_empty(self) -> bool:
        """Tell whether nothing waits to be announced at this moment, except what the broker refuses.

        Raises:
            UnavailableError: the database is away.
        """
        async with self._store.transaction() as session:
            if not await self._corrector.nothing_waits(session):
                self._correct_by(monotonic())
                self._called.set()
                return False
            return await self._nothing_waits(session, await self._clock(session))

    async def relay(self) -> int:
        """Announce all that is granted or changed and not announced; return how many unlocks were announced.

        Raises:
            UnavailableError, BrokerAwayError: some may be announced and not marked; try again.
        """
        made = await self._relay_grants()
        await self._relay_corrections()
        return made

    async def _relay_corrections(self) -> None:
        self._corrected = monotonic()
        self._correct_at = self._corrected + CORRECT_SECONDS
        await self._corrector.relay(self._now)
        if not self._corrector.held:
            self._correct_at = inf

    async def _relay_grants(self) -> int:
        made, more = 0, True
        while more:
            clock, settled = await self._grant_settled()
            claimed, announced = await self._relay_some(clock)
            made += announced
            more = max(settled, claimed) == AT_ONCE
        return made

    async def _announce_fresh(self) -> None:
        """Announce what our own batches have granted; what fails is left in the outbox."""
        while self._fresh:
            some, self._fresh = self._fresh[:AT_ONCE], self._fresh[AT_ONCE:]
            try:
                some, news = await self._announce(some)
            except BrokerAwayError as error:
                log.debug("left in the outbox", said=str(error))
                self._fresh, self._missed = [], True
                return
            self._unmarked += [one.unlock_id for one in some]
            self._count(some, news)
            if len(self._unmarked) >= AT_ONCE:
                await self._mark()

    async def _mark(self) -> None:
        """Mark what was announced; what cannot be marked now is left in the outbox."""
        some, self._unmarked = self._unmarked, []
        self._mark_at = monotonic() + MARK_SECONDS
        try:
            async with self._store.alone() as session:
                marked = await session.run("mark_announced", unlock_ids=sorted(some), now=self._now())
        except UnavailableError as error:
            log.debug("left in the outbox", said=str(error))
            self._missed = True
            return
        # Another holds the rest at the moment, or has announced it before us.
        self._missed = self._missed or marked < len(some)

    async def _grant_settled(self) -> tuple[int, int]:
        """Grant some of what has settled, and commit that; return the clock in microseconds, and how many."""
        async with self._store.alone() as session:
            clock = await self._clock(session)
            settled = await session.run("grant_settled", clock=clock, now=self._now(), limit=AT_ONCE)
        self._stats.count_settled(settled)
        self._outdated = self._outdated or settled > 0
        return clock, settled

    async def _relay_some(self, clock: int) -> tuple[int, int]:
        """Claim some of the outbox, announce and mark it; return how many were claimed, and how many announced."""
        began = monotonic()
        due = self._refused.due(began)
        async with self._store.transaction() as session:
            refused = self._refused.resting(began)
            claimed = await session.rows(Claimed, "claim_unlocks", refused=refused, limit=AT_ONCE)
            if len(claimed) < AT_ONCE:  # whatever else was due is announced by another, revoked or erased
                self._refused.forget(due.difference([one.unlock_id for one in claimed]))
            if claimed:
                await self._wording.look(session)
            some, news = await self._announce_claimed(claimed) if claimed else _NONE
            if some:
                ids = sorted(one.unlock_id for one in some)
                await session.run("mark_published", unlock_ids=ids, now=self._now())
            self._held = len(claimed) < AT_ONCE and not await self._nothing_waits(session, clock)
        self._count(some, news)
        return len(claimed), len(some)

    async def _nothing_waits(self, session: Session, clock: int) -> bool:
        return bool(await session.value(bool, "outbox_is_empty", clock=clock, refused=self._refused.all()))

    async def _announce_claimed(self, claimed: Sequence[Claimed]) -> _Kept:
        """Do the same as `_announce`; a round that fails as a whole, time after time, is put off too."""
        return await self._announce(claimed, patiently=True)

    async def _announce(self, unlocks: Sequence[Claimed], *, patiently: bool = False) -> _Kept:
        """Announce unlocks; return those that the broker has now, and by id whether it was new.

        Raises:
            BrokerAwayError: some may have arrived; try all of them again.
        """
        unlocks, new = await self._gate.announce(unlocks, self._announcement, patiently=patiently)
        if self._refused and unlocks:
            self._refused.forget([one.unlock_id for one in unlocks])
            self._correct_by(monotonic())  # their corrections have waited for this
        return unlocks, new

    def _count(self, unlocks: Sequence[Claimed], news: Mapping[str, bool]) -> None:
        now = self._now()
        stats = self._stats
        for one in unlocks:
            name = str(one.unlock_id)
            new = news[name]
            if new:
                sent = stats.sent(one.unlock_id)
                at, region = (None, NO_REGION) if sent is None else (sent.at, sent.region)
                stats.minutes.count_announced(one.tenant_id, one.origin, sent_at=at, now=now, region=region)
            self._spans.announced(name)
            stats.count_announced(one.unlock_id, new=new, now=now)

    def _announcement(self, one: Claimed) -> Announcement:
        name = str(one.unlock_id)
        words = self._wording.words(one.achievement, one.version, one.tier)
        body = announcement(one, name, words)
        subject = unlock_subject(self._settings.unlock_prefix, one, name)
        return Announcement(subject, body, name, trace=self._trace(one.unlock_id, len(body)))

    def _trace(self, unlock_id: UUID, size: int) -> str:
        """Return the headers that say the trace of the event that earned an unlock, if this worker has processed it.

        After a crash another one announces it without: body and id depend on events and rules alone.
        """
        sent = self._stats.sent(unlock_id)
        if sent is None or sent.trace is None or size > MOST_BYTES_WITH_TRACE:
            return ""
        return self._spans.announcing(str(unlock_id), sent.trace).lines

    async def _clock(self, session: Session) -> int:
        return await clock_of(session, self._settings, self._now())

    def _correct_by(self, at: float) -> None:
        """Look for corrections at an instant of `monotonic`, or earlier."""
        self._correct_at = min(self._correct_at, at)

    def _is_time_to_correct(self) -> bool:
        """Tell whether to look for corrections: seldom while batches are under way, as each look is a transaction."""
        # What is due within the half second need not wait for it if nothing else is under way.
        early = 0.0 if self._busy() else CORRECT_SECONDS
        return monotonic() + early >= self._next_correction()

    def _next_correction(self) -> float:
        """Return when to look for corrections, of `monotonic`; infinity if none is known."""
        return max(self._correct_at, self._corrected + CORRECT_SECONDS) if self._busy() else self._correct_at

    async def _relay_patiently(self, *, grants: bool, corrections: bool) -> None:
        for delay in delays():
            try:
                if grants and corrections:
                    await self.relay()
                elif grants:
                    await self._relay_grants()
                else:
                    await self._relay_corrections()
            except (UnavailableError, BrokerAwayError) as error:
                log.warning("unlocks wait to be announced", said=str(error), retry_in=round(delay, 2))
                if self._stopping:
                    return
                if isinstance(error, BrokerAwayError):
                    self._outlet.look_after()
            else:
                return
            await anyio.sleep(delay)

    async def _nap(self) -> float:
        """Return seconds until something settles, or until it is time to look anyway."""
        if self._held:
            return next(self._looks)
        self._looks = _looks()
        if self._settings.clock is Clock.STREAM:
            return LONGEST_NAP
        if self._outdated:
            try:
                async with self._store.transaction() as session:
                    self._settles_at = await session.value(int, "next_settling")
            except UnavailableError:
                return SHORTEST_NAP
            self._outdated = False
        if self._settles_at is None:
            return LONGEST_NAP
        return min(max((self._settles_at - self._now()) / 1_000_000, SHORTEST_NAP), LONGEST_NAP)


def _looks() -> Iterator[float]:
    return delays(first=SHORTEST_NAP, longest=LONGEST_LOOK)


def _granted(decision: Decision, done: Committed) -> Claimed:
    """Return a fresh grant as the row that the outbox has of it."""
    grant = decision.grant
    return Claimed(
        decision.unlock_id,
        *decision.subject,
        grant.achievement,
        grant.tier or "",
        grant.occurrence or "",
        grant.version,
        grant.earned_at,
        grant.event_id,
        done.now,
        done.rules.terms(grant).reward,
        decision.origin,
        decision.change_id,
    )

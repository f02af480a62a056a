"""The answers themselves, whatever asks for them.

They are kept as long as they are true; while the database is away, earlier ones are given with their age.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import anyio
import msgspec
import structlog
from msgspec import Meta, Struct

from worker.admin.results import StaleError, UnreadableError
from worker.app import wall_clock
from worker.engine.answer import Presence, Reader, Standing, of_family
from worker.engine.cursor import CursorError
from worker.engine.lag import Lag, Position
from worker.engine.rule_set import RulesRefusedError
from worker.engine.why import CannotExplainError, Question, Why
from worker.serve.problems import AwayError, BadRequestError, GoneError, NotFoundError
from worker.store import RefusedError, UnavailableError
from worker.view.catalogue import Offer
from worker.view.reader import TENANT, UnknownScopeError
from worker.view.standing import RulesChangedError, read_marks
from worker.view.unlocks import ALL, GRANTS, Page, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from dsl.outcome import Subject
    from worker.view.reader import View
    from worker.view.unlocks import Unlocks

REQUEST_SECONDS: Final = 5.0
"""For the database to answer all that one request asks."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at how far the database is behind, if it is a replica."""
LAG_SECONDS: Final = 2.0
"""By which a replica may be behind while its answers count as true now: a look, and a moment for the log to arrive."""
AWAY_SECONDS: Final = 1.0
"""For which the database is not asked again after it did not answer, where an earlier answer is kept."""
EXPLAINED_AT_ONCE: Final = 2
"""Explanations that are worked out side by side: each keeps a core busy."""
NOW: Final = "now"
"""The cursor that stands for the present end."""

log = structlog.get_logger()


_STALE: Final = "Whether this may be no longer true: the database is away, or a replica that is behind."


class Achievements(Standing, frozen=True, kw_only=True):
    """Where one subject stands with everything that it may see."""

    stale: Annotated[bool, Meta(description=_STALE)]
    age: Annotated[int, Meta(ge=0, description="Seconds since it was known to be true.")]


class Catalogue(Offer, frozen=True, kw_only=True):
    """What can be earned in a tenant, without what is hidden at first."""

    stale: Annotated[bool, Meta(description=_STALE)]
    age: Annotated[int, Meta(ge=0, description="Seconds since it was known to be true.")]


class Content(NamedTuple):
    """An answer as JSON, and the tag of what it says; None where it has none.

    `age` is in seconds since it was known to be true, None where it is true now.
    """

    body: bytes
    tag: str | None = None
    age: int | None = None


class UnlocksAsked(Struct, frozen=True, kw_only=True):
    """Which page of unlocks: behind a cursor, `limit` at most, corrections too or grants alone."""

    since: str | None = None
    limit: int = 100
    corrections: bool = False


class _Kept(NamedTuple):
    tag: str
    body: bytes
    """Of an object, without what says its age."""
    at: float
    """When it was last known to be true; monotonic seconds."""


class _Counted(NamedTuple):
    tenant_id: str
    events: int


Key = tuple[object, ...]


class Answers:
    """Asks the view, and keeps what it says by subject, language and family. One for a process."""

    def __init__(self, view: View, unlocks: Unlocks, *, most: int) -> None:
        self._view = view
        self._unlocks = unlocks
        self._explaining = anyio.Semaphore(EXPLAINED_AT_ONCE)
        self._most = most
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._away_until = 0.0
        self._lag = Lag()
        self._looked = -LOOK_SECONDS

    async def marks(self, subjects: Sequence[Subject]) -> dict[Subject, str]:
        """Return what changes whenever the answers about some subjects do, in one query.

        Raises:
            AwayError: the database is away.
        """
        async with self._asking():
            return await read_marks(self._view.store, await self._view.catalogue(), subjects)

    async def counted(self, since: int) -> tuple[int, dict[str, int]]:
        """Return the epoch of the rules, and how many events workers have counted of each tenant.

        `since` is the beginning of what they have counted, in microseconds.

        Raises:
            AwayError: the database is away.
        """
        async with self._asking():
            epoch = (await self._view.catalogue()).rules.epoch
            async with self._view.store.alone() as session:
                return epoch, dict(await session.rows(_Counted, "counted_events", since=since))

    async def achievements(
        self,
        subject: Subject,
        languages: tuple[str, ...],
        family: str | None,
        is_known: Callable[[str], bool] = lambda tag: False,
    ) -> Content:
        """Return where a subject stands; no body where the caller knows what has its tag, for one row of the database.

        Raises:
            NotFoundError, GoneError, AwayError: no such scope; erased; the database is away, and no answer is kept.
        """
        _check(subject)
        key = (subject, languages, family)
        try:
            async with self._asking(kept=key in self._kept):
                age = await self._age()
                tag = _tagged(await self._view.tag(subject, Reader(languages, as_user=True), wall_clock()), family)
                if is_known(tag):
                    return Content(b"", tag, age)
                kept = self._kept.get(key)
                if kept is None or kept.tag != tag:
                    kept = await self._standing(subject, languages, family)
        except AwayError:
            return self._earlier(key)
        return self._now(key, kept, age)

    async def _standing(self, subject: Subject, languages: tuple[str, ...], family: str | None) -> _Kept:
        standing = await self._view.standing(subject, Reader(languages, as_user=True), wall_clock())
        if standing.presence is Presence.ERASED:
            for key in [key for key in self._kept if key[0] == subject]:
                del self._kept[key]
            raise GoneError("this user was erased")
        tag = _tagged(standing.tag, family)
        if family is not None:
            standing = of_family(standing, family)
        return _Kept(tag, msgspec.json.encode(standing), monotonic())

    async def catalogue(self, tenant: str, languages: tuple[str, ...]) -> Content:
        """Return what can be earned in a tenant.

        Raises:
            AwayError: the database is away, and no answer is kept.
        """
        key = ("catalogue", tenant, languages)
        try:
            async with self._asking(kept=key in self._kept):
                age = await self._age()
                offer = await self._view.offer(tenant, Reader(languages, as_user=True), wall_clock())
        except AwayError:
            return self._earlier(key)
        body = msgspec.json.encode(offer)
        return self._now(key, _Kept(blake2b(body, digest_size=16).hexdigest(), body, monotonic()), age)

    async def why(
        self, subject: Subject, achievement: str, languages: tuple[str, ...], occurrence: str | None
    ) -> Content:
        """Return why a subject has an achievement, or why not yet.

        Raises:
            NotFoundError: there is none, or the subject does not see it yet.
            GoneError, AwayError: as in `achievements`.
        """
        _check(subject)
        name, _, tier = achievement.partition(".")
        reader, question = Reader(languages, as_user=True), Question(name, tier or None, occurrence)
        if await self.is_erased(subject):
            raise GoneError("this user was erased")
        async with self._asking(), self._explaining:
            age = await self._age()
            return Content(encode_why(await self._view.why(subject, question, reader, wall_clock())), age=age)

    async def unlocks(self, tenant: str, asked: UnlocksAsked, languages: tuple[str, ...]) -> Content:
        """Return a page of a tenant's unlocks.

        Raises:
            BadRequestError: the cursor was not given out here for this tenant.
            AwayError: the database is away.
        """
        async with self._asking():
            age = await self._age()
            if asked.since == NOW:
                cursor = await self._unlocks.now(tenant)
                return Content(msgspec.json.encode(Page(unlocks=[], cursor=cursor, more=False)), age=age)
            wanted = Wanted(tenant, asked.limit, ALL if asked.corrections else GRANTS)
            catalogue = await self._view.catalogue()
            page = await self._unlocks.page(catalogue, wanted, Reader(languages, as_user=True), asked.since)
        return Content(msgspec.json.encode(page), age=age)

    async def is_erased(self, subject: Subject) -> bool:
        """Tell whether a user was erased.

        Raises:
            AwayError: the database is away.
        """
        async with self._asking(), self._view.store.alone() as session:
            row = await session.value(bool, "is_erased", tenant_id=subject.tenant_id, user_id=subject.subject)
        return bool(row) and subject.scope == "user"

    async def is_there(self) -> bool:
        """Tell whether the database answers."""
        try:
            async with self._asking():
                await self._view.catalogue()
        except AwayError:
            return False
        return True

    # -- what is kept --------------------------------------------------------------------------------------------------

    async def _age(self) -> int | None:
        """Return how many seconds the database is behind; None where that is too few to be named."""
        now = monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            async with self._view.store.alone() as session:
                look = await session.row(Position, "replica_position")
            if look is not None:
                self._lag.see(look, now)
        behind = self._lag.seconds(monotonic())
        return int(behind) if behind >= LAG_SECONDS else None

    def _now(self, key: Key, kept: _Kept, age: int | None) -> Content:
        self._kept[key] = kept._replace(at=monotonic() - (age or 0))
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return Content(_aged(kept.body, age), kept.tag, age)

    def _earlier(self, key: Key) -> Content:
        kept = self._kept.get(key)
        if kept is None:
            raise AwayError("the database is away")
        age = int(monotonic() - kept.at)
        return Content(_aged(kept.body, age), None, age)

    @asynccontextmanager
    async def _asking(self, *, kept: bool = False) -> AsyncGenerator[None]:
        """Bound a block in time, and turn what can go wrong in it into problems."""
        if kept and monotonic() < self._away_until:
            raise AwayError("the database is away")
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                yield
        except (UnavailableError, TimeoutError) as error:
            if monotonic() >= self._away_until:  # not a line for each request that fails
                log.warning("the database is away", said=str(error) or "no answer in time")
            self._away_until = monotonic() + AWAY_SECONDS
            raise AwayError("the database is away") from None
        except (StaleError, RulesChangedError):
            raise AwayError("other rules have come into force, and progress is being brought up to date") from None
        except (UnreadableError, RulesRefusedError) as error:
            log.error("what is stored cannot be read", said=str(error))  # noqa: TRY400 - its words are enough
            raise AwayError("what is stored cannot be read by this release", retry_after=60) from None
        except UnknownScopeError:
            raise NotFoundError(
                "no rule in force is of this scope", "Use users, or a scope of the catalogue."
            ) from None
        except CannotExplainError as error:
            raise NotFoundError(str(error), "Ask for an id, and an occurrence, that `achievements` lists.") from None
        except CursorError as error:
            raise BadRequestError(str(error), "Leave `since` out, or send `now`.") from None
        except RefusedError:
            raise BadRequestError("an id holds what the database cannot store") from None


def _check(subject: Subject) -> None:
    if subject.scope == TENANT and subject.subject != subject.tenant_id:
        raise NotFoundError("in the scope tenant the only subject is the tenant itself", "Name the tenant twice.")


def _tagged(tag: str, family: str | None) -> str:
    return tag if family is None else blake2b(f"{tag} {family}".encode(), digest_size=16).hexdigest()


def _aged(body: bytes, age: int | None) -> bytes:
    said = b'"stale":false,"age":0' if age is None else b'"stale":true,"age":%d' % age
    return b"%s,%s}" % (body[:-1], said)


def encode_why(why: Why) -> bytes:
    """Return an explanation as JSON; its numbers are exact, also where they are no integers."""
    return msgspec.json.Encoder(decimal_format="number").encode(why)

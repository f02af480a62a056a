"""The one way to read: rules by epoch and rarity by age kept in memory, everything else as it is in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from anyio import to_thread

from dsl.compile import TENANT, USER, scope_of
from worker.engine.answer import OPERATOR, Reader, answer_of, tag_of
from worker.engine.entries import Catalogue
from worker.engine.why import CannotExplainError, Why, check_named, explained, named_in, tiers_asked_for
from worker.pipeline.rules_in_force import load_deployed
from worker.settings import Clock
from worker.view.catalogue import offer_of
from worker.view.rarity import KEPT_SECONDS, Rarity
from worker.view.standing import RulesChangedError, read_facts, read_mark
from worker.view.why import read_evidence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dsl.outcome import Subject
    from worker.engine.answer import Standing
    from worker.engine.why import Question
    from worker.settings import Settings
    from worker.store import Store
    from worker.view.catalogue import Offer
    from worker.view.reveal import Revealer

__all__ = ["OPERATOR", "TENANT", "USER", "Reader", "UnknownScopeError", "View"]

T = TypeVar("T")

MOST_EXPLAINED: Final = 20_000
"""Events of a subject, for an explanation."""
TRIES: Final = 3
"""To ask by the rules in force, while others come into force."""


class UnknownScopeError(LookupError):
    """No rule in force is of a scope; `scopes` are those that there are."""

    def __init__(self, scope: str, scopes: list[str]) -> None:
        super().__init__(f"no rule in force is of the scope {scope}")
        self.scope = scope
        self.scopes = scopes


class View:
    """What readers may see of one deployment. One for a process; its methods may be called side by side.

    `store` may be that of a replica, with a role that only reads. `revealer` writes down what is revealed by progress;
    without one that is shown only while the progress is there.
    """

    def __init__(
        self, store: Store, settings: Settings, *, revealer: Revealer | None = None, rarity_seconds: int = KEPT_SECONDS
    ) -> None:
        self.store = store
        self._settings = settings
        self._revealer = revealer
        self._rarity = Rarity(store, seconds=rarity_seconds)
        self._catalogue: Catalogue | None = None
        self._loading = anyio.Lock()

    async def standing(self, subject: Subject, reader: Reader, now: int) -> Standing:
        """Return where a subject stands at `now` (microseconds; that of the events, where the clock is theirs).

        What is shown to the subject for the first time is written down before.

        Raises:
            UnknownScopeError: no rule in force is of that scope.
            StaleError, UnreadableError: as in `read_facts`.
            UnavailableError: the database is away.
            RulesRefusedError: as in `load_deployed`.
        """
        stream_clock = self._settings.clock is Clock.STREAM

        async def ask(catalogue: Catalogue) -> Standing:
            _check_scope(catalogue, subject)
            facts = await read_facts(self.store, catalogue, subject, stream_clock=stream_clock)
            rarities = await self._rarity.of(subject.tenant_id, now)
            answer = answer_of(catalogue, facts, reader, facts.clock if stream_clock else now, rarities)
            if answer.fresh and self._revealer is not None:
                await self._revealer.reveal(subject, answer.fresh, now)
            return answer.standing

        return await self._by_the_rules(ask)

    async def tag(self, subject: Subject, reader: Reader, now: int) -> str:
        """Return the tag that `standing` would have, for one row of the database.

        Raises:
            UnknownScopeError, UnavailableError, RulesRefusedError: as in `standing`.
        """

        async def ask(catalogue: Catalogue) -> str:
            _check_scope(catalogue, subject)
            mark = await read_mark(self.store, catalogue, subject)
            rarities = await self._rarity.of(subject.tenant_id, now)
            return tag_of(catalogue, subject.scope, mark, reader, now, rarities)

        return await self._by_the_rules(ask)

    async def why(self, subject: Subject, question: Question, reader: Reader, now: int) -> Why:
        """Return why a subject has an achievement, or what is missing, at `now` (microseconds).

        As a user sees it, what is hidden is not there: neither its name, nor a guess of it. An explanation that would
        name something hidden is refused.

        Raises:
            CannotExplainError: there is no such achievement, tier or occurrence; or there are too many events.
            UnknownScopeError, UnavailableError, RulesRefusedError: as in `standing`; as a user sees it also
                StaleError, UnreadableError.
        """
        catalogue = await self.catalogue()
        _check_scope(catalogue, subject)
        renames, rules = catalogue.rules.renames, catalogue.rules.written
        question = question._replace(achievement=renames.named(question.achievement))
        name = question.achievement
        if reader.as_user:
            question, tiers = await self._asked_by_user(subject, question, reader, now)
        else:
            check_named(rules, question)
            tiers = tiers_asked_for(rules, question)
        if scope_of(rules.achievements[name][0]) != subject.scope:
            raise CannotExplainError(f"no {subject.scope} earns {name}")
        stream_clock = self._settings.clock is Clock.STREAM
        read = await read_evidence(
            self.store, catalogue.rules, subject, question, stream_clock=stream_clock, most=MOST_EXPLAINED
        )
        at = now if read.latest is None else read.latest
        explanations = await to_thread.run_sync(explained, rules, subject, question, tiers, read.events, at)
        contested = renames.shown_in(read.contested)
        return Why(explanations, [one for one in contested if one.achievement != name or one.tier in tiers])

    async def _asked_by_user(
        self, subject: Subject, question: Question, reader: Reader, now: int
    ) -> tuple[Question, list[str | None]]:
        """Return the tiers that a user asks for and may see."""
        standing = await self.standing(subject, reader, now)
        name = question.achievement
        seen = [item.tier for item in standing.items if item.achievement == name]
        tiers = [tier for tier in seen if question.tier in {None, tier}]
        if not tiers:
            raise CannotExplainError("there is no such achievement here")
        catalogue = await self.catalogue(standing.rules_epoch)
        now_called = catalogue.rules.renames.now
        named = {(now_called(entry.achievement), entry.tier) for entry in catalogue.in_effect(subject.scope, now)}
        visible = {(item.achievement, item.tier) for item in standing.items}
        others = named_in(catalogue.rules.written, name) - {name}
        if any(key[0] in others for key in named - visible):
            raise CannotExplainError("its explanation would name what is not revealed yet")
        return question, tiers

    async def offer(self, tenant: str, reader: Reader, now: int) -> Offer:
        """Return what can be earned in a tenant at `now` (microseconds).

        Raises:
            UnavailableError, RulesRefusedError: as in `standing`.
        """
        catalogue = await self.catalogue()
        return offer_of(catalogue, reader, now, await self._rarity.of(tenant, now))

    async def catalogue(self, epoch: int | None = None) -> Catalogue:
        """Return what the rules in force say; `epoch` is that which is known to be in force, None to ask.

        Raises:
            UnavailableError: the database is away.
            RulesRefusedError: as in `load_deployed`.
        """
        if epoch is None:
            async with self.store.alone() as session:
                epoch = await session.value(int, "epoch_in_force") or 0
        async with self._loading:
            if self._catalogue is None or self._catalogue.rules.epoch < epoch:
                self._catalogue = Catalogue(await load_deployed(self.store, self._settings))
            return self._catalogue

    async def _by_the_rules(self, ask: Callable[[Catalogue], Awaitable[T]]) -> T:
        catalogue = self._catalogue or await self.catalogue()
        for _ in range(TRIES - 1):
            try:
                return await ask(catalogue)
            except RulesChangedError as changed:
                catalogue = await self.catalogue(changed.epoch)
        return await ask(catalogue)


def _check_scope(catalogue: Catalogue, subject: Subject) -> None:
    if subject.scope != USER and subject.scope not in catalogue.scopes:
        raise UnknownScopeError(subject.scope, catalogue.scopes)

"""Why a subject has an achievement, or why not yet: the explanation of the ledger's events by the rules in force."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread

from dsl.analyze import names
from dsl.calendar import format_instant
from dsl.explain import Asked, Explanation, MeantError, explain, tiers_of
from worker.engine.answer import Presence
from worker.engine.state_cache import BEGINNING
from worker.pipeline.ledger import read_back

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from dsl.event import Event
    from dsl.outcome import Subject
    from dsl.schema import Rules
    from worker.engine.answer import Standing
    from worker.engine.entries import Catalogue, Key
    from worker.engine.rule_set import Deployed
    from worker.store import Store
    from worker.view.reader import View

MOST_EVENTS: Final = 20_000
"""Of one subject, that are read for an explanation."""
HIDDEN: Final = "(hidden)"
"""Stands for the names of what the subject does not see yet."""
_SIDE_BY_SIDE: Final = 1
"""Explanations that are worked out at the same time: each keeps a core busy."""

T = TypeVar("T", bound=msgspec.Struct)


class UnknownAchievementError(LookupError):
    """There is no such achievement, tier or occurrence, or the subject does not see it yet: nothing tells which."""


class TooManyEventsError(Exception):
    """The subject has more events than are read here."""


class Contested(msgspec.Struct, frozen=True):
    """An unlock that was granted, and is kept though the events do not support it any more; instants as RFC 3339."""

    achievement: str
    tier: str | None
    occurrence: str | None
    earned_at: str
    contested_at: str


class Why(msgspec.Struct, frozen=True):
    """An explanation for each tier asked for, and what is contested of the unlocks that they name."""

    explanations: list[Explanation]
    contested: list[Contested]


class _Row(msgspec.Struct, frozen=True):
    """A contested unlock as stored: empty text for none, instants in microseconds."""

    achievement: str
    tier: str
    occurrence: str
    earned_at: int
    contested_at: int

    def shown(self) -> Contested:
        earned, since = format_instant(self.earned_at), format_instant(self.contested_at)
        return Contested(self.achievement, self.tier or None, self.occurrence or None, earned, since)


class Evidence(NamedTuple):
    """What the ledger has of a subject."""

    events: list[Event]
    contested: list[Contested]
    """Of the achievement, and of those that its versions name in `after` and `unlocked`."""
    latest: int
    """The latest instant of any event, microseconds; 0 where there is none, or it was not asked for."""


async def read_evidence(
    store: Store,
    rules: Deployed,
    subject: Subject,
    achievement: str,
    *,
    most: int | None = None,
    stream_clock: bool = False,
) -> Evidence:
    """Read all events of a subject, and its contested unlocks, in one transaction; `stream_clock` asks for `latest` too.

    Raises:
        TooManyEventsError: there are more events than `most`.
        UnavailableError: the database is away.
    """
    events: list[Event] = []
    async with store.transaction(patient=most is None) as session:
        async for page in read_back(session, rules, subject.scope, {subject: BEGINNING}):
            events.extend(event for _, event in page)
            if most is not None and len(events) > most:
                raise TooManyEventsError
        latest = await session.value(int, "latest_instant") if stream_clock else None
        named = sorted({achievement, *(name for name, _ in _named(rules.rules, achievement))})
        rows = await session.rows(_Row, "contested_of_subject", **subject._asdict(), achievements=named)
    return Evidence(events, [row.shown() for row in rows], latest or 0)


def _named(rules: Rules, achievement: str) -> Iterator[Key]:
    for version in rules.achievements[achievement]:
        yield from names(version)


class Explainer:
    """Explains to subjects what they may see. One for a process."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._limiter: CapacityLimiter | None = None

    async def why(self, standing: Standing, subject: Subject, name: str, occurrence: str | None, now: int) -> Why:
        """Explain an achievement (`achievement`, or `achievement.tier`) to the subject itself.

        `standing` is the subject's, as it sees it: what is not in there does not exist.

        Raises:
            UnknownAchievementError, TooManyEventsError: see there.
            UnavailableError, RulesRefusedError: as in `View.catalogue`.
        """
        catalogue = await self._view.catalogue()
        visible = {(item.achievement, item.tier) for item in standing.items}
        achievement, _, tier = name.partition(".")
        tiers = [key[1] for key in visible if key[0] == achievement and tier in {"", key[1]}]
        if standing.presence is Presence.ERASED or not tiers or achievement not in catalogue.rules.rules.achievements:
            raise UnknownAchievementError
        evidence = await read_evidence(self._view.store, catalogue.rules, subject, achievement, most=MOST_EVENTS)
        asked = Asked(subject.tenant_id, subject.subject, achievement, None, occurrence, now)
        ordered = [one for one in tiers_of(catalogue.rules.rules, achievement) if one in tiers]
        if self._limiter is None:
            self._limiter = CapacityLimiter(_SIDE_BY_SIDE)
        explained = await to_thread.run_sync(
            _explained, catalogue, asked, ordered, evidence.events, limiter=self._limiter
        )
        if not explained:
            raise UnknownAchievementError
        hidden = _hidden(catalogue, subject.scope, visible)
        granted = visible | {(one.achievement, one.tier) for one in standing.kept}
        contested = [
            one for one in evidence.contested
            if (one.achievement, one.tier) in granted and (one.achievement != achievement or one.tier in tiers)
        ]
        return Why([without(one, hidden) for one in explained], contested)


def _explained(
    catalogue: Catalogue, asked: Asked, tiers: Sequence[str | None], events: Sequence[Event]
) -> list[Explanation]:
    found: list[Explanation] = []
    for tier in tiers:
        try:
            found.append(explain(catalogue.rules.rules, asked._replace(tier=tier), events))
        except MeantError:  # another tier may have the occurrence
            continue
    return found


# -- what is hidden ----------------------------------------------------------------------------------------------------


def _hidden(catalogue: Catalogue, scope: str, visible: Collection[Key]) -> list[str]:
    """Return the names, as rules write them, of all that a subject does not see: the longest first."""
    seen = {key[0] for key in visible}
    found: set[str] = set()
    for name, versions in catalogue.rules.rules.achievements.items():
        if name not in seen:
            found.add(name)
            continue
        tiers = {tier.name.text for version in versions for tier in version.tiers}
        found.update(f"{name}.{tier}" for tier in tiers if (name, tier) not in visible)
    return sorted(found, key=lambda name: (-len(name), name))


def without(explanation: Explanation, hidden: Sequence[str]) -> Explanation:
    """Return an explanation that says `(hidden)` wherever it would name something hidden.

    Conditions are quoted in it, and may name other achievements. Where a word of the language, a field or a value has
    the same name as something hidden, that is covered too: better a word too many than one too few.
    """
    if not hidden:
        return explanation
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, hidden))})(?:\.[\w-]+)?(?![\w-])")
    return _covered(explanation, pattern)


_TEXTS: Final = frozenset({"text", "detail", "missing"})
"""Fields that quote conditions, or say in words what is missing."""


def _covered(value: T, pattern: re.Pattern[str]) -> T:
    changes: dict[str, Any] = {}
    for name in value.__struct_fields__:
        changes[name] = _covered_value(getattr(value, name), pattern, quotes=name in _TEXTS)
    return msgspec.structs.replace(value, **changes)


def _covered_value(value: Any, pattern: re.Pattern[str], *, quotes: bool) -> Any:  # noqa: ANN401 - of any field
    match value:
        case str():
            return pattern.sub(HIDDEN, value) if quotes else value
        case list():
            return [_covered_value(one, pattern, quotes=quotes) for one in value]  # pyright: ignore[reportUnknownVariableType]
        case msgspec.Struct():
            return _covered(value, pattern)
        case _:
            return value

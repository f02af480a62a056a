"""The answer to "where does this subject stand?", for people and programs alike. Pure.

CLI, API and console show the same answer. An operator sees everything; a user sees what `reveal` lets them see, and of
the rest how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec reads annotations
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypedDict

import msgspec
from msgspec import Meta, Raw, Struct

from dsl.calendar import format_instant
from dsl.progress import State
from dsl.values import canonical_number
from worker.engine.announcement import Instant
from worker.engine.entries import NOTHING_GIVEN
from worker.engine.languages import spoken
from worker.engine.rarity import Rarity
from worker.engine.reconcile import State as Stands
from worker.engine.reveal import sight
from worker.engine.standing import Status, standing_of, status_of

if TYPE_CHECKING:
    from dsl.outcome import Subject
    from dsl.progress import Amount
    from worker.engine.entries import Catalogue, Entry, Key
    from worker.engine.languages import Spoken
    from worker.engine.rarity import Rarities
    from worker.engine.reconcile import Stored
    from worker.engine.standing import Item

MINUTE: Final = 60_000_000
"""Microseconds: how long an unchanged answer is taken for the same where rules ask for the time."""

_Number = Annotated[
    str | None, Meta(description="An exact decimal number, as text.", extra_json_schema={"type": ["string", "null"]})
]
_Reward = Annotated[
    Raw,
    Meta(
        description="Of what is granted as it was then; else as the rules have it.",
        extra_json_schema={"type": "object"},
    ),
]


class Presence(StrEnum):
    """What is known of a subject."""

    KNOWN = "known"
    """It has done something that a rule hears, or has an unlock."""
    UNKNOWN = "unknown"
    """Nothing is known of it: it is at the beginning of everything."""
    ERASED = "erased"
    """A user who was erased, for good. The answer has no items."""


class Shown(Struct, frozen=True, kw_only=True):
    """One achievement and tier of one subject, as it is shown; instants as RFC 3339 in UTC."""

    id: Annotated[str, Meta(description="achievement, or achievement.tier")]
    achievement: str
    tier: str | None
    version: Annotated[int, Meta(ge=1)]
    in_force: Annotated[bool, Meta(description="False for what rules that have left the rule set have granted.")]
    family: str | None
    title: Annotated[str | None, Meta(description="Null where the rules that had it have left the rule set.")]
    language: Annotated[str | None, Meta(description="Of the title: a tag of BCP 47, und where it has none.")]
    fallback: Annotated[bool, Meta(description="Whether the title is in another language than was asked for.")]
    about: str | None
    reward: _Reward
    final: Annotated[bool | None, Meta(description="Whether no late event can take it back.")]
    eligible: Annotated[
        bool | None,
        Meta(description="Whether `for` admits the user now; null where a trait that decides it is unknown."),
    ]
    status: Status
    current: _Number
    target: _Number
    unit: Annotated[
        str | None, Meta(description="What is counted: hour, day, week, month, year, event, step, or a field.")
    ]
    more_than: Annotated[bool, Meta(description="Whether current lies on a target that it has to exceed.")]
    percent: Annotated[int, Meta(ge=0, le=100, description="100 exactly where it is earned or settling.")] | None
    held_back: Annotated[bool, Meta(description="Whether the condition holds and something else is missing.")]
    occurrence: Annotated[str | None, Meta(description="The current one, of what repeats.")]
    last_occurrence: Annotated[str | None, Meta(description="The last one that is earned, of what repeats.")]
    last_earned_at: Annotated[Instant | None, Meta(description="When the last occurrence was earned.")]
    times: Annotated[int, Meta(ge=0, description="How many occurrences are earned.")]
    earned_at: Instant | None
    granted_at: Instant | None
    settles_at: Instant | None
    by_hand: bool
    next_tier: Annotated[str | None, Meta(description="The tier behind this one, of those that may be seen.")]
    rarity: Annotated[Rarity | None, Meta(description="Null where fewer than 50 subjects are known.")]
    hidden: Annotated[
        bool, Meta(description="Whether the subject does not see it yet; always false as the user sees it.")
    ]


class Standing(Struct, frozen=True, kw_only=True):
    """Where one subject stands with everything."""

    tenant_id: str
    scope: str
    subject: str
    presence: Presence
    items: Annotated[list[Shown], Meta(description="By the rules in force, in their order.")]
    kept: Annotated[list[Shown], Meta(description="Granted by rules that have left the rule set.")]
    hidden: Annotated[int, Meta(ge=0, description="How many achievements and tiers the subject does not see yet.")]
    rules_epoch: int
    as_of: Annotated[Instant, Meta(description="The moment that the answer speaks of.")]
    rarity_as_of: Instant | None
    tag: Annotated[str, Meta(description="Stays the same as long as the answer does; for an ETag.")]


class Held(NamedTuple):
    """An unlock with what it gave; `reward` is a JSON object."""

    stored: Stored
    reward: str


class Facts(NamedTuple):
    """All that is stored of one subject, as of one moment."""

    subject: Subject
    presence: Presence
    state: State | None
    """None where it has done nothing that the rules hear."""
    unlocks: Sequence[Held]
    shown: frozenset[Key]
    """What was revealed by progress, and written down."""
    mark: str
    """Changes whenever one of these does."""
    building: bool
    """Whether a backfill is under way, so that what is not known may be known soon."""
    clock: int
    """The latest instant of any event of the tenant, microseconds; 0 where there is none."""


class Reader(NamedTuple):
    """Who asks: the languages, best first, and whether only what `reveal` allows is to be shown."""

    languages: tuple[str, ...] = ()
    as_user: bool = False


class Answer(NamedTuple):
    """A standing, and what is to be written down as shown before it is given to the subject."""

    standing: Standing
    fresh: tuple[Key, ...]


OPERATOR: Final = Reader()


def answer_of(catalogue: Catalogue, facts: Facts, reader: Reader, now: int, rarities: Rarities | None = None) -> Answer:
    """Return where a subject stands at `now` (microseconds), as a reader sees it."""
    rows = [held.stored for held in facts.unlocks]
    whole = standing_of(catalogue.rules, facts.subject, facts.state, rows, now)
    if facts.presence is Presence.ERASED:
        whole = whole._replace(items=[], kept=[])
    seen = sight(catalogue, whole.items, rows, facts.shown)
    teller = _Teller(catalogue, facts, reader, rarities, seen.visible)
    items = [item for item in whole.items if not reader.as_user or (item.achievement, item.tier) in seen.visible]
    kept = [row for row in whole.kept if not reader.as_user or row.granted_at is not None]
    rarity_as_of = None if rarities is None else format_instant(rarities.as_of)
    standing = Standing(
        tenant_id=facts.subject.tenant_id,
        scope=facts.subject.scope,
        subject=facts.subject.subject,
        presence=facts.presence,
        items=[teller.item(item) for item in items],
        kept=[teller.kept(row) for row in kept],
        hidden=len({(item.achievement, item.tier) for item in whole.items} - seen.visible),
        rules_epoch=catalogue.rules.epoch,
        as_of=format_instant(now),
        rarity_as_of=rarity_as_of,
        tag=tag_of(catalogue, facts.subject.scope, facts.mark, reader, now, rarities),
    )
    return Answer(standing, seen.fresh if reader.as_user else ())


def tag_of(
    catalogue: Catalogue, scope: str, mark: str, reader: Reader, now: int, rarities: Rarities | None = None
) -> str:
    """Return the tag of an answer without making it: `mark` is that of the facts.

    Where rules ask for the time, an answer counts as the same for a minute.
    """
    time = now // MINUTE if catalogue.is_timed(scope) else 0
    said = [catalogue.rules.epoch, scope, mark, time, reader, None if rarities is None else rarities.mark]
    return blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()


def of_family(standing: Standing, family: str) -> Standing:
    """Return what an answer says of one family; `hidden` stays that of all, for it would say who is in the family."""
    items, kept = ([one for one in some if one.family == family] for some in (standing.items, standing.kept))
    return msgspec.structs.replace(standing, items=items, kept=kept)


class _Teller:
    """Puts items and unlocks into words."""

    def __init__(
        self,
        catalogue: Catalogue,
        facts: Facts,
        reader: Reader,
        rarities: Rarities | None,
        visible: frozenset[Key],
    ) -> None:
        self.catalogue = catalogue
        self.names = catalogue.rules.renames
        self.scope = facts.subject.scope
        self.state = State() if facts.state is None else facts.state
        self.rewards = {held.stored.unlock_id: held.reward for held in facts.unlocks}
        self.reader = reader
        self.rarities = rarities
        self.visible = visible

    def item(self, item: Item) -> Shown:
        entry, reached = self._entry(item), item.reached
        title = self._title(entry)
        return Shown(
            id=self.names.target(entry.achievement, entry.tier),
            achievement=self.names.now(item.achievement),
            tier=item.tier,
            version=item.version,
            in_force=True,
            family=entry.family,
            title=None if title is None else title.text,
            language=None if title is None else title.language,
            fallback=title is not None and title.fallback,
            about=entry.about,
            reward=self._reward(item.unlock, entry.reward),
            final=entry.final,
            eligible=entry.eligible(self.state),
            status=item.status,
            current=_number(reached.current),
            target=_number(reached.target),
            unit=None if reached.target is None else entry.unit,
            more_than=reached.more_than,
            percent=reached.percent,
            held_back=reached.held_back,
            occurrence=item.occurrence,
            last_occurrence=None if item.last is None else item.last.occurrence or None,
            last_earned_at=None if item.last is None else format_instant(item.last.earned_at),
            times=item.times,
            **_granted(item.unlock),
            next_tier=self._next(entry),
            rarity=self._rarity(item.achievement, item.tier),
            hidden=(item.achievement, item.tier) not in self.visible,
        )

    def kept(self, row: Stored) -> Shown:
        earned = status_of(row) is Status.EARNED
        return Shown(
            id=self.names.target(row.achievement, row.tier),
            achievement=self.names.now(row.achievement),
            tier=row.tier or None,
            version=row.version,
            in_force=False,
            family=None,
            title=None,
            language=None,
            fallback=False,
            about=None,
            reward=self._reward(row, NOTHING_GIVEN),
            final=None,
            eligible=None,
            status=status_of(row),
            current=None,
            target=None,
            unit=None,
            more_than=False,
            percent=None,
            held_back=False,
            occurrence=row.occurrence or None,
            last_occurrence=row.occurrence or None if earned else None,
            last_earned_at=format_instant(row.earned_at) if earned else None,
            times=int(earned),
            **_granted(row),
            next_tier=None,
            rarity=None,
            hidden=row.granted_at is None,
        )

    def _entry(self, item: Item) -> Entry:
        entry = self.catalogue.entry(item.achievement, item.tier, item.version)
        if entry is None:
            raise AssertionError(item)
        return entry

    def _title(self, entry: Entry) -> Spoken | None:
        return spoken(entry.titles, self.reader.languages)

    def _reward(self, row: Stored | None, promised: str) -> Raw:
        given = None if row is None or row.granted_at is None else self.rewards.get(row.unlock_id)
        return Raw((promised if given is None else given).encode())

    def _next(self, entry: Entry) -> str | None:
        """Return the next tier; as a user sees it, the next one that may be seen."""
        tier = entry.next_tier
        while tier is not None and self.reader.as_user and (entry.achievement, tier) not in self.visible:
            behind = self.catalogue.entry(entry.achievement, tier, entry.version)
            tier = None if behind is None else behind.next_tier
        return tier

    def _rarity(self, achievement: str, tier: str | None) -> Rarity | None:
        return None if self.rarities is None else self.rarities.of(self.scope, achievement, tier)


class Granted(TypedDict):
    """What an unlock says, in the form of `Shown`."""

    earned_at: str | None
    settles_at: str | None
    granted_at: str | None
    by_hand: bool


def _granted(row: Stored | None) -> Granted:
    if row is None:
        return Granted(earned_at=None, settles_at=None, granted_at=None, by_hand=False)
    settles = row.settles_at if status_of(row) is Status.SETTLING else None
    earned, settles_at, granted = (_instant(at) for at in (row.earned_at, settles, row.granted_at))
    return Granted(earned_at=earned, settles_at=settles_at, granted_at=granted, by_hand=row.state is Stands.BY_HAND)


def _instant(at: int | None) -> str | None:
    return None if at is None else format_instant(at)


def _number(amount: Amount | None) -> str | None:
    return None if amount is None else canonical_number(amount)

"""What can be earned: the public part of the rules in force, and all of it for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Raw, Struct

from worker.engine.languages import spoken
from worker.engine.rarity import Rarity

if TYPE_CHECKING:
    from worker.engine.answer import Reader
    from worker.engine.entries import Catalogue, Entry
    from worker.engine.rarity import Rarities

_Reward = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class Offered(Struct, frozen=True, kw_only=True):
    """One achievement and tier, the same for every reader."""

    id: Annotated[str, Meta(description="achievement, or achievement.tier")]
    achievement: str
    tier: str | None
    version: Annotated[int, Meta(ge=1)]
    scope: str
    family: str | None
    title: str | None
    language: str | None
    fallback: Annotated[bool, Meta(description="Whether the title is in another language than was asked for.")]
    about: str | None
    reward: _Reward
    final: bool
    repeats: bool
    unit: str | None
    next_tier: str | None
    rarity: Rarity | None
    reveal: Annotated[str, Meta(description="always; for operators also secret, after and at.")]


class Offer(Struct, frozen=True, kw_only=True):
    """What can be earned in a tenant. Rules are the same for all tenants; rarity is the tenant's."""

    rules_epoch: int
    items: list[Offered]
    hidden: Annotated[int, Meta(ge=0, description="How many achievements and tiers some users do not see.")]


def offer_of(catalogue: Catalogue, reader: Reader, now: int, rarities: Rarities | None = None) -> Offer:
    """Return what can be earned at `now` (microseconds); `as_user` leaves out what is not revealed from the start."""
    entries = [entry for scope in catalogue.scopes for entry in catalogue.in_effect(scope, now)]
    public = {(entry.achievement, entry.tier) for entry in entries if entry.reveal.kind == "always"}
    shown = [entry for entry in entries if not reader.as_user or (entry.achievement, entry.tier) in public]
    return Offer(
        rules_epoch=catalogue.rules.epoch,
        items=[_offered(catalogue, entry, reader, rarities) for entry in shown],
        hidden=len(entries) - len(public),
    )


def _offered(catalogue: Catalogue, entry: Entry, reader: Reader, rarities: Rarities | None) -> Offered:
    title = spoken(entry.titles, reader.languages)
    return Offered(
        id=catalogue.rules.renames.target(entry.achievement, entry.tier),
        achievement=catalogue.rules.renames.now(entry.achievement),
        tier=entry.tier,
        version=entry.version,
        scope=entry.scope,
        family=entry.family,
        title=None if title is None else title.text,
        language=None if title is None else title.language,
        fallback=title is not None and title.fallback,
        about=entry.about,
        reward=Raw(entry.reward.encode()),
        final=entry.final,
        repeats=entry.repeats,
        unit=entry.unit,
        next_tier=_next(catalogue, entry, reader),
        rarity=None if rarities is None else rarities.of(entry.scope, entry.achievement, entry.tier),
        reveal=entry.reveal.kind,
    )


def _next(catalogue: Catalogue, entry: Entry, reader: Reader) -> str | None:
    tier = entry.next_tier
    while tier is not None and reader.as_user:
        behind = catalogue.entry(entry.achievement, tier, entry.version)
        if behind is None or behind.reveal.kind == "always":
            break
        tier = behind.next_tier
    return tier

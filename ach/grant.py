"""What a subject has earned and how far it is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dsl.calendar import format_instant
from dsl.outcome import full_name
from worker.engine.answer import Held
from worker.engine.languages import spoken
from worker.engine.reconcile import Stored, unlock_id
from worker.engine.standing import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.outcome import Subject
    from dsl.progress import Grant as Earned
    from worker.engine.answer import Shown
    from worker.engine.entries import Catalogue


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One unlock that a subject has earned, as far as this process knows. It can be encoded as JSON.

    It is provisional: the worker has all events and says the last word, under the same `unlock_id`.
    """

    unlock_id: str
    """The id that the worker announces this unlock under: a hash of what is earned by which subject."""
    tenant_id: str
    scope: str
    subject: str
    achievement: str
    tier: str | None
    occurrence: str | None
    """Of what repeats: which time, such as a day."""
    version: int
    earned_at: str
    """RFC 3339 in UTC: when the event occurred that earned it."""
    event_id: str
    settles_at: str | None
    """Where the rules let it settle: when the worker grants it, unless later events speak against it."""
    final: bool
    """Whether no late event can take it back."""
    family: str | None
    titles: dict[str, str]
    """By language; `und` for a title without one."""
    about: str | None
    reward: dict[str, Any]

    @property
    def id(self) -> str:
        """`achievement`, or `achievement.tier`."""
        return full_name(self.achievement, self.tier)

    def title(self, *languages: str) -> str | None:
        """Return the title for a reader of some languages, the best first; None where the rules give none."""
        found = spoken(self.titles, languages)
        return None if found is None else found.text


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a subject stands with one achievement and tier: an item of the read API's answer (docs/serve.md).

    `granted_at`, `rarity` and `by_hand` are not there: only the worker knows them. It can be encoded as JSON.
    """

    id: str
    """`achievement`, or `achievement.tier`."""
    achievement: str
    tier: str | None
    version: int
    family: str | None
    title: str | None
    language: str | None
    """Of the title: a tag of BCP 47, `und` where it has none."""
    fallback: bool
    """Whether the title is in another language than was asked for."""
    about: str | None
    reward: dict[str, Any]
    final: bool | None
    eligible: bool | None
    """Whether `for` admits the user now; None where a trait that decides it is unknown."""
    status: Status
    current: str | None
    """An exact decimal number as text; None where nothing is counted, as with `target`."""
    target: str | None
    unit: str | None
    """What is counted: hour, day, week, month, year, event, step, or a field."""
    more_than: bool
    """Whether `current` lies on a target that it has to exceed."""
    percent: int | None
    """100 exactly where it is earned or settling."""
    held_back: bool
    """Whether the condition holds and something else is missing."""
    occurrence: str | None
    last_occurrence: str | None
    last_earned_at: str | None
    times: int
    earned_at: str | None
    """RFC 3339 in UTC, as are all instants."""
    settles_at: str | None
    next_tier: str | None
    hidden: bool
    """Whether the subject does not see it yet."""


def grant_of(catalogue: Catalogue, subject: Subject, earned: Earned) -> Grant:
    """Return what was earned, in the words of the rules."""
    entry = catalogue.entry(earned.achievement, earned.tier, earned.version)
    if entry is None:
        raise AssertionError(earned)
    return Grant(
        unlock_id=str(unlock_id(subject, earned)),
        tenant_id=subject.tenant_id,
        scope=subject.scope,
        subject=subject.subject,
        achievement=catalogue.rules.renames.now(earned.achievement),
        tier=earned.tier,
        occurrence=earned.occurrence,
        version=earned.version,
        earned_at=format_instant(earned.earned_at),
        event_id=earned.event_id,
        settles_at=format_instant(earned.earned_at + earned.settle) if earned.settle else None,
        final=entry.final,
        family=entry.family,
        titles=dict(entry.titles),
        about=entry.about,
        reward=msgspec.json.decode(entry.reward, type=dict[str, Any]),
    )


def held_of(catalogue: Catalogue, subject: Subject, earned: Iterable[Earned], now: int) -> list[Held]:
    """Return what was earned as the worker would have stored it by `now` (microseconds)."""
    rows: list[Held] = []
    for one in earned:
        entry = catalogue.entry(one.achievement, one.tier, one.version)
        settles_at = one.earned_at + one.settle
        stored = Stored(
            *subject,
            one.achievement,
            one.tier or "",
            one.occurrence or "",
            unlock_id(subject, one),
            one.version,
            one.earned_at,
            one.event_id,
            settles_at if one.settle else None,
            settles_at if settles_at <= now else None,
            None,
            None,
        )
        rows.append(Held(stored, "{}" if entry is None else entry.reward))
    return rows


def progress_of(shown: Shown, more: int) -> Progress:
    """Return an item of an answer without what only the worker knows; `more` occurrences were earned before."""
    said: dict[str, Any] = {name: getattr(shown, name) for name in Progress.__struct_fields__}
    said["reward"] = msgspec.json.decode(shown.reward, type=dict[str, Any])
    said["times"] += more
    return Progress(**said)

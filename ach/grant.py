"""What an event has earned, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dsl.calendar import format_instant
from dsl.outcome import full_name
from worker.engine.answer import Held, Shown
from worker.engine.languages import spoken
from worker.engine.reconcile import Stored, unlock_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsl.outcome import Subject
    from dsl.progress import Grant as Earned
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
        achievement=earned.achievement,
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


def rows_of(catalogue: Catalogue, subject: Subject, earned: Iterable[Earned], now: int) -> list[Held]:
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


def item_of(shown: Shown, more: int) -> Shown:
    """Return an item of an answer without what only the worker knows; `more` occurrences were earned before."""
    return msgspec.structs.replace(shown, granted_at=None, times=shown.times + more)

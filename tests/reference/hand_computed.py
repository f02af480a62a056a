"""Shorthand for manually computed cases: a small contract, events in one line each, and their results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dsl.event import Event
from tests.reference import evaluator, latest_starts, progress_made
from tests.reference.rule_text import read
from tests.reference.timeline import Subject, timelines
from tests.reference.wall_clock import EPOCH, instant

if TYPE_CHECKING:
    from dsl.event import Position
    from dsl.types import Value
    from tests.reference.progress_made import Progress

CONTRACT = """
event a { n: int? >= 0, x: decimal? >= 0, s: string?, f: bool?, t: timestamp?, team: string? }
event b { n: int? >= 0, s: string?, team: string? }
event c { n: int? >= 0, s: string? }
event d { m: int?, s: string? }
event o { k: string?, l: string?, n: int? >= 0 once per k within 10m }
event p { k: string?, l: string? once per k, l }
traits from user.updated { plan: string, timezone: string, level: int }
"""


def e(when: str, kind: str, name: str = "", *, user: str = "u", tenant: str = "t", **fields: Value) -> Event:
    """Make an event. `when` is an instant, or `DD HH:MM[:SS[.ffffff]]` of April 2026 in UTC."""
    text = f"2026-04-{when.replace(' ', 'T')}Z" if re.match(r"\d\d \d\d:", when) else when
    text = re.sub(r"T(\d\d:\d\d)(?!:)(?=[Z+-])", r"T\1:00", text)
    sign = re.search(r"([+-])(\d\d):(\d\d)$", text)
    offset = 0 if sign is None else int(sign[1] + "1") * (int(sign[2]) * 60 + int(sign[3])) * 60
    at = instant(text)
    return Event(
        tenant=tenant,
        id=name or f"{kind}@{at}",
        type=kind,
        user=user,
        at=at,
        offset=offset,
        fields=dict(fields),
    )


def outcome(achievements: str, *events: Event) -> evaluator.Outcome:
    """Evaluate achievements, written under the contract above, on events given in any order."""
    return evaluator.outcome(read(CONTRACT + achievements), events)


def unlocked(achievements: str, *events: Event, by: str = "id") -> list[str]:
    """Return the unlocks as `name[.tier][ occurrence] < id of the event that earned it`, sorted.

    With `by="subject"` or `by="version"`, that in place of the event.
    """
    shown: list[str] = []
    for unlock in outcome(achievements, *events).unlocks:
        tier = f".{unlock.tier}" if unlock.tier else ""
        occurrence = f" {unlock.occurrence}" if unlock.occurrence else ""
        last = {"id": unlock.by.id, "subject": unlock.subject.name, "version": f"v{unlock.version}"}[by]
        shown.append(f"{unlock.achievement}{tier}{occurrence} < {last}")
    return shown


def earned(condition: str, *events: Event) -> str | None:
    """Return the id of the event that earns an achievement with this `when`."""
    unlocks = outcome(f'achievement x {{ title "X" when {condition} }}', *events).unlocks
    return unlocks[0].by.id if unlocks else None


def start(condition: str, *events: Event) -> str | None:
    """Return the latest start of a condition on all the events: an event's id, or the start of a unit."""
    rules = read(CONTRACT + f'achievement x {{ title "X" when {condition} }}')
    timeline = timelines(rules, events, "user")[Subject("t", "user", "u")]
    when = rules.achievements["x"][0].when
    assert when is not None
    view = latest_starts.View(rules, timeline, ())
    found = latest_starts.latest_start(when, latest_starts.Prefix(view, len(timeline.events) - 1))
    return None if found is None else _shown(found)


def progress(condition: str, *events: Event, now: str = "") -> Progress:
    """Return the progress towards a condition, not judged as earned, as of `now` or of the last event."""
    text = f'achievement x {{ title "X" when {condition} after never }}'
    never = 'achievement never { title "Never" when count(event=c, >= 1_000) }'
    rules = read(CONTRACT + never + text)
    moment = e(now, "a").at if now else max(event.at for event in events)
    found = evaluator.outcome(rules, events, moment)
    return found.progress[progress_made.Goal(Subject("t", "user", "u"), "x", None)]


def _shown(place: Position) -> str:
    if place.id:
        return place.id
    seconds, micros = divmod(place.at, 1_000_000)
    assert micros == 0
    return EPOCH.fromtimestamp(seconds, EPOCH.tzinfo).strftime("%Y-%m-%dT%H:%M:%SZ")

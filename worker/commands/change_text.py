"""A change of rules in words, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsl.calendar import format_instant
from worker.admin.changes import shown_builder
from worker.commands.headway import span
from worker.engine.pace import Headway
from worker.report import screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.admin.changes import Change, Counts


def headway_of(change: Change) -> Headway:
    """Return how far a change is built."""
    numbers = change.looked_at, change.expected, change.subjects, change.events, change.built_ms
    return Headway(*numbers, change.waits_for)


def announced_text(change: Change) -> str:
    """Return what is announced of what a change grants: `all`, `none`, or `since` and an instant."""
    if change.announce_since is None:
        return change.announce
    return f"{change.announce} {format_instant(change.announce_since)}"


def progress_text(change: Change) -> str:
    """Return how far a change is built, in a few words; empty where it is not."""
    if change.state not in {"building", "paused"}:
        return ""
    headway = headway_of(change)
    share = "" if headway.share is None else f"{100 * headway.share:.0f} %"
    left = headway.seconds_left
    return share if left is None or change.state == "paused" else f"{share}, about {span(left)} left"


def lines_of(change: Change, counts: Counts | None) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of a change: names and values."""
    yield "change", f"{change.change_id}, {change.state}"
    epoch = "not in force" if change.epoch is None else f"{change.epoch}, in place of {change.epoch_before}"
    yield "epoch", epoch
    at = change.begun_at if change.applied_at is None else change.applied_at
    yield "applied", f"{format_instant(at)[:19]} by {change.applied_by}"
    if change.message:
        yield "message", change.message
    yield "announce", announced_text(change)
    if change.plan is not None:
        yield "plan", change.plan[:16]
    yield "rules", change.hash[:16]
    if change.rate is not None:
        yield "rate", f"{change.rate:,} events a second"
    if change.max_lag is not None:
        yield "max lag", screen.plural(change.max_lag, "message")
    yield from _build_lines(change)
    if change.ended_at is not None:
        by = f" by {change.ended_by}" if change.ended_by else ""
        yield "ended", f"{format_instant(change.ended_at)[:19]}{by}"
    if counts is not None:
        decided = ", ".join(f"{number:,} {kind}" for kind, number in counts.decisions.items())
        yield "decisions", decided or "none"
        standing = f"{counts.announced:,} announced, {counts.waiting:,} waiting, {counts.silent:,} silent"
        yield "unlocks", f"{counts.granted:,} granted: {standing}"


def _build_lines(change: Change) -> Iterator[tuple[str, str]]:
    if change.epoch is None:
        return
    headway = headway_of(change)
    events, subjects = screen.plural(headway.events, "event"), screen.plural(headway.subjects, "subject")
    said = f"{subjects} brought up to date, {events} read, {span(headway.built_ms / 1000)}"
    progress = progress_text(change)
    yield "build", f"{progress}; {said}" if progress else said
    if change.state == "building":
        ago = change.silent_ms / 1000
        yield "built by", f"{shown_builder(change.builder)}, seen {span(max(0.0, ago))} ago"
        if change.waits_for:
            yield "waits", change.waits_for


def json_of(change: Change, counts: Counts | None = None) -> dict[str, object]:
    """Return a change as JSON; `decisions` and `unlocks` where they were counted."""
    headway = headway_of(change)
    fields: dict[str, object] = change._asdict()
    for name in ("begun_at", "applied_at", "announce_since", "ended_at"):
        at = fields[name]
        fields[name] = format_instant(at) if isinstance(at, int) else None
    for name in ("cursor", "silent_ms", "builder"):
        del fields[name]
    fields["built_by"] = shown_builder(change.builder) if change.state == "building" else None
    fields["silent_seconds"] = change.silent_ms // 1000 if change.state in {"pending", "building"} else None
    left = headway.seconds_left if change.state in {"building", "paused"} else None
    fields["seconds_left"] = None if left is None else round(left)
    if counts is not None:
        fields["decisions"] = dict(counts.decisions)
        unlocks = ("granted", "silent", "waiting", "announced")
        fields["unlocks"] = {name: getattr(counts, name) for name in unlocks}
    return fields


def show(change: Change, counts: Counts | None = None) -> None:
    """Print all that there is to say of a change."""
    for name, value in lines_of(change, counts):
        screen.out().say(f"{name + ':':<11}{value}")

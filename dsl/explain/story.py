"""The events of one subject, folded for one achievement and tier: what was earned, and what is seen on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.event import Event, Position
from dsl.explain.occurrences import Known
from dsl.fold import reach, start, step
from dsl.local_time import Now, unit_now
from dsl.outcome import full_name
from dsl.syntax import RepeatEach
from dsl.watch import only, watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.explain.occurrences import Meant
    from dsl.explain.recorder import Recorder
    from dsl.judge import Ruling
    from dsl.progress import Grant, State
    from dsl.schema import Rules
    from dsl.watch import Look, Watch

LAST: Final = "\U0010ffff" * 2
"""Behind every event id of an instant."""


class Title(NamedTuple):
    """An achievement and tier."""

    achievement: str
    tier: str | None

    @property
    def text(self) -> str:
        """`NAME` or `NAME.TIER`."""
        return full_name(self.achievement, self.tier)


class Folded(NamedTuple):
    """What a fold has come to: the state, the grants in question, and the first grant of everything it knows."""

    state: State
    grants: list[Grant]
    firsts: dict[Title, Grant]


def place(event: Event) -> Position:
    """Return the place of an event in canonical order."""
    return Position(event.at, event.id)


def _calendar(watch: Watch, last: dict[int, Event]) -> Look | None:
    """Return what notes the last event in each calendar unit, None where an achievement has none."""
    unit, clock = watch.judge.built.unit, watch.judge.built.clock
    if unit is None or clock is None:
        return None

    def look(state: State, event: Event, position: Position) -> None:
        del position
        if watch.judge.covers(event.at) and watch.probe.sees(event):
            last[unit_now(clock, state, Now(event.at, event), unit)] = event

    return look


class Story:
    """One achievement and tier of one subject, whose events are given in canonical order."""

    def __init__(self, rules: Rules, scope: str, title: Title, events: Sequence[Event]) -> None:
        self.rules = only(rules, title.achievement)
        self.scope = scope
        self.title = title
        self.events = events
        self._now = -(2**63)
        self.watched = watched(self.rules, scope)
        self.ruling: Ruling = next(
            ruling
            for ruling in self.watched.plan.rulings
            if (ruling.achievement, ruling.tier) == (title.achievement, title.tier)
        )
        self.watches: list[Watch] = [watch for watch in self.watched.watches if watch.judge.ruling is self.ruling]

    def known(self, now: int) -> Known:
        """Fold everything: the grants by `now`, and the last event in each unit of `repeat every`."""
        last: dict[int, Event] = {}
        self._now = now
        for watch in self.watches:
            watch.look = _calendar(watch, last)
        folded = self.fold(self.events)
        for watch in self.watches:
            watch.look = None
        return Known(folded.grants, folded.state, now, last)

    def fold(self, events: Iterable[Event], clock: int | None = None) -> Folded:
        """Fold some of the events, and moments up to a clock; without one, up to when all was known."""
        return self._fold(events, self._now if clock is None else clock, None)

    def look(self, recorder: Recorder) -> Folded:
        """Fold the events up to what a recorder aims at, and let it look."""
        aim = recorder.aim
        until = Position(aim.now, LAST if aim.event is None else aim.event)
        folded = self._fold((event for event in self.events if place(event) <= until), aim.now, recorder)
        recorder.watch.look = None
        return folded

    def watch_of(self, aim: Meant) -> Watch:
        """Return the watch of the version that granted it, or would."""
        if aim.grant is not None:
            return next(watch for watch in self.watches if watch.judge.version.version == aim.grant.version)
        in_effect = [watch for watch in self.watches if watch.judge.covers(aim.now)]
        coming = [watch for watch in self.watches if watch.judge.since is not None and watch.judge.since > aim.now]
        return [*in_effect, *coming, self.watches[-1]][0]

    def _fold(self, events: Iterable[Event], clock: int, recorder: Recorder | None) -> Folded:
        plan = self.watched.plan
        folded = Folded(start(plan), [], {})
        for event in events:
            self._take(folded, reach(plan, folded.state, event.at), "", recorder)
            copies = folded.state.suppressed
            self._take(folded, step(plan, folded.state, event), event.id, recorder)
            if recorder is not None and folded.state.suppressed > copies:
                recorder.suppressed(self.rules, event)
        self._take(folded, reach(plan, folded.state, clock), "", recorder)
        return folded

    def _take(self, folded: Folded, grants: Iterable[Grant], event_id: str, recorder: Recorder | None) -> None:
        """Note what an event has earned, or a moment before it."""
        mine: list[Grant] = []
        for grant in grants:
            title = Title(grant.achievement, grant.tier)
            folded.firsts.setdefault(title, grant)
            if title == self.title:
                mine.append(grant)
        folded.grants.extend(mine)
        if recorder is not None and mine and event_id != recorder.aim.event and self.repeats_each:
            recorder.reset()

    @property
    def repeats_each(self) -> bool:
        """Whether every unlock resets it."""
        return isinstance(self.ruling.judges[0].version.repeat, RepeatEach)

    def earns(self, events: Sequence[Event], grant: Grant) -> bool:
        """Return whether some events alone earn a grant, at the same event.

        For `repeat each`, its number differs, because earlier occurrences are not among them.
        """
        grants = self.fold(events, grant.earned_at).grants
        found = [each for each in grants if self.repeats_each or each.occurrence == grant.occurrence]
        return bool(found) and (grant in found or found[0]._replace(occurrence=grant.occurrence) == grant)

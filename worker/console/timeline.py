"""The picture of a subject's history: events, progress and unlocks on one axis of time. Pure.

It says where things stand in an SVG of WIDTH; the template draws them. Time runs evenly from the first thing to the
last, so bursts show as bursts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.fold import start, step
from dsl.outcome import full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dsl.compile import Plan
    from dsl.event import Event
    from worker.engine.reconcile import Stored

WIDTH: Final = 960
LEFT: Final = 12
RIGHT: Final = 948
LANE: Final = 34
"""Height of a lane of events or unlocks."""
TRACK: Final = 52
"""Height of a track of progress, with its label."""
RISE: Final = 26
"""Height of 100 % on a track."""
MOST_TYPES: Final = 6
MOST_TRACKS: Final = 8
MOST_POINTS: Final = 400
"""Moments at which progress is measured."""
SLOTS: Final = 240
"""Places on the axis: what falls into one is drawn as one mark."""
SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR

Series = tuple[str, list[tuple[int, int]]]
"""Progress of one achievement and tier: instants and percentages, where the percentage changes."""


class Mark(NamedTuple):
    """Something at a place of a lane; `size` is 1 to 4."""

    x: int
    size: int
    said: str
    kind: str = ""


class Lane(NamedTuple):
    """Marks in a row, with the number of things that they stand for."""

    label: str
    number: int
    y: int
    marks: list[Mark]


class Track(NamedTuple):
    """Progress over time: `line` and `area` are paths."""

    label: str
    percent: int
    y: int
    line: str
    area: str


class Tick(NamedTuple):
    """An instant on the axis."""

    x: int
    label: str
    anchor: str


class Picture(NamedTuple):
    """All that is drawn; `summary` says it in a sentence."""

    height: int
    unlocks: Lane | None
    events: list[Lane]
    tracks: list[Track]
    more_tracks: int
    ticks: list[Tick]
    axis: int
    summary: str


def progress_series(plan: Plan, events: Sequence[Event]) -> list[Series]:
    """Fold events one by one, and return how far each achievement was along the way; those that moved last come first.

    Of a long history, progress is measured at MOST_POINTS moments.
    """
    state, found = start(plan), defaultdict[str, list[tuple[int, int]]](list)
    every = max(1, -(-len(events) // MOST_POINTS))
    for number, event in enumerate(events, 1):
        step(plan, state, event)
        if number % every and number != len(events):
            continue
        for ruling in plan.rulings:
            judge = ruling.in_effect(event.at)
            if judge is None:
                continue
            percent = int(judge.measure(state, event.at).fraction * 100)
            points = found[full_name(ruling.achievement, ruling.tier)]
            if (points[-1][1] if points else 0) != percent:
                points.append((event.at, percent))
    return sorted(found.items(), key=lambda one: (-one[1][-1][0] if one[1] else 0, one[0]))


def picture(events: Sequence[Event], series: Sequence[Series], unlocks: Sequence[Stored], now: int) -> Picture | None:
    """Return the picture of a subject at `now` (microseconds); None where there is nothing to draw."""
    moved = [one for one in series if one[1]]
    instants = [event.at for event in events] + [row.earned_at for row in unlocks]
    if not instants:
        return None
    first, last = min(instants), max(instants)
    # Up to now, unless what lies behind the last thing would press all others together.
    axis = _Axis(first, max(last, min(now, last + max((last - first) // 4, HOUR))))
    y = 0
    lane = None
    if unlocks:
        lane = Lane("Unlocks", len(unlocks), y, axis.unlocks(unlocks))
        y += LANE
    lanes: list[Lane] = []
    for label, some in _by_type(events):
        lanes.append(Lane(label, len(some), y, axis.marks(some)))
        y += LANE
    tracks: list[Track] = []
    for label, points in moved[:MOST_TRACKS]:
        tracks.append(axis.track(label, points, y))
        y += TRACK
    return Picture(
        height=y + 24,
        unlocks=lane,
        events=lanes,
        tracks=tracks,
        more_tracks=len(moved) - len(tracks),
        ticks=axis.ticks(),
        axis=y,
        summary=(
            f"{_count(len(events), 'event')} and {_count(len(unlocks), 'unlock')}, "
            f"from {_instant(first)} to {_instant(last)} UTC"
        ),
    )


def _by_type(events: Sequence[Event]) -> list[tuple[str, list[Event]]]:
    """Return events by type, the most frequent first; the rare ones together."""
    counts = Counter(event.type for event in events)
    named = [name for name, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    apart = named if len(named) <= MOST_TYPES else named[: MOST_TYPES - 1]
    found: dict[str, list[Event]] = {name: [] for name in apart}
    rest = f"{len(named) - len(apart)} other types"
    for event in events:
        found.setdefault(event.type if event.type in apart else rest, []).append(event)
    return list(found.items())


class _Axis:
    def __init__(self, first: int, last: int) -> None:
        pad = max((last - first) // 50, 30 * SECOND)
        self.start = first - pad
        self.end = last + pad

    def x(self, at: int) -> int:
        return LEFT + (at - self.start) * (RIGHT - LEFT) // (self.end - self.start)

    def _slots(self, instants: Iterable[tuple[int, str]]) -> dict[int, list[str]]:
        slots = defaultdict[int, list[str]](list)
        for at, said in instants:
            slots[(at - self.start) * SLOTS // (self.end - self.start)].append(said)
        return slots

    def marks(self, events: Sequence[Event]) -> list[Mark]:
        slots = self._slots((event.at, _instant(event.at)) for event in events)
        return [
            Mark(
                LEFT + slot * (RIGHT - LEFT) // SLOTS,
                min(4, len(said).bit_length()),
                f"{said[0]} UTC" if len(said) == 1 else f"{len(said):,} events, {said[0]} to {said[-1]} UTC",
            )
            for slot, said in sorted(slots.items())
        ]

    def unlocks(self, rows: Sequence[Stored]) -> list[Mark]:
        return [
            Mark(self.x(row.earned_at), 1, f"{_full(row)}, {_instant(row.earned_at)} UTC", row.state.value)
            for row in sorted(rows, key=lambda row: row.earned_at)
        ]

    def track(self, label: str, points: list[tuple[int, int]], y: int) -> Track:
        floor = y + TRACK - 8
        path = [f"M{LEFT} {floor}"]
        for at, percent in points:
            path.append(f"H{self.x(at)}V{floor - percent * RISE // 100}")
        path.append(f"H{RIGHT}")
        line = "".join(path)
        return Track(label, points[-1][1], y, line, f"{line}V{floor}Z")

    def ticks(self) -> list[Tick]:
        span = self.end - self.start
        size = 10 if span > 3 * DAY else 16
        places = [(self.start, "start"), ((self.start + self.end) // 2, "middle"), (self.end, "end")]
        return [Tick(self.x(at), format_instant(at)[:size].replace("T", " "), anchor) for at, anchor in places]


def _full(row: Stored) -> str:
    name = full_name(row.achievement, row.tier)
    return f"{name} [{row.occurrence}]" if row.occurrence else name


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _instant(at: int) -> str:
    return format_instant(at)[:19].replace("T", " ")

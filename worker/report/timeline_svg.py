"""An explanation as a timeline: what counted when, how far that was from the bound, and when it was earned. Pure.

Places along the time are percentages, so the picture is as wide as its page, and its texts keep their size.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from dsl.values import canonical_number
from worker.report.cells import cut
from worker.report.svg import drawing, element

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from dsl.explain.shape import Did, Explanation, Happened, Part, Progress

MOST: Final = 500
"""Events of one picture and of its table: those at the beginning and at the end."""
MOST_LANES: Final = 40
"""Parts of a condition that have a lane."""
LANE: Final = 84
"""Pixels of a lane: its name, and the height of the bound."""
_LOW_LANE: Final = 48
"""Pixels of a lane without a bound."""
_BELOW: Final = 42
"""Pixels below the lanes, for the times."""
_NAME: Final = 18
_BOUND: Final = 46
"""Pixels from the foot of a lane to its bound."""
_EDGE: Final = 3
"""Per cent left free at both ends of the time."""
_LONGEST: Final = 36
"""Cells of a lane's name."""
_ROOM: Final = 60
"""Per cent from which on a text stands on the left of its place."""


class Lane(NamedTuple):
    """A part of the condition, or (path "") what else had to come."""

    path: str
    text: str
    part: Part | None

    @property
    def height(self) -> int:
        """Pixels."""
        return _LOW_LANE if self.part is None else LANE


class Span(NamedTuple):
    """The time of a picture: its first and last instant."""

    first: datetime
    last: datetime

    def at(self, instant: str) -> str:
        """Return the place of an instant."""
        whole = (self.last - self.first).total_seconds()
        share = (_moment(instant) - self.first).total_seconds() / whole if whole else 0.5
        return f"{_EDGE + min(max(share, 0), 1) * (100 - 2 * _EDGE):.2f}%"


def shown(story: Explanation) -> list[Happened]:
    """Return the events that a picture shows: all, or MOST of them."""
    half = MOST // 2
    return story.events if len(story.events) <= MOST else [*story.events[:half], *story.events[-half:]]


def timeline(story: Explanation, name: str, title: str) -> Element:
    """Return the timeline of an explanation as an `svg`; `name` is the beginning of its ids."""
    events = shown(story)
    lanes = list(_lanes(story, events))[:MOST_LANES]
    feet = list(accumulate(lane.height for lane in lanes))
    height = feet[-1] + (_BELOW if story.earned_at is not None else _BELOW // 2)
    root = drawing(name, title, _said(story, events), class_="timeline", width="100%", height=height)
    span = _span(story, events)
    _instants(root, story, span, feet[-1])
    for lane, foot in zip(lanes, feet, strict=True):
        _lane(root, lane, foot, span)
    footing = {lane.path: foot for lane, foot in zip(lanes, feet, strict=True)}
    for event in events:
        for did in event.did:
            if did.part in footing:
                _mark(root, event, did, span.at(event.occurred_at), footing[did.part])
    return root


def _lanes(story: Explanation, events: Sequence[Happened]) -> Iterator[Lane]:
    """Yield the parts that count by themselves, in their order, and last what has no part."""
    touched = {did.part for event in events for did in event.did}
    yield from _of(story.when, touched)
    if "" in touched:
        yield Lane("", "beside the condition", None)


def _of(part: Part, touched: set[str]) -> Iterator[Lane]:
    if part.path in touched or not part.parts:
        yield Lane(part.path, part.text, part)
    for below in part.parts:
        yield from _of(below, touched)


def _span(story: Explanation, events: Sequence[Happened]) -> Span:
    ends = [story.earned_at, story.settles_at, *(event.occurred_at for event in events)]
    found = [_moment(instant) for instant in ends if instant is not None] or [_moment(story.now)]
    return Span(min(found), max(found))


def _moment(instant: str) -> datetime:
    return datetime.fromisoformat(instant).astimezone(UTC)


# -- what is drawn ----------------------------------------------------------------------------------------------------


def _lane(root: Element, lane: Lane, foot: int, span: Span) -> None:
    name = lane.text if lane.path in {"", "when"} else f"{lane.path}: {lane.text}"
    group = element(root, "g")
    element(group, "title", name)
    part = lane.part
    if part is not None and part.since is not None and part.held_at is not None and part.since <= part.held_at:
        _band(group, span.at(part.since), span.at(part.held_at), foot)
    element(group, "text", cut(name, _LONGEST), class_="name", x=0, y=foot - lane.height + _NAME)
    element(group, "line", class_="foot", x1="0%", x2="100%", y1=foot, y2=foot)
    if part is not None and part.progress.target is not None:
        high = foot - _BOUND
        element(group, "line", class_="bound", x1="0%", x2="100%", y1=high, y2=high)
        element(group, "text", canonical_number(part.progress.target), class_="number", x="100%", y=high - 4)


def _band(parent: Element, begin: str, end: str, foot: int) -> None:
    width = float(end.rstrip("%")) - float(begin.rstrip("%"))
    band = element(parent, "rect", class_="held", x=begin, y=foot - _BOUND, width=f"{width:.2f}%", height=_BOUND)
    element(band, "title", "from the latest start to the moment when it first held")


def _mark(root: Element, event: Happened, did: Did, place: str, foot: int) -> None:
    """Draw what an event did, within an `svg` of its own whose origin is its place."""
    mark = element(root, "svg", x=place, y=foot, overflow="visible", class_=f"did {did.effect.replace(' ', '-')}")
    element(mark, "title", f"{_short(event.occurred_at)} {event.event_type} {event.event_id}: {did.text}")
    if did.effect == "counts":
        top = -_height(did.progress)
        element(mark, "line", x1=0, x2=0, y1=0, y2=top)
        element(mark, "circle", cx=0, cy=top, r=4)
    elif did.effect == "starts afresh":
        element(mark, "path", d="M-5 -5L5 5M-5 5L5 -5")
    elif did.effect == "other":
        element(mark, "path", d="M0 -6L5 0L0 6L-5 0z")
    else:
        element(mark, "circle", cx=0, cy=0, r=3)


def _height(progress: Progress | None) -> int:
    return 0 if progress is None else int(min(Fraction(progress.fraction), Fraction(1)) * _BOUND)


def _instants(root: Element, story: Explanation, span: Span, foot: int) -> None:
    element(root, "text", _short(span.first.isoformat()), class_="time first", x=0, y=foot + 18)
    if span.last > span.first:
        element(root, "text", _short(span.last.isoformat()), class_="time last", x="100%", y=foot + 18)
    for class_, at, said in (("earned", story.earned_at, "earned"), ("settles", story.settles_at, "announced")):
        if at is not None:
            place = span.at(at)
            element(root, "line", class_=class_, x1=place, x2=place, y1=4, y2=foot)
            side = "left" if float(place.rstrip("%")) > _ROOM else "right"
            element(root, "text", f"{said} {_short(at)}", class_=f"{class_} {side}", x=place, y=foot + 36)


def _short(instant: str) -> str:
    text = instant.replace("+00:00", "").removesuffix("Z").replace("T", " ")
    return text.removesuffix(".000000").removesuffix(":00")


def _said(story: Explanation, events: Sequence[Happened]) -> str:
    counted = sum(did.effect == "counts" for event in events for did in event.did)
    times = "1 event counts" if counted == 1 else f"{counted:,} events count"
    end = "it is not earned yet" if story.earned_at is None else f"it was earned at {_short(story.earned_at)} UTC"
    return f"{times}; {end}. The table below has each event."

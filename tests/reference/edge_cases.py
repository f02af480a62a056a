"""Rules and streams for the edge cases where earning, progress and explanations could disagree.

Travellers (`tz=user`, `tz=event`, in every scope), clocks that are set back, `unless` at the very start of a unit,
streaks with `min` and `grace`, signed sums with bounds near 0, and bounds that must be exceeded. There are few
events, many of them at the edges of others, so that many achievements are earned.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from hypothesis import strategies as st

from dsl.event import Event
from tests.reference.strategies import CONTRACT, DAY, HOUR, MINUTE, Scenario, written
from tests.reference.wall_clock import begin, instant, unit_at

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from dsl.types import Value

ANCHORS: Final = tuple(
    map(
        instant,
        (
            "2026-04-13T00:00:00Z",
            "2026-04-04T14:00:00Z",  # the Chatham Islands fall back, in the middle of an hour
            "2026-04-04T15:00:00Z",  # Lord Howe Island, by half an hour
            "2026-10-25T01:00:00Z",  # Berlin
            "2026-11-01T06:00:00Z",  # New York
            "2026-12-31T23:00:00Z",
        ),
    )
)
ZONES: Final = ('"UTC"', '"Pacific/Chatham"', '"America/New_York"', "user", "user", "event", "event")
TRIPS: Final = ("Asia/Tokyo", "America/New_York", "Pacific/Chatham", "Pacific/Kiritimati", "Mars/Olympus", "UTC")
UNITS: Final = ("day", "day", "hour", "hour", "week")
OFFSETS: Final = (0, 0, 9 * 3600, -5 * 3600, 14 * 3600, -12 * 3600)
NAMES: Final = ("x", "y", "z")


class Place(NamedTuple):
    """Where a condition stands: under which spans, and what it may name."""

    spanned: bool
    targets: tuple[str, ...]


def _one(draw: DrawFn, choices: tuple[str, ...]) -> str:
    return draw(st.sampled_from(choices))


def _mods(draw: DrawFn, zoned: bool, unless: bool = True) -> tuple[str, bool]:
    """Draw modifiers; return whether one of them is a span that a signed sum may not stand under."""
    mods: list[str] = []
    span = _one(draw, ("", "", "within", "per", "per") if zoned else ("", "", "within"))
    if span == "within":
        mods.append(f"within={_one(draw, ('10m', '1h', '1d', '2d', '25h'))}")
    if span == "per":
        mods.append(f"per={_one(draw, UNITS)}, tz={_one(draw, ZONES)}")
    if unless and draw(st.integers(0, 3)) == 3:
        mods.append(f"unless={_one(draw, ('e', 'e', 'c.d', 'a where n = 0'))}")
    return "".join(f", {mod}" for mod in mods), bool(mods)


def _bound(draw: DrawFn, low: int, high: int) -> str:
    return f"{_one(draw, ('>=', '>=', '>'))} {draw(st.integers(low, high))}"


@st.composite
def _conditions(draw: DrawFn, place: Place, depth: int = 2) -> str:
    kinds = ["count", "count", "streak", "streak", "streak", "sum", "signed", "max", "sequence", "distinct"]
    kinds += ["combine"] * 3 if depth else []
    kinds += ["unlocked"] * 2 if place.targets else []
    kind = draw(st.sampled_from(kinds))
    if kind == "signed" and place.spanned:
        kind = "sum"
    if kind == "combine":
        mods, spans = _mods(draw, zoned=True)
        inner = _conditions(Place(place.spanned or spans, place.targets), depth - 1)
        parts = draw(st.lists(inner, min_size=2, max_size=3, unique=True))
        return f"{_one(draw, ('all(', 'any(', 'at_least(2, '))}{', '.join(parts)}{mods})"
    if kind == "signed":
        unless = _one(draw, ("", ", unless=e", ", unless=e", ", unless=c.d where m = 2"))
        return f"sum(event=c.d, of={_one(draw, ('m', 'm', 'x'))}, {_bound(draw, -3, 3)}{unless})"
    if kind == "streak":
        mods, _ = _mods(draw, zoned=False)
        least = f", grace={draw(st.integers(0, 2))}, min={draw(st.sampled_from((1, 1, 1, 2)))}"
        event = _one(draw, ("a", "a", "[a, c.d]", "a where n > 0"))
        unit = _one(draw, UNITS)
        return f"streak(event={event}, per={unit}, >= {draw(st.integers(1, 3))}{least}{mods}, tz={_one(draw, ZONES)})"
    mods, _ = _mods(draw, zoned=True)
    return _plain(draw, kind, place) + mods + ")"


def _plain(draw: DrawFn, kind: str, place: Place) -> str:
    match kind:
        case "sum":
            return f"sum(event=a, of={_one(draw, ('n', 'x'))}, {_bound(draw, 1, 4)}"
        case "max":
            return f"max(event=a, of={_one(draw, ('n', 'x'))}, {_bound(draw, 1, 3)}"
        case "sequence":
            return f"sequence([{_one(draw, ('a, c.d', 'c.d, a', 'a, a', 'a, c.d, a'))}]{_one(draw, ('', ', by=s'))}"
        case "distinct":
            return f"count(event={_one(draw, ('a', '[a, c.d]'))}, distinct=s, >= 2"
        case "unlocked":
            return f"unlocked({_one(draw, place.targets)}"
        case _:
            return f"count(event={_one(draw, ('a', 'a', '[a, c.d]', 'c.d', 'b'))}, >= {draw(st.integers(1, 3))}"


@st.composite
def rule_files(draw: DrawFn, anchor: int) -> str:
    """Draw up to three achievements of one scope."""
    scope = _one(draw, ("user", "user", "user", "tenant", "team"))
    texts, targets = list[str](), list[str]()
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        repeat = _one(draw, ("", "", "repeat each", "every", "every"))
        if repeat == "every":
            repeat = f"repeat every {_one(draw, UNITS)} tz={_one(draw, ZONES)}"
        place = Place(repeat.startswith("repeat every"), tuple(targets))
        clauses = [f'title "T" scope {scope}', repeat]
        if scope == "user" and draw(st.integers(0, 4)) == 0:
            clauses.append(_one(draw, ('for plan = "pro"', 'for plan != "free"', "for level is not present")))
        if targets and draw(st.integers(0, 2)) == 0:
            clauses.append(f"after {_one(draw, tuple(targets))}")
        if draw(st.integers(0, 9)) == 0:
            clauses.append(f"active {written(anchor - HOUR)} .. {written(anchor + 2 * DAY)}")
        head, body = f"achievement {name}", " ".join(clauses)
        tiered, versions = draw(st.integers(0, 5)) == 0, draw(st.integers(0, 5)) == 0
        whens = [draw(_conditions(place)) for _ in range(2)]
        if tiered:
            texts.append(f"{head} {{ {body} tier low {{ when {whens[0]} }} tier high {{ when {whens[1]} }} }}")
        else:
            texts.append(f"{head} {{ {body} when {whens[0]} }}")
        if versions and not tiered:
            fresh = _one(draw, ("", " fresh"))
            texts.append(f"{head} version 2 from {written(anchor + HOUR)}{fresh} {{ {body} when {whens[1]} }}")
        targets.append(name)
    return CONTRACT + "\n".join(texts) + "\n"


STEPS: Final = (HOUR, HOUR, DAY, DAY, 12 * HOUR, 30 * MINUTE, 10 * MINUTE, 0, 2 * DAY, 7 * HOUR)
PAYLOADS: Final[dict[str, dict[str, tuple[Value, ...]]]] = {
    "a": {"n": (1, 2, 0), "x": (Decimal("0.5"), Decimal(1), Decimal(2)), "s": ("p", "q"), "team": ("red",)},
    "b": {"n": (1,), "s": ("p", "q"), "f": (True,), "team": ("red",)},
    "c.d": {"m": (2, -1, -4, 1), "x": (Decimal("-0.5"), Decimal(1)), "s": ("p", "q"), "team": ("red",)},
    "e": {"n": (1, 2), "s": ("p", "q")},
    "user.updated": {"timezone": TRIPS, "plan": ("pro", "free"), "level": (1,)},
}
KINDS: Final = ("a", "a", "a", "a", "c.d", "c.d", "b", "e", "user.updated", "user.updated")


@st.composite
def streams(draw: DrawFn, anchor: int) -> list[Event]:
    """Draw up to fourteen events of one or two users, many of them where a day or an hour begins in some zone."""
    at, events = anchor - draw(st.sampled_from((0, DAY, 2 * DAY, 3 * HOUR))), list[Event]()
    for number in range(draw(st.integers(3, 14))):
        kind = draw(st.sampled_from(KINDS))
        at += draw(st.sampled_from(STEPS)) + draw(st.sampled_from((0, 0, 0, 1, -1)))
        if draw(st.integers(0, 3)) == 0:
            unit, zone = _one(draw, UNITS), draw(st.sampled_from(("UTC", "UTC", *TRIPS)))
            at = begin(unit, unit_at(unit, at, zone) + draw(st.sampled_from((0, 1))), zone)
        values = PAYLOADS[kind]
        carried = [name for name in values if kind != "user.updated" or draw(st.booleans())]
        fields = {name: draw(st.sampled_from(values[name])) for name in carried}
        user, offset = draw(st.sampled_from(("u", "u", "u", "v"))), draw(st.sampled_from(OFFSETS))
        initial = draw(st.sampled_from("mzA"))
        events.append(Event("t", f"{initial}{number}", kind, user, at, offset, fields))
    return events


@st.composite
def scenarios(draw: DrawFn) -> Scenario:
    """Draw rules and a stream."""
    anchor = draw(st.sampled_from(ANCHORS))
    return Scenario(draw(rule_files(anchor)), draw(streams(anchor)))

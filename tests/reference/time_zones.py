"""Calendar rules, and events with clocks that bring labels back: offsets as far apart as the contract allows.

A producer may write any offset short of a day, so that the label of one event may lie almost two days before that of
an earlier one. The zones of users move labels too: by up to 26 hours at one instant, and by a day where a country has
moved over the date line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.event import Event
from tests.reference.strategies import ANCHORS, DAY, HOUR, MINUTE, UNITS
from tests.reference.wall_clock import instant

if TYPE_CHECKING:
    from random import Random

    from dsl.types import Value

CONTRACT: Final = """
event a { n: int >= 0, s: string? }
event b {}
traits from user.updated { timezone: string }
"""
FARTHEST: Final = DAY // 1_000_000 - 60
"""Seconds of the largest offset that RFC 3339 has: 23:59."""
DATE_LINES: Final = {
    '"America/Juneau"': instant("1867-10-19T00:31:13Z"),  # a day comes twice
    '"Pacific/Apia"': instant("1892-07-04T11:26:56Z"),
    '"Pacific/Kwajalein"': instant("1969-09-30T13:00:00Z"),
    '"Asia/Manila"': instant("1844-12-31T15:56:00Z"),  # a day is left out
}
USER_ZONES: Final = (
    "Pacific/Kiritimati",  # +14:00
    "Etc/GMT+12",  # -12:00
    "Pacific/Apia",
    "Pacific/Chatham",
    "America/Juneau",
    "Asia/Manila",
    "Europe/Berlin",
    "UTC",
)
CONDITIONS: Final = (
    "count(event=a, >= 1)",
    "count(event=a, >= 1)",
    "count(event=[a, b], >= 1)",
    "count(event=[a, b], >= 2)",
    "count(event=a, distinct=s, >= 2)",
    "sum(event=a, of=n, >= 3)",
    "max(event=a, of=n, >= 2)",
    "sequence([a, b])",
    "sequence([a, a], by=s)",
    "any(count(event=b, >= 2), max(event=a, of=n, >= 3))",
    "streak(event=a, per=hour, >= 2, tz=event)",
)
"""What is asked for within a calendar unit."""
STREAKS: Final = (
    "streak(event=a, per={unit}, >= 2, tz={zone})",
    "streak(event=a, per={unit}, >= 3, grace=1, tz={zone})",
    "streak(event=[a, b], per={unit}, >= 2, min=2, tz={zone})",
    "streak(event=a, per={unit}, >= 4, grace=2, min=2, tz={zone})",
    "streak(event=a, per={unit}, >= 2, unless=b, tz={zone})",
    "streak(event=a, per={unit}, >= 3, within=3d, tz={zone})",
)


def rules(dice: Random) -> str:
    """Draw a few achievements by a clock, most of them by the same unit."""
    mostly, zones = dice.choice(UNITS), ("event", "event", "event", "user", dice.choice(tuple(DATE_LINES)))
    texts: list[str] = []
    for name in "xyz":
        unit, zone = dice.choice((mostly, mostly, *UNITS)), dice.choice(zones)
        condition, streak = dice.choice(CONDITIONS), dice.choice(STREAKS).format(unit=unit, zone=zone)
        spanned = f"{condition[:-1]}, per={unit}, tz={zone}"
        whens = [f"when {condition} repeat every {unit} tz={zone}"] * 4 + [f"when {streak}"] * 3
        whens += [f"when {streak} repeat each", f"when {streak} repeat every {unit} tz={zone}"]
        if not condition.startswith("streak"):  # a streak has a unit of its own
            whens += [
                f"when {spanned}) repeat each",
                f"when {spanned}, unless=b)",
                f"when {spanned}, within=2d)",
                f"when {spanned}) repeat every {unit} tz={zone}",
            ]
        texts.append(f'achievement {name} {{ title "T" {dice.choice(whens)} }}')
    return CONTRACT + "\n".join(texts)


def journey(dice: Random) -> list[Event]:
    """Draw events of one user within about two days of an edge; many show about the same on their clocks."""
    anchor = dice.choice((*ANCHORS, *DATE_LINES.values()))
    together, scale = dice.choice((0, 30, 90)), dice.choice((HOUR, HOUR, HOUR, DAY, 7 * DAY))
    events: list[Event] = []
    for number in range(dice.randint(5, 25)):
        kind = dice.choices(("a", "b", "user.updated"), (70, 20, 10))[0]
        at = anchor + dice.randint(-24, 24) * scale + dice.choice((0, 0, -1, 1))
        offset = (anchor + dice.choice((0, 0, 1, 2)) * HOUR - at) // MINUTE * 60
        if abs(offset) > FARTHEST or dice.randint(0, 99) >= together:
            offset = dice.choice((FARTHEST, -FARTHEST, 0, 50_400, -43_200, dice.randint(-1439, 1439) * 60))
        fields: dict[str, Value] = {}
        if kind == "a":
            fields = {"n": dice.randint(0, 3), "s": dice.choice("xy")}
        elif kind == "user.updated":
            fields = {"timezone": dice.choice(USER_ZONES)}
        events.append(Event("t", f"{dice.choice('mzA')}{number}", kind, "u", at, offset, fields))
    return events


def crowd(dice: Random, *, number: int = 130) -> list[Event]:
    """Draw events of one user in two days; between the first and the last, of one label, lie most others that can.

    Those are the labels of four days, cut by an hour at both ends: each event takes a new one, where there is one left.
    """
    anchor, span = dice.choice(ANCHORS), 2 * FARTHEST * 1_000_000
    instants = sorted(dice.randint(MINUTE, span - MINUTE) for _ in range(number))
    offsets, used = [FARTHEST], {(anchor + FARTHEST * 1_000_000) // HOUR}
    for at in instants:
        drawn = [dice.choice((dice.randint(-23, 23) * 3600, FARTHEST, -FARTHEST)) for _ in range(20)]
        labels = {(anchor + at + offset * 1_000_000) // HOUR: offset for offset in drawn}
        label = dice.choice(sorted(labels.keys() - used) or sorted(labels))
        used.add(label)
        offsets.append(labels[label])
    return [
        Event("t", f"{dice.choice('mzA')}{each}", "a", "u", anchor + at, offset, {"n": 1, "s": dice.choice("xy")})
        for each, (at, offset) in enumerate(zip((0, *instants, span), (*offsets, -FARTHEST), strict=True))
    ]

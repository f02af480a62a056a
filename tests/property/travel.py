"""Rules by the calendar, and events by whose clocks labels come back: offsets as far apart as the contract allows.

A producer may write any offset short of a day, so that the label of one event may lie almost two days before that of
an earlier one. The zones of users move labels too: by up to 26 hours at one instant, and by a day where a country has
moved over the date line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from dsl.event import Event
from tests.property.strategies import ANCHORS, DAY, HOUR, MINUTE, UNITS
from tests.property.wall import instant

if TYPE_CHECKING:
    from random import Random

    from hypothesis.strategies import DrawFn

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


@st.composite
def rules(draw: DrawFn, zones: tuple[str, ...] = ("event", "event", "user", *DATE_LINES)) -> str:
    """Draw a few achievements, each by a unit and a clock."""
    texts: list[str] = []
    for name in "xyz"[: draw(st.integers(1, 3))]:
        unit, zone = draw(st.sampled_from(UNITS)), draw(st.sampled_from(zones))
        condition = draw(st.sampled_from(CONDITIONS))
        when = draw(
            st.sampled_from(
                (
                    f"when {condition} repeat every {unit} tz={zone}",
                    f"when {condition} repeat every {unit} tz={zone}",
                    f"when {condition[:-1]}, per={unit}, tz={zone}) repeat each",
                    f"when {condition[:-1]}, per={unit}, unless=b, tz={zone})",
                    f"when {condition[:-1]}, within=2d, per={unit}, tz={zone})",
                    *(f"when {streak.format(unit=unit, zone=zone)}" for streak in STREAKS),
                    f"when {STREAKS[0].format(unit=unit, zone=zone)} repeat each",
                )
            )
        )
        if condition.startswith("streak") and ", per=" in when.replace(condition[:-1], "", 1):
            when = f"when {condition} repeat every {unit} tz={zone}"  # a streak has a unit of its own
        texts.append(f'achievement {name} {{ title "T" {when} }}')
    return CONTRACT + "\n".join(texts)


OFFSETS: Final = st.one_of(
    st.sampled_from((FARTHEST, -FARTHEST, 0, 50_400, -43_200)),
    st.integers(-FARTHEST // 60, FARTHEST // 60).map(lambda minutes: minutes * 60),
)


@st.composite
def streams(draw: DrawFn) -> list[Event]:
    """Draw a few events of one user around an edge, some of them up to two days apart."""
    anchor = draw(st.sampled_from((*ANCHORS, *DATE_LINES.values())))
    step = draw(st.sampled_from((HOUR, HOUR, 12 * HOUR, 30 * MINUTE, 23 * HOUR, 7 * DAY)))
    events: list[Event] = []
    for number in range(draw(st.integers(3, 16))):
        kind = draw(st.sampled_from(("a", "a", "a", "b", "user.updated")))
        at = anchor + draw(st.integers(-4, 49)) * step + draw(st.sampled_from((0, 0, -1, 1)))
        fields: dict[str, Value] = {}
        if kind == "a":
            fields = {"n": draw(st.integers(0, 3)), "s": draw(st.sampled_from("xy"))}
        elif kind == "user.updated":
            fields = {"timezone": draw(st.sampled_from(USER_ZONES))}
        events.append(Event("t", f"{draw(st.sampled_from('mzA'))}{number}", kind, "u", at, draw(OFFSETS), fields))
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

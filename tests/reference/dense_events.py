"""Rules that share their counters, and events that lie close together: random, thousands per minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dsl.event import Event
from tests.reference import strategies

if TYPE_CHECKING:
    from random import Random

    from dsl.types import Value

HOUR: Final = 3_600_000_000
DAY: Final = 24 * HOUR
OFFSETS: Final = (0, 7200, -18000, 86340, -86340)
RULES: Final = (
    "count(event=a, >= 4)",
    "count(event=a, >= 9)",
    "count(event=[a, c.d], distinct=s, >= 2)",
    "count(event=[a, c.d], distinct=s, >= 3)",
    "sum(event=a, of=n, >= 9)",
    "sum(event=a, of=n, > 20)",
    "sum(event=a, of=n, >= 20)",
    "sum(event=c.d, of=m, >= 2)",
    "sum(event=c.d, of=m, >= 5)",
    "max(event=a, of=n, >= 5)",
    "min(event=c.d, of=m, <= -3)",
    "streak(event=a, per=day, >= 3)",
    "streak(event=a, per=day, >= 2)",
    "streak(event=a, per=hour, >= 3, min=2, grace=1)",
    'streak(event=[a, c.d], per=day, >= 3, tz="Pacific/Chatham")',
    "streak(event=a, per=hour, >= 4, tz=event)",
    "streak(event=a, per=day, >= 4, tz=user)",
    "streak(event=a, per=day, >= 2, within=3d)",
    "sequence([a, c.d])",
    "sequence([a, a], within=1h)",
    "sequence([a, a where n > 3], within=2h)",
    "sequence([a, c.d, a], within=2d)",
    "sequence([c.d, a], by=s)",
    "sequence([c.d, a, a], by=s, within=1d)",
    "sequence([a where n > 1, c.d, [a, c.d]], within=1h)",
    "all(sequence([a, c.d], within=1d), count(event=a, >= 3), sequence([c.d, a]), within=7d)",
    "any(sequence([a, a, c.d], within=1h), all(sequence([a, c.d]), sequence([c.d, a]), within=12h))",
    "count(event=a where at.hour >= 12, >= 3, tz=user)",
    "count(event=a, >= 3, within=1h)",
)
"""Of what is remembered without positions, and what is not; several bounds on one and the same."""

CLAUSES: Final = ("", "", "", "active 2026-04-13T00:00:00Z ..", 'for plan = "pro"')


def plain_rules(dice: Random) -> str:
    """Draw achievements of users that are earned once; a few conditions, each in several of them."""
    whens = dice.sample(RULES, dice.randint(1, 3))
    texts: list[str] = []
    for number, name in enumerate(strategies.NAMES[: dice.randint(1, len(strategies.NAMES))]):
        after = f"after {strategies.NAMES[number - 1]}" if number and dice.random() < 0.3 else ""
        head, clauses = f"achievement {name}", f'title "T" {after} {dice.choice(CLAUSES)}'
        low, high = (f"when {dice.choice(whens)}" for _ in range(2))
        way = dice.choice(("once", "once", "tiers", "versions"))
        if way == "tiers":
            texts.append(f"{head} {{ {clauses} tier low {{ {low} }} tier high {{ {high} }} }}")
        else:
            texts.append(f"{head} {{ {clauses} {low} }}")
        if way == "versions":
            texts.append(f"{head} version 2 from 2026-04-13T05:00:00Z {{ {clauses} {high} }}")
    return strategies.CONTRACT + "\n".join(texts)


def close_events(dice: Random) -> list[Event]:
    """Draw events that lie close together, many of them on one another's edges."""
    anchor, scale = dice.choice(strategies.ANCHORS), dice.choice((HOUR // 4, HOUR, 6 * HOUR, DAY))
    events: list[Event] = []
    for number in range(dice.randint(10, 50)):
        kind = dice.choices(("a", "c.d", "user.updated"), (60, 30, 3))[0]
        at = anchor + dice.randint(-10, 20) * scale // dice.choice((1, 1, 3)) + dice.choice((0, 0, 0, 1, -1))
        drawn: dict[str, Value] = {
            "n": dice.randint(0, 5),
            "m": dice.randint(-4, 4),
            "s": dice.choice("xyz"),
            "plan": dice.choice(("pro", "free")),
            "timezone": dice.choice(("Europe/Berlin", "UTC", "Pacific/Kiritimati", "Etc/GMT+12")),
        }
        fields = {name: value for name, value in drawn.items() if name in strategies.FIELDS[kind]}
        user = dice.choices("uv", (9, 1))[0]
        events.append(Event("t", f"{dice.choice('mzAa')}{number}", kind, user, at, dice.choice(OFFSETS), fields))
    return events

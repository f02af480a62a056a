"""A load for tests of faults: rules of every kind, and a seeded stream of events for them with all that goes wrong.

Events are made with their meaning beside their bytes, so that the judge of the engine does not read them with its own
decoder.
"""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dsl.calendar import format_instant
from dsl.event import Event
from worker.contract.partition import event_subject

if TYPE_CHECKING:
    from dsl.types import Value

RULES: Final = """
event a.done { key: string?, team: string?, n: int? >= 0 }
event b.done { team: string? }
event c.done { x: decimal?, team: string? }
event d.done { key: string once per key within 1d }
event liked { author: user }

achievement popular { title "Popular" when count(event=liked as author, distinct=actor, >= 2) }
achievement fans { title "Fans" when count(event=liked as author, >= 3, within=2d, unless=b.done) }
achievement mutual { title "Mutual" when sequence([liked as author, liked]) repeat each }
achievement three { title "Three" when count(event=a.done, >= 3) reward { xp: 10 } }
achievement ladder {
  title "Ladder"
  tier bronze { when count(event=a.done, >= 2) reward { xp: 1 } }
  tier silver { when count(event=a.done, >= 6) reward { xp: 2 } }
  tier gold { when count(event=a.done, >= 20) reward { xp: 3 } }
}
achievement kinds { title "Kinds" when count(event=a.done, distinct=key, >= 3) }
achievement spender { title "Spender" when sum(event=c.done, of=x, >= 2.5) }
achievement busy { title "Busy" when count(event=a.done, >= 4, within=6h) }
achievement spotless { title "Spotless" when count(event=a.done, >= 3, unless=b.done) }
achievement row { title "Row" when streak(event=[a.done, c.done], per=day, >= 2) }
achievement path { title "Path" when sequence([a.done, c.done], within=1d) }
achievement calm { title "Calm" when count(event=c.done, >= 2, unless=b.done) settle 1h }
achievement pairs { title "Pairs" when count(event=c.done, >= 2) repeat each }
achievement clean_days {
  title "Clean days"
  scope tenant
  when count(event=b.done, >= 2, unless=d.done)
  repeat every day tz="UTC"
}
achievement quick { title "Quick" when count(event=a.done, >= 3, within=4h, unless=b.done) }
achievement daily { title "Daily" when count(event=a.done, >= 2) repeat every day tz="Europe/Berlin" }
achievement singles { title "Singles" when count(event=d.done, >= 2) }
achievement after_three { title "After" when all(unlocked(three), count(event=d.done, >= 1)) }
achievement team { title "Team" scope team when count(event=[a.done, b.done], >= 5) }
achievement quiet_team { title "Quiet team" scope team when count(event=a.done, >= 4, unless=b.done) }
achievement whole { title "Whole" scope tenant when count(event=[b.done, d.done], >= 5) }
"""
"""Final and contestable, all scopes, settle, repeat, tiers, copies by fingerprint."""

MORE: Final = (
    RULES
    + """
event liked_back { fan: user }
achievement liked_by_fans { title "Liked by fans" when count(event=liked_back as fan, >= 2) }
achievement eight { title "Eight" when count(event=[a.done, d.done], >= 8) }
achievement unbroken { title "Unbroken" when count(event=[a.done, c.done], >= 4, unless=b.done) }
achievement team_sum { title "Team sum" scope team when sum(event=a.done, of=n, >= 20) }
achievement team_news { title "Team news" scope team when count(event=c.done, >= 2) }
"""
)
"""RULES after a change that concerns all users, and in which one more field names users."""


def without_roles(rules: str) -> str:
    """Return rules without those in which events name other users: a build finds its subjects in another way then."""
    return "\n".join(line for line in rules.splitlines() if "liked" not in line)


PREFIX: Final = "events"
BEGINNING: Final = 1_776_000_000_000_000
"""April 2026, microseconds since the epoch."""
MINUTE: Final = 60_000_000
LONGEST: Final = 150 * 86_400_000_000
"""Microseconds that a load spans at the most: a long one must not reach into the future, which is refused."""
SOON: Final = 40
"""Places by which late and repeated messages are put off at the most."""

_TYPES: Final = ("a.done", "a.done", "a.done", "b.done", "c.done", "c.done", "d.done")


class Sent(NamedTuple):
    """A message to publish; `event` is what it means, None for poison."""

    subject: str
    body: bytes
    event: Event | None


class Shape(NamedTuple):
    """How a load is made up: so many events, and shares of them that are put off, sent twice, or spoilt."""

    events: int
    users: int = 12
    tenants: int = 2
    late: float = 0.2
    duplicates: float = 0.3
    poison: float = 0.01
    step: int = 20 * MINUTE
    """Microseconds between two events, fewer where LONGEST asks for it."""
    roles: float = 0.08
    """Share of events that name a further user: a batch with one is not divided among writers."""
    skew: int = 0
    """Microseconds by which producers' clocks are wrong at the most, each user's in its own way."""

    def at(self, number: int) -> int:
        """Return when an event occurs by a right clock, in microseconds since the epoch."""
        return BEGINNING + number * min(self.step, LONGEST // self.events)


def load(seed: int, shape: Shape, prefix: str = PREFIX) -> list[Sent]:
    """Return a stream in the order of publishing; the same seed, the same stream."""
    dice = Random(seed)  # noqa: S311 - reproducible on purpose
    skews = [dice.randint(-shape.skew, shape.skew) for _ in range(shape.users)]
    placed: list[tuple[int, int, Sent]] = []

    def place(at: int, one: Sent) -> None:
        placed.append((at, len(placed), one))

    for number in range(shape.events):
        one = _good(dice, number, shape, skews, prefix)
        place(number + (dice.randint(1, SOON) if dice.random() < shape.late else 0), one)
        if dice.random() < shape.duplicates:
            place(number + dice.randint(0, SOON), one)
        if dice.random() < shape.poison:
            place(number, _poison(dice, number, one, prefix))
    return [one for _, _, one in sorted(placed, key=lambda each: each[:2])]


def _good(dice: Random, number: int, shape: Shape, skews: list[int], prefix: str) -> Sent:
    user = dice.randrange(shape.users)
    kind = "liked" if dice.random() < shape.roles else dice.choice(_TYPES)
    fields: dict[str, Value] = _fields(dice, kind)
    if kind == "liked":
        fields = {"author": f"u{dice.choice(range(user % shape.tenants, shape.users, shape.tenants))}"}
    event = Event(
        tenant=f"t{user % shape.tenants}",
        id=f"e{number:06d}",
        type=kind,
        user=f"u{user}",
        at=shape.at(number) + skews[user],
        offset=0,
        fields=fields,
    )
    return message_of(event, prefix)


def message_of(event: Event, prefix: str = PREFIX) -> Sent:
    """Return an event as the message that a producer sends."""
    return Sent(event_subject(prefix, event.tenant, event.user, event.type), _body(event), event)


class Twist(NamedTuple):
    """What becomes of grants that are contested, withdrawn, and granted once they have settled."""

    before: list[Sent]
    after: list[Sent]
    """To be worked on behind all of `before`, and SETTLES later."""


SETTLES: Final = MINUTE
"""How long `soon` of SETTLING takes."""
SETTLING: Final = """
event a.done { team: string? }
event b.done {}
event c.done {}
event d.done {}

achievement triple { title "Triple" when count(event=a.done, >= 3) }
achievement flawless { title "Flawless" when count(event=a.done, >= 3, unless=b.done) }
achievement soon { title "Soon" when count(event=c.done, >= 1, unless=b.done) settle 1m }
achievement later { title "Later" when count(event=d.done, >= 2, unless=b.done) settle 1h }
achievement squad { title "Squad" scope team when count(event=a.done, >= 2) }
"""


def twist(now: int, prefix: str = PREFIX) -> Twist:
    """Return events around an instant, in microseconds: SETTLING grants on the first part what the second questions."""

    def made(number: int, user: str, kind: str, at: int, **fields: Value) -> Sent:
        event = Event(tenant="t", id=f"e{number:03d}", type=kind, user=user, at=at, offset=0, fields=fields)
        return message_of(event, prefix)

    granted = [made(number, "u", "a.done", BEGINNING + number * MINUTE) for number in range(1, 4)]
    settling = [made(20, "v", "c.done", now), made(21, "w", "d.done", now - MINUTE), made(22, "w", "d.done", now)]
    # The evidence of `w` goes before it has settled, that of `u` after all is granted.
    doubts = [made(40, "u", "b.done", BEGINNING + 2 * MINUTE + 1), made(41, "w", "b.done", now - 1)]
    # A team's second event comes sooner than it seemed, by the long way.
    squad = [made(70 + minute, "y", "a.done", BEGINNING + minute * MINUTE, team="red") for minute in (3, 4, 1)]
    busy = [made(50 + number, "x", "a.done", BEGINNING + (number * 5 % 12) * MINUTE) for number in range(12)]
    return Twist([*granted, *settling, *squad[:2]], [*busy[::2], *doubts, *squad[2:], *busy[1::2]])


def _fields(dice: Random, kind: str) -> dict[str, Value]:
    match kind:
        case "a.done":
            own: dict[str, Value] = {"key": f"k{dice.randrange(5)}", "n": dice.randrange(9)}
            # Half of them concern only their user: those can take the fast path.
            return own if dice.random() < 0.5 else {**own, "team": f"m{dice.randrange(3)}"}
        case "b.done":
            return {"team": f"m{dice.randrange(3)}"}
        case "c.done":
            tenths = dice.randint(1, 15)
            return {"x": Decimal(tenths) / 10, "team": f"m{tenths % 3}"}
        case _:
            return {"key": f"k{dice.randrange(4)}"}


def _body(event: Event, **changes: object) -> bytes:
    # Decimals of one place are exact as shortest floats; JSON has but one kind of number.
    payload = {name: float(value) if isinstance(value, Decimal) else value for name, value in event.fields.items()}
    body: dict[str, Any] = {
        "event_id": event.id,
        "event_type": event.type,
        "user_id": event.user,
        "tenant_id": event.tenant,
        "occurred_at": format_instant(event.at),
        "payload": payload,
    }
    return json.dumps(body | changes).encode()


def _poison(dice: Random, number: int, like: Sent, prefix: str) -> Sent:
    if like.event is None:
        raise AssertionError("poison is made of a good event")
    spoilt: dict[str, object] = {"event_id": f"p{number}"}
    match dice.randrange(5):
        case 0:
            return Sent(f"{prefix}.raw", f"{{ no JSON {number}".encode(), None)
        case 1:
            spoilt |= {"event_type": "d.done", "payload": {"key": number}}
        case 2:
            spoilt |= {"tenant_id": "elsewhere"}
        case 3:
            spoilt |= {"occurred_at": "2999-01-01T00:00:00Z"}
        case _:
            spoilt |= {"user_id": ""}
    return Sent(like.subject, _body(like.event, **spoilt), None)

"""The state that rules keep for one subject: each aggregate with its users, its size and its limit.

This module builds conditions as `compile` does, with a memory that records which condition asks for which aggregate.
Sizes are estimates of the stored text, at the maximum that the bounds allow and with identifiers of common length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

from dsl.built_ins import UNLOCKS
from dsl.compile import USER, contracts_of, every_type, is_whole, scope_of, zone_types_of
from dsl.conditions import build, named_types
from dsl.memory import Memory
from dsl.nodes.compose import Per, Unless, Within
from dsl.nodes.groups import Groups
from dsl.nodes.keys import FieldKeys
from dsl.nodes.recent import RecentDistinct, RecentEvents, RecentExtreme, RecentSum
from dsl.nodes.sequence import Sequences
from dsl.nodes.streak import Streaks
from dsl.nodes.totals import Distinct
from dsl.references import tier_conditions
from dsl.roles import bases
from dsl.types import length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsl.memory import Context, Fields
    from dsl.nodes.node import Aggregate
    from dsl.schema import Rules
    from dsl.syntax import Achievement, Condition

A = TypeVar("A", bound="Aggregate")

NUMBER_BYTES: Final = 24
"""A number with its place in the state."""
POSITION_BYTES: Final = 56
"""An instant and an event's id."""
VALUE_BYTES: Final = 24
"""A remembered value of a field, or a fingerprint."""
MEBIBYTE: Final = 1024 * 1024
UNIT_BYTES: Final = 14
"""A calendar unit of a streak."""
OPEN_UNITS: Final = 28
"""Calendar units of a streak that may still change, at most."""

_BOUND: Final = re.compile(r"(?:#[\d.]+)?(?:/\d+|/None)?$")
_COUNTED: Final = re.compile(rf"\b{UNLOCKS}:\d+\.[0-9a-f]+")
"""A pattern over `unlocks` with the digest of what it counts."""
_WITHIN: Final = re.compile(r"within (\d+)")


class User(NamedTuple):
    """A user of an aggregate: an achievement, its version, and the tier if it has tiers."""

    achievement: str
    version: int
    tier: str | None


class Size(NamedTuple):
    """The maximum size of the state: in bytes (None if it depends on the events), and its limit."""

    bytes: int | None
    bounded: bool
    by: str


class Remembered(msgspec.Struct, frozen=True):
    """One aggregate of a scope. `key` is its canonical form; equal keys are one aggregate."""

    scope: str
    key: str
    kind: str
    what: str
    types: tuple[str, ...]
    size: Size
    users: tuple[User, ...]

    @property
    def label(self) -> str:
        """The canonical form for people: lengths in words, without the bound."""
        text = _BOUND.sub("", self.key).removesuffix("/None")
        text = _COUNTED.sub(UNLOCKS, text)
        text = _WITHIN.sub(lambda found: f"within {length(int(found[1]))}", text)
        return (
            text.replace('@"UTC"', "").replace(" by None)", ")").replace(" min 1 grace 0)", ")").replace(".None ", " ")
        )


class Inventory(NamedTuple):
    """What a rule set remembers.

    `meanings` has the canonical form of each condition with its bounds: equal ones hold at the same moments. `types`
    has the event types that each names.
    """

    aggregates: list[Remembered]
    meanings: dict[User, str]
    types: dict[User, frozenset[str]]


def inventory(rules: Rules) -> Inventory:
    """Return every aggregate of every scope, in the order in which achievements ask for them."""
    found = Inventory([], {}, {})
    for scope in sorted({scope_of(versions[0]) for versions in rules.achievements.values()} | {USER}):
        _scope(rules, scope, found)
    found.aggregates.extend(_fingerprints(rules, found.types))
    return found


def _fingerprints(rules: Rules, types: dict[User, frozenset[str]]) -> Iterator[Remembered]:
    """Yield what `once per` remembers."""
    for name, schema in rules.events.items():
        users = tuple(user for user, named in types.items() if name in bases(named))
        if schema.once is None or not users:
            continue
        fields, within = schema.once
        said = ", ".join(f"`{field}`" for field in fields)
        size = _by_time(within, "copies", f"every {said} that has ever occurred")
        yield Remembered(USER, f"once {name} per {','.join(fields)}", "once", "fingerprints", (name,), size, users)


class _Noting(Memory):
    """A memory that notes which aggregates are asked for."""

    def __init__(self, rules: Rules, scope: str) -> None:
        super().__init__(
            single=scope == USER,
            all_types=every_type(rules, scope),
            zone_types=zone_types_of(rules),
            contracts=contracts_of(rules),
        )
        self.asked: dict[str, None] = {}

    def share(self, key: str, context: Context, make: Callable[[], A], reads: Fields = frozenset()) -> A:
        """See `Memory`."""
        self.asked[context.prefix() + key] = None
        return super().share(key, context, make, reads)


def _scope(rules: Rules, scope: str, found: Inventory) -> None:
    memory = _Noting(rules, scope)
    achievements = {name: each for name, each in rules.achievements.items() if scope_of(each[0]) == scope}
    for name, versions in achievements.items():
        tiers = dict.fromkeys(tier for version in versions for tier, _ in tier_conditions(version))
        memory.slots[name] = dict.fromkeys(tiers, 0)
        memory.hears[name] = frozenset()
    users: dict[str, list[User]] = {}
    for user, version, when in _conditions(achievements):
        memory.asked.clear()
        found.meanings[user] = build(memory, when, version, user.tier).key
        found.types[user] = named_types(when)
        for key in memory.asked:
            users.setdefault(key, []).append(user)
    for key, entry in memory.entries.items():
        kind, what = _what(entry.aggregate)
        known = rules.events.keys() if rules.unlocks is None else {*rules.events, UNLOCKS}
        types = tuple(sorted(bases(entry.types) & known))
        size = _size(rules, entry.aggregate)
        found.aggregates.append(Remembered(scope, entry.key(), kind, what, types, size, tuple(users[key])))


def _conditions(
    achievements: dict[str, tuple[Achievement, ...]],
) -> Iterator[tuple[User, Achievement, Condition]]:
    for name, versions in achievements.items():
        for version in versions:
            for tier, when in tier_conditions(version):
                yield User(name, version.version, tier), version, when


# -- sizes ------------------------------------------------------------------------------------------------------------


def _what(aggregate: Aggregate) -> tuple[str, str]:
    """Return the kind of an aggregate, and what it remembers in words."""
    match aggregate:
        case RecentDistinct() | Distinct():
            return "count", "values"
        case RecentEvents():
            return "count", "events"
        case RecentSum():
            return "sum", "events"
        case RecentExtreme():
            return "extreme", "events"
        case Sequences():
            return "sequence", "steps"
        case Streaks():
            return "streak", "units"
        case Within() | Per() | Unless():
            return "span", "where it held last"
        case Groups():
            return "groups", "one aggregate a value"
        case _:
            return "total", "a number"


def _size(rules: Rules, aggregate: Aggregate) -> Size:
    match aggregate:
        case Distinct() | RecentEvents() | RecentDistinct():
            return _by_bound(aggregate)
        case RecentSum(cap=cap, field=field) if is_whole(rules, aggregate.types, field):
            return Size((int(cap) + 1) * POSITION_BYTES, bounded=True, by=f"the bound: {cap}, by steps of 1 or more")
        case RecentSum(horizon=horizon) | RecentExtreme(horizon=horizon):
            return _by_time(horizon, "events", "all events: nothing limits how long they matter")
        case Sequences(by=by, horizon=horizon) if by is not None:
            return _by_time(horizon, f"values of `{by}`", f"every value of `{by}` that has ever occurred")
        case Sequences():
            return Size(len(aggregate.steps) * POSITION_BYTES, bounded=True, by=f"{len(aggregate.steps)} steps")
        case Streaks(keep=keep):
            return Size((OPEN_UNITS + keep) * UNIT_BYTES, bounded=True, by=f"{OPEN_UNITS + keep} units")
        case Groups():
            return _of_groups(rules, aggregate)
        case Within() | Per() | Unless():
            return Size(2 * POSITION_BYTES, bounded=True, by="two places")
        case _:
            return Size(2 * NUMBER_BYTES, bounded=True, by="one number")


def _of_groups(rules: Rules, groups: Groups) -> Size:
    """Return the size of the state of all groups: one aggregate for each value, or for each unit that is still open."""
    if isinstance(groups.keys, FieldKeys):
        fields = " and ".join(f"`{name}`" for name in groups.keys.names)
        return Size(None, bounded=False, by=f"one aggregate for every value of {fields} that has ever occurred")
    each = sum(_size(rules, one.aggregate).bytes or 0 for one in groups.inside.operations)
    if groups.named:
        return Size(None, bounded=False, by="one aggregate for every calendar unit")
    return Size((OPEN_UNITS + groups.cap) * (VALUE_BYTES + each), bounded=True, by="the calendar units still open")


def _by_bound(aggregate: Distinct | RecentEvents | RecentDistinct) -> Size:
    """Return the size of the state up to the highest bound."""
    cap = int(aggregate.cap)
    if isinstance(aggregate, RecentEvents):
        return Size(cap * POSITION_BYTES, bounded=True, by=f"the bound: {_several(cap, 'event')}")
    each = VALUE_BYTES if isinstance(aggregate, Distinct) else POSITION_BYTES + VALUE_BYTES
    return Size(NUMBER_BYTES + cap * each, bounded=True, by=f"the bound: {_several(cap, 'value')}")


def _several(number: object, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _by_time(horizon: int | None, what: str, unbounded: str) -> Size:
    if horizon is None:
        return Size(None, bounded=False, by=unbounded)
    return Size(None, bounded=True, by=f"the {what} within {length(horizon)}")


def size_of(number: int) -> str:
    """Return a number of bytes as people read it: `48 bytes`, `3.4 kB`, `4.3 MB`."""
    if number < 10_000:  # noqa: PLR2004 - four digits are read at a glance
        return f"{number} bytes"
    return f"{number / 1000:.1f} kB" if number < 1_000_000 else f"{number / 1_000_000:.1f} MB"  # noqa: PLR2004

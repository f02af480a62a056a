"""What the fold remembers of one subject, and how it is written down.

A `State` is one subject's progress under one plan: node states by the plan's slots, and a few books. Its
encoding is JSON text with a version in front; `decode` of another version gives None, and the caller folds again from
the ledger. Node states say nothing of the rules they serve: the same `Tally` stands behind every bound on one count.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple, cast

import msgspec

from dsl.event import Position
from dsl.shelf import Codec, Shelf

ENCODING: Final = 2
"""Version of the encoding below; raise it whenever a struct changes its meaning."""

Amount = int | Decimal


class Grant(NamedTuple):
    """One unlock that the fold grants: `earned_at` and `settle` in microseconds, by the event `event_id`."""

    achievement: str
    tier: str | None
    occurrence: str | None
    version: int
    earned_at: int
    event_id: str
    settle: int


class Tally(msgspec.Struct, array_like=True, tag=1):
    """A count or an exact sum of all that was seen."""

    total: Amount = 0


class UnitTally(msgspec.Struct, array_like=True, tag=2):
    """A count or sum within one calendar unit, and the best that any unit reached."""

    unit: int | None = None
    total: Amount = 0
    best: Amount = 0


class SinceTally(msgspec.Struct, array_like=True, tag=3):
    """A count or sum since the last event that resets it, and the best it ever reached."""

    total: Amount = 0
    best: Amount = 0


class Values(msgspec.Struct, array_like=True, tag=4):
    """Distinct values, as keys, up to the highest bound that asks."""

    seen: set[str] = set()


class UnitValues(msgspec.Struct, array_like=True, tag=5):
    """Distinct values within one calendar unit, and the most that any unit reached."""

    unit: int | None = None
    seen: set[str] = set()
    best: int = 0


class SinceValues(msgspec.Struct, array_like=True, tag=6):
    """Distinct values since the last event that resets it, and the most it ever reached."""

    seen: set[str] = set()
    best: int = 0


class Recent(msgspec.Struct, array_like=True, tag=7):
    """The most recent matching events, oldest first."""

    positions: list[Position] = []


class RecentAmounts(msgspec.Struct, array_like=True, tag=8):
    """Recent events with their amounts, oldest first: a suffix for sums, a monotone queue for extremes."""

    items: list[tuple[Position, Amount]] = []
    total: Amount | None = None
    """Of all amounts; only where sums are asked for."""


class RecentValues(msgspec.Struct, array_like=True, tag=9):
    """Distinct values with their most recent event, least recent first."""

    last: dict[str, Position] = {}


class Peak(msgspec.Struct, array_like=True, tag=10):
    """The largest (for `min`, smallest) value seen."""

    best: Amount | None = None


class Run(msgspec.Struct, array_like=True, tag=11):
    """A streak: sealed units can no longer change, recent ones still can (a later event may carry an earlier label)."""

    best: int = 0
    sealed: int = 0
    """Active units of the run that the last sealed active unit belongs to."""
    last: int | None = None
    """The last sealed active unit."""
    recent: list[tuple[int, int]] = []
    """(unit, matching events in it up to the minimum), ascending."""
    tail: list[int] = []
    """The last active units of the sealed run, as many as the bound asks; only where a start is wanted."""
    unit: int | None = None
    """The unit at which the latest run that is long enough starts to be long enough."""
    start: Position | None = None


class Steps(msgspec.Struct, array_like=True, tag=12):
    """A sequence: per step the latest start of a match up to it."""

    best: list[Position | None]


class KeyedSteps(msgspec.Struct, array_like=True, tag=13):
    """A sequence by field: the steps of each value, and the latest start of any full match."""

    best: dict[str, list[Position | None]] = {}
    start: Position | None = None
    longest: int = 0


class Held(msgspec.Struct, array_like=True, tag=14):
    """The latest start that a condition had while its span held it."""

    start: Position | None = None


class Since(msgspec.Struct, array_like=True, tag=15):
    """The last event that resets, and the latest start of a condition after it."""

    last: Position | None = None
    start: Position | None = None


class KeyedGroups(msgspec.Struct, array_like=True, tag=16):
    """A keyed condition: what each group remembers, and what is asked of all of them."""

    groups: Shelf[Group] = msgspec.field(default_factory=lambda: Shelf(_CODEC))
    holding: int = 0
    """Groups in which the condition holds."""
    start: Position | None = None
    """The latest start over all groups; only where one is asked for."""
    latest: list[tuple[Position, str]] = []
    """The latest starts with their groups, ascending, as many as a bound asks for."""
    ready: list[str] = []
    """Groups in which it holds, whose occurrence is not earned yet; only under `repeat by`."""
    resets: int = 0
    """How often an event without a key has reset all groups."""
    broken: dict[int, tuple[int, Position]] = {}
    """By the slot in a group of what it resets: which reset was the last one, and its event."""
    known: int = 0
    """How many of the unlocks that the condition names were earned when the groups were looked at last."""
    limit: int = 64
    """The number of calendar units at which those that are over are forgotten."""


NodeState = (
    Tally
    | UnitTally
    | SinceTally
    | Values
    | UnitValues
    | SinceValues
    | Recent
    | RecentAmounts
    | RecentValues
    | Peak
    | Run
    | Steps
    | KeyedSteps
    | Held
    | Since
    | KeyedGroups
)


class Group(msgspec.Struct, omit_defaults=True):
    """What one group of a keyed condition remembers."""

    nodes: dict[int, NodeState] = msgspec.field(default_factory=dict, name="n")
    seen: int = msgspec.field(default=0, name="r")
    """How many of the resets of all groups it has taken in."""
    held: bool = msgspec.field(default=False, name="h")
    done: bool = msgspec.field(default=False, name="d")
    """Its occurrence is earned: nothing else is remembered."""


def written(value: object) -> object:
    """Return what JSON can say of a value that it does not know."""
    if isinstance(value, Shelf):
        return value.written()
    raise NotImplementedError(type(value))


def read(kind: type, value: object) -> object:
    """Return a value that JSON does not know from what it has said of it."""
    del kind
    return Shelf(_CODEC, cast("list[int | str]", value) if isinstance(value, list) else [])


_CODEC: Final = Codec(
    msgspec.json.Encoder(enc_hook=written).encode, msgspec.json.Decoder(dict[str, Group], dec_hook=read).decode
)


class Earned(msgspec.Struct, array_like=True):
    """What a subject has of one achievement and tier: where first, how often, for calendar repeats which of late."""

    first: Position
    times: int = 1
    units: list[int] = []


class State(msgspec.Struct, array_like=True):
    """Everything the fold remembers of one subject under one plan.

    `nodes` and `earned` are sparse: by the plan's slots, only where something was seen. `mark` is the last event
    folded. `traits` holds the user's traits by name; in plans of other scopes than `user`, the zone of each user by id.
    `counted` maps, per event type with `once per`, a fingerprint to the instant of the last event that counted.
    """

    mark: Position | None = None
    nodes: dict[int, NodeState] = {}
    earned: dict[int, Earned] = {}
    traits: dict[str, str | bool | int] = {}
    counted: dict[str, dict[str, int]] = {}
    suppressed: int = 0


def groups_in(state: State) -> int:
    """Return how many groups a state remembers: with thousands of them it is long to write."""
    return sum(len(node.groups) for node in state.nodes.values() if isinstance(node, KeyedGroups))


_encoder = msgspec.json.Encoder(enc_hook=written)
_state = msgspec.json.Decoder(State, dec_hook=read)
_PREFIX: Final = b"[%d," % ENCODING


def encode(state: State) -> bytes:
    """Return the state as JSON text: `[encoding, state]`."""
    return _PREFIX + _encoder.encode(state) + b"]"


def decode(data: bytes) -> State | None:
    """Return the state that `encode` wrote, or None where it is not of this version or not of its shape."""
    if not data.startswith(_PREFIX):
        return None
    try:
        return _state.decode(memoryview(data)[len(_PREFIX) : -1])
    except msgspec.MsgspecError:
        return None

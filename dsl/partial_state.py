"""A part of a stored state: only some of its nodes and of what was earned are read, and all else is skipped.

A state of fifty aggregates takes ten times as long to read as one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import UNSET, UnsetType

from dsl.event import Position
from dsl.progress import ENCODING, Earned, NodeState, State, Tally
from dsl.progress import read as read_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Read = Callable[[bytes], State | None]

_PREFIX: Final = b"[%d," % ENCODING
PREFIX: Final = _PREFIX.decode()
"""The begin of each text that can be read."""


def reader_of(nodes: Iterable[int], earned: Iterable[int], *, counted: bool) -> Read:
    """Return a function that reads some slots of a state that `encode` wrote, None where it is not of its shape.

    `counted` says whether what `once per` has counted is read, too.
    """
    node_names, earned_names = _names(nodes), _names(earned)
    fields = [
        ("mark", Position | None),
        ("nodes", _sparse("Nodes", node_names, NodeState | UnsetType)),
        ("earned", _sparse("EarnedSlots", earned_names, Earned | UnsetType)),
        ("traits", dict[str, str | bool | int]),
        ("counted", dict[str, dict[str, int]] if counted else msgspec.Raw),
        ("suppressed", int),
    ]
    decoder = msgspec.json.Decoder(
        msgspec.defstruct("PartialState", cast("Any", fields), array_like=True), dec_hook=read_unknown
    )

    def read(data: bytes) -> State | None:
        if not data.startswith(_PREFIX):
            return None
        try:
            found: Any = decoder.decode(memoryview(data)[len(_PREFIX) : -1])
        except msgspec.MsgspecError:
            return None
        seen: dict[str, dict[str, int]] = found.counted if counted else {}
        kept, had = _taken(found.nodes, node_names), _taken(found.earned, earned_names)
        return State(found.mark, kept, had, found.traits, seen, found.suppressed)

    return read


def nodes_of(slots: Mapping[int, int]) -> Callable[[bytes], tuple[Position | None, dict[int, NodeState]] | None]:
    """Return a function that reads the mark and some nodes of a state, under other slots; None where it cannot.

    `slots` are those that the state has, with those that the nodes get.
    """
    names = [(slots[slot], attribute) for slot, attribute in _names(slots)]
    fields = [("mark", Position | None), ("nodes", _sparse("SomeNodes", _names(slots), NodeState | UnsetType))]
    decoder = msgspec.json.Decoder(
        msgspec.defstruct("StateOfNodes", cast("Any", fields), array_like=True), dec_hook=read_unknown
    )

    def read(data: bytes) -> tuple[Position | None, dict[int, NodeState]] | None:
        if not data.startswith(_PREFIX):
            return None
        try:
            found: Any = decoder.decode(memoryview(data)[len(_PREFIX) : -1])
        except msgspec.MsgspecError:
            return None
        return found.mark, _taken(found.nodes, names)

    return read


def before_number(slot: int) -> str:
    """Return what stands before the number of a plain count in the text of a state, and in no string of that.

    `]` follows the number. Where something else follows, it is a value or a slot of another node, with a position.
    """
    return f'"{slot}":[{Tally.__struct_config__.tag},'


def _names(slots: Iterable[int]) -> list[tuple[int, str]]:
    return [(slot, f"slot{slot}") for slot in sorted(set(slots))]


def _sparse(name: str, names: list[tuple[int, str]], kind: object) -> type[msgspec.Struct]:
    """Return a struct of the slots that a JSON object may have."""
    fields = [(attribute, kind, msgspec.field(default=UNSET, name=str(slot))) for slot, attribute in names]
    return msgspec.defstruct(name, cast("Any", fields))


def _taken(found: object, names: list[tuple[int, str]]) -> dict[int, Any]:
    return {slot: value for slot, name in names if (value := getattr(found, name)) is not UNSET}

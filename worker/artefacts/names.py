"""Names of event types in other languages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_IN_BOTH: Final = ("AnyEvent", "Batch", "Envelope", "Exact", "Instant")
_IN_PYTHON: Final = ("False", "Literal", "None", "NotRequired", "True", "TypeAlias", "TypedDict")
_IN_TYPESCRIPT: Final = ("Array", "BigInt", "DataView", "Math", "RangeError", "Record", "TextEncoder", "Uint8Array")
TAKEN: Final[frozenset[str]] = frozenset((*_IN_BOTH, *_IN_PYTHON, *_IN_TYPESCRIPT))
"""Names that mean something else in what is generated."""


class Names(NamedTuple):
    """What an event type and its payload are called."""

    event: str
    payload: str


def names_of(event_types: Iterable[str]) -> dict[str, Names]:
    """Return a name in Pascal case for each event type, and one for its payload; no two are the same.

    Which gets a number does not depend on the order in which they are given.
    """
    taken = set(TAKEN)
    found: dict[str, Names] = {}
    for event_type in sorted(event_types):
        stem = _pascal(event_type)
        number = 1
        while True:
            event = stem if number == 1 else f"{stem}{number}"
            names = Names(event, f"{event}Payload")
            if taken.isdisjoint(names):
                break
            number += 1
        taken.update(names)
        found[event_type] = names
    return found


def _pascal(event_type: str) -> str:
    words = event_type.replace("_", ".").split(".")
    return "".join(word[:1].upper() + word[1:] for word in words)

"""Which groups an event belongs to: the values of a field, of several fields, or a calendar unit."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import product
from typing import TYPE_CHECKING, Final, Protocol, cast

import msgspec

from dsl.built_ins import ACTOR
from dsl.event import Event
from dsl.progress import State
from dsl.values import value_key, value_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsl.local_time import Clock
    from dsl.types import Listed, Unit, Value

MOST_BYTES: Final = 512
"""Bytes of a value that names an occurrence, as of one that is a subject."""
_NO_LABEL: Final = "\0"
Agrees = Callable[[str], bool]
Some = Callable[[State, Event], "Agrees | None"]


class Keys(Protocol):
    """What makes groups."""

    def of(self, event_type: str) -> Callable[[State, Event], Sequence[str]]:
        """Return a function for the keys of the groups that an event of a type belongs to."""
        ...

    def some(self, event_type: str) -> Some:
        """Return a function for the groups that an event agrees with in the fields that it has: None for all."""
        ...


class FieldKeys:
    """Groups by the values of one field, or of several; `labels` keeps values as they are, for they are shown."""

    def __init__(self, names: Sequence[str], *, labels: bool = False) -> None:
        self.names = tuple(names)
        self.text = occurrence_of if labels else value_key

    def _parts(self, event: Event, name: str) -> Sequence[str]:
        """Return the values of one field as keys: one, those of a list, or none."""
        value = cast("Value | Listed | None", event.user if name == ACTOR else event.fields.get(name))
        if value is None:
            return ()
        values = value if isinstance(value, tuple) else (value,)
        return tuple(dict.fromkeys(self.text(each) for each in values))

    def of(self, event_type: str) -> Callable[[State, Event], Sequence[str]]:
        """See `Keys`."""
        del event_type
        if len(self.names) == 1:
            name, text, parts = self.names[0], self.text, self._parts

            def one(state: State, event: Event) -> Sequence[str]:
                del state
                value = event.fields.get(name)
                if type(value) is str and name != ACTOR:  # as most are
                    return (text(value),)
                return parts(event, name)

            return one

        def several(state: State, event: Event) -> Sequence[str]:
            del state
            return [_joined(values) for values in product(*(self._parts(event, name) for name in self.names))]

        return several

    def some(self, event_type: str) -> Some:
        """See `Keys`."""
        del event_type

        def agreeing(state: State, event: Event) -> Agrees | None:
            del state
            parts = [self._parts(event, name) for name in self.names]
            if not any(parts):
                return None
            if len(parts) == 1:
                return lambda key: key in parts[0]
            return lambda key: all(
                not wanted or each in wanted for wanted, each in zip(parts, _split(key), strict=True)
            )

        return agreeing


class UnitKeys:
    """Groups by the calendar unit of each event, on its clock."""

    def __init__(self, unit: Unit, clock: Clock) -> None:
        self.unit = unit
        self.clock = clock

    def of(self, event_type: str) -> Callable[[State, Event], Sequence[str]]:
        """See `Keys`."""
        del event_type
        index_of = self.clock.unit_of(self.unit)
        return lambda state, event: (str(index_of(state, event)),)

    def some(self, event_type: str) -> Some:
        """See `Keys`: every event has a unit."""
        keys_of = self.of(event_type)

        def agreeing(state: State, event: Event) -> Agrees:
            (own,) = keys_of(state, event)
            return lambda key: key == own

        return agreeing


def occurrence_of(value: Value) -> str:
    """Return the label of an occurrence; what is too long for one by its hash."""
    text = value_text(value)
    if len(text) * 4 <= MOST_BYTES or len(text.encode()) <= MOST_BYTES:
        return text
    return _NO_LABEL + blake2b(text.encode(), digest_size=16).hexdigest()


def is_label(key: str) -> bool:
    """Return whether a key may name an occurrence: not the empty string, and nothing that is too long."""
    return bool(key) and not key.startswith(_NO_LABEL)


def _joined(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()


def _split(key: str) -> list[str]:
    return msgspec.json.decode(key, type=list[str])
